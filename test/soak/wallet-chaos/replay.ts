/** The reference model is told what happened, one after the other, and has to say the same as the wallet did. */
import assert from 'node:assert/strict'
import { systemClock } from '../../../src/clock.ts'
import { createMemoryWallet } from '../../../src/wallet/memory-wallet.ts'
import type { BookedWallet, Outcome } from '../../../src/wallet/wallet.ts'
import { FEES } from '../../support/trades.ts'
import { type Books, units } from './books.ts'
import type { Event } from './events.ts'
import { textOf } from './order.ts'
import { CURRENCIES, keyOf, type LedgerCall } from './plan.ts'
import { answerOfOutcome, recordInShort, viewInShort } from './said.ts'
import { SCALE } from './wire.ts'

export interface Replayed {
  readonly events: number
  /** Settlements and reversals of them that were refused for one thing, where the model names what was amiss on another account. */
  readonly lacking_both: number
}

export async function replay(events: readonly Event[], books: Books): Promise<Replayed> {
  const model = createMemoryWallet({
    assets: new Map(CURRENCIES.map(code => [code, { code, scale: SCALE }])),
    clock: systemClock(),
    feeUserId: FEES,
  })
  const lackingBoth = new Set<string>()
  const holds = lifetimesOf(events)
  for (const event of events) {
    const answer = answerOfOutcome(await made(model, event.call))
    if (answer === event.answer) continue
    assert.ok(
      mayLackBoth(event, answer) || mayHaveHeld(event, answer, holds),
      `the model says "${answer}" to ${textOf(event)}`,
    )
    lackingBoth.add(keyOf(event.call))
  }
  await assertSameKeys(model, books, lackingBoth)
  await assertSameAccounts(model, books)
  return { events: events.length, lacking_both: lackingBoth.size }
}

/**
 * A settlement that takes from two accounts, and the reversal of one that gave to two, may find neither with enough. Which of them it names depends on the order of
 * its legs, and on what the other account had at that very moment, which no answer tells.
 */
function mayLackBoth({ call, answer }: Event, modelled: string): boolean {
  const isOfTwo =
    call.kind === 'settlement'
      ? call.settlement.legs.filter(({ type }) => type === 'debit').length > 1
      : call.kind === 'reversal'
  if (!isOfTwo) return false
  const isLack = (text: string): boolean => text.startsWith('refused INSUFFICIENT_BALANCE')
  return isLack(answer) && isLack(modelled) && answer.split(' ')[2] !== modelled.split(' ')[2]
}

/** From when at the earliest a hold can have been there, and until when at the latest. */
interface Lifetime {
  readonly from: number
  to: number
}

function lifetimesOf(events: readonly Event[]): ReadonlyMap<string, Lifetime> {
  const lifetimes = new Map<string, Lifetime>()
  for (const { call, kind, from, to } of events) {
    if (kind !== 'effect') continue
    if (call.kind === 'hold') lifetimes.set(call.hold.key, { from, to: Number.POSITIVE_INFINITY })
    const reversed = call.kind === 'reversal' ? lifetimes.get(call.key) : undefined
    if (reversed !== undefined) reversed.to = to
  }
  return lifetimes
}

/**
 * A settlement that lacks something on one account has found the holds of its other legs, and is put where the account that it names was as its answer says; at
 * which of the moments the hold was there as well, no answer tells. It has to have been there at one of them.
 */
function mayHaveHeld(
  { call, answer, from, to }: Event,
  modelled: string,
  holds: ReadonlyMap<string, Lifetime>,
): boolean {
  if (call.kind !== 'settlement') return false
  if (!answer.startsWith('refused INSUFFICIENT_BALANCE') || modelled !== 'refused HOLD_NOT_FOUND') return false
  return call.settlement.legs.every(({ hold }) => {
    if (hold === undefined) return true
    const lifetime = holds.get(hold)
    return lifetime !== undefined && lifetime.from <= to && from <= lifetime.to
  })
}

async function made(model: BookedWallet, call: LedgerCall): Promise<Outcome> {
  switch (call.kind) {
    case 'operation':
      return await model.apply(call.operation)
    case 'settlement':
      return await model.settle(call.settlement)
    case 'reversal':
      return await model.reverse(call.key)
    case 'hold':
      return await model.hold(call.hold)
    case 'release':
      return await model.release(call.release)
  }
}

async function assertSameKeys(model: BookedWallet, { keys }: Books, but: ReadonlySet<string>): Promise<void> {
  for (const [key, view] of keys) {
    const record = await model.keyRecord(key)
    assert.ok(record !== null, key)
    if (!but.has(key)) assert.deepEqual(viewInShort(view), recordInShort(record), `what the key ${key} has done`)
  }
}

async function assertSameAccounts(model: BookedWallet, { accounts, totals }: Books): Promise<void> {
  for (const [name, { userId, currency, total, held, entries }] of accounts) {
    const wanted = await model.entries({ of: { userId, currency }, after: null, limit: entries.length + 1 })
    assert.deepEqual(
      entries.map(({ key, leg, trade_id, amount, balance_after, reason }) => ({
        ...{ key, leg, tradeId: trade_id, reason },
        amount: units(amount),
        balanceAfter: units(balance_after),
      })),
      wanted.map(({ key, leg, tradeId, amount, balanceAfter, reason }) => ({
        ...{ key, leg, tradeId, reason },
        amount,
        balanceAfter,
      })),
      `the entries of ${name}`,
    )
    const balance = await model.balance(userId, currency)
    assert.deepEqual([total, held], [balance?.total, balance?.held], `the balance of ${name}`)
  }
  const inUnits = totals.map(({ currency, ...sums }) => ({
    currency,
    balances: units(sums.balances),
    clearing: units(sums.clearing),
    deposits: units(sums.deposits),
    withdrawals: units(sums.withdrawals),
  }))
  assert.deepEqual(inUnits, await model.totals(), 'the totals')
}
