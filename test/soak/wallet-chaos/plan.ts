/**
 * What the clients are going to do, all of it from the seed: few users, so that accounts are hot and funds run short; keys
 * that are reversed before, while and after they are used; calls repeated with the same content and with other.
 */
import { seededRandom } from '../../support/process.ts'
import { FEES } from '../../support/trades.ts'
import { uuid } from '../../support/wallet-rig.ts'

export type { LedgerCall } from '../../../src/wallet/ledger-rows.ts'

import type { LedgerCall } from '../../../src/wallet/ledger-rows.ts'
import type { Movement } from '../../../src/wallet/wallet.ts'

export const USERS: readonly string[] = Array.from({ length: 5 }, (_, at) => uuid('e', at))
export const CURRENCIES = ['BTC', 'USDT'] as const

/** One call of one key. `race`: other content, which may arrive before that it differs from; then it is the one that counts. */
export interface Item {
  readonly call: LedgerCall
  readonly content: 'first' | 'same' | 'other' | 'race'
}

/** One request; `after` names the key that must have been answered before it is sent. */
export interface Step {
  readonly kind: 'single' | 'batch' | 'settlements'
  readonly items: readonly Item[]
  readonly after: string | null
}

export interface Plan {
  readonly steps: readonly Step[]
  readonly operations: number
  readonly repeated: number
  readonly other: number
}

/** The key whose fate a call decides. */
export function keyOf(call: LedgerCall): string {
  switch (call.kind) {
    case 'operation':
      return call.operation.key
    case 'settlement':
      return call.settlement.key
    case 'hold':
      return call.hold.key
    case 'release':
      return call.release.key
    case 'reversal':
      return call.key
  }
}

/** The smallest step of the amounts here: 0.01. */
const CENT = 1_000_000n
/** So many operations with holds, and so many without: the wallet goes another way where nobody says anything of them. */
const STRETCH = 120
/** How far behind the call that it repeats a call is sent, in requests: 32 of them are under way at once. */
const NEAR = 45

interface Dice {
  random(): number
  below(count: number): number
  of<Value>(values: readonly [Value, ...Value[]] | readonly Value[]): Value
  amount(most: number): bigint
}

function diceOf(seed: number): Dice {
  const random = seededRandom(seed)
  const below = (count: number): number => Math.floor(random() * count)
  return {
    random,
    below,
    of: values => values[below(values.length)] as (typeof values)[number],
    amount: most => BigInt(1 + below(most)) * CENT,
  }
}

/** @param holds false: no call says anything of a hold. */
export function planOf(seed: number, operations: number, holds: boolean): Plan {
  const dice = diceOf(seed)
  const makers = makersOf(dice, holds)
  const steps: { readonly at: number; readonly step: Step }[] = []
  let [made, repeated, other] = [0, 0, 0]
  const add = (at: number, kind: Step['kind'], items: readonly Item[], after: string | null = null): void => {
    steps.push({ at, step: { kind, items, after } })
  }
  for (let at = 0; made < operations; at++) {
    const kind = makers.kind()
    const size = Math.min(kind === 'single' ? 1 : 2 + dice.below(kind === 'batch' ? 7 : 3), operations - made)
    const calls = Array.from({ length: size }, () => makers.call(kind, made++))
    const items = calls.map(call => ({ call, content: 'first' as const }))
    add(at, kind, items)
    for (const call of calls) {
      if (dice.random() < 0.1) {
        add(at + dice.random() * NEAR, 'single', [{ call, content: 'same' }])
        repeated++
      }
      // The key of a reversal is all that it says.
      if (call.kind !== 'reversal' && dice.random() < 0.1 / (1 - SHARE_OF_REVERSALS)) {
        const racing = dice.random() < 0.3 ? racerOf(call) : null
        const item = { call: racing ?? makers.otherThan(call), content: racing === null ? 'other' : 'race' } as const
        add(at + dice.random() * NEAR, 'single', [item], racing === null ? keyOf(call) : null)
        other++
      }
    }
  }
  const inOrder = steps.toSorted((one, two) => one.at - two.at).map(({ step }) => step)
  return { steps: inOrder, operations: made, repeated, other }
}

/** Differs in what the books of a key show, so that they tell which of the two counts. */
function racerOf(call: LedgerCall): LedgerCall | null {
  if (call.kind === 'operation') {
    return { kind: 'operation', operation: { ...call.operation, amount: call.operation.amount + CENT } }
  }
  return call.kind === 'hold' ? { kind: 'hold', hold: { ...call.hold, amount: call.hold.amount + CENT } } : null
}

const SHARE_OF_REVERSALS = 0.12

function makersOf(dice: Dice, mayHold: boolean) {
  /** By account, the keys of its holds. */
  const holds = new Map<string, string[]>()
  let trades = 0
  let made = 0

  const hasHolds = (): boolean => mayHold && made % (2 * STRETCH) < STRETCH
  const user = (): string => dice.of(USERS)
  const currency = (): string => (dice.random() < 0.005 ? 'DOGE' : dice.of(CURRENCIES))
  const tradeId = (): string => uuid('b', ++trades)

  /** Mostly one that was placed lately on the account, at times an old one, another's, or none at all. */
  function holdKey(userId: string, code: string): string {
    const luck = dice.random()
    const own = holds.get(`${userId} ${code}`) ?? []
    if (luck < 0.03 || own.length === 0) return `no-hold-${dice.below(50)}`
    if (luck < 0.06) return dice.of([...holds.values()].flat())
    return luck < 0.8 ? dice.of(own.slice(-4)) : dice.of(own)
  }

  function operation(key: string): LedgerCall {
    const luck = dice.random()
    const account = { userId: user(), currency: currency() }
    const content = { key, ...account, amount: dice.amount(300) }
    if (luck < 0.1) {
      const deposit = {
        ...content,
        amount: dice.amount(600),
        type: 'credit',
        reason: 'DEPOSIT',
        tradeId: null,
      } as const
      return { kind: 'operation', operation: deposit }
    }
    if (luck < 0.18) {
      const withdrawal = { ...content, type: 'debit', reason: 'WITHDRAWAL', tradeId: null } as const
      return { kind: 'operation', operation: withdrawal }
    }
    if (luck < 0.26) {
      // The one account that may go below zero.
      const type = dice.random() < 0.5 ? 'debit' : 'credit'
      const fee = { ...content, userId: FEES, type, reason: 'FEE_COLLECTION', tradeId: tradeId() } as const
      return { kind: 'operation', operation: fee }
    }
    const rest = { ...content, reason: 'TRADE_SETTLEMENT', tradeId: tradeId() } as const
    if (luck < 0.52) return { kind: 'operation', operation: { ...rest, type: 'credit' } }
    if (luck < 0.78 || !hasHolds()) return { kind: 'operation', operation: { ...rest, type: 'debit' } }
    const hold = holdKey(account.userId, account.currency)
    return { kind: 'operation', operation: { ...rest, type: 'debit', hold } }
  }

  /** A trade: what the buyer pays the seller gets less a fee, and the other way round what is bought. */
  function settlement(key: string): LedgerCall {
    const buyer = user()
    const seller = dice.of(USERS.filter(each => each !== buyer))
    const [price, quantity] = [dice.amount(200) + CENT, dice.amount(150)]
    const leg = (
      type: Movement['type'],
      userId: string,
      code: string,
      amount: bigint,
      reason: Movement['reason'] = 'TRADE_SETTLEMENT',
    ): Movement => ({ type, userId, currency: code, amount, reason })
    const paid = leg('debit', buyer, 'USDT', price)
    const legs = [
      dice.random() < 0.3 && hasHolds() ? { ...paid, hold: holdKey(buyer, 'USDT') } : paid,
      leg('credit', seller, 'USDT', price - CENT),
      leg('credit', FEES, 'USDT', CENT, 'FEE_COLLECTION'),
    ]
    if (dice.random() < 0.6) legs.push(leg('debit', seller, 'BTC', quantity), leg('credit', buyer, 'BTC', quantity))
    return { kind: 'settlement', settlement: { key, tradeId: tradeId(), legs } }
  }

  function hold(key: string): LedgerCall {
    const account = { userId: dice.random() < 0.05 ? FEES : user(), currency: currency() }
    const name = `${account.userId} ${account.currency}`
    holds.set(name, [...(holds.get(name) ?? []), key])
    return { kind: 'hold', hold: { key, ...account, amount: dice.amount(200) } }
  }

  function release(key: string): LedgerCall {
    const of = holdKey(user(), dice.of(CURRENCIES))
    const amountAtto = dice.random() < 0.5 ? null : dice.amount(80) * 10n ** 10n
    return { kind: 'release', release: { key, hold: of, amountAtto } }
  }

  /** Mostly of a key that may still be under way, at times of an old one, or of one that is yet to come. */
  function reversal(): LedgerCall {
    const luck = dice.random()
    const back = luck < 0.75 ? dice.below(60) : luck < 0.9 ? dice.below(made) : -1 - dice.below(40)
    return { kind: 'reversal', key: keyNamed(Math.max(made - back, 0)) }
  }

  function ofKey(key: string): LedgerCall {
    const luck = dice.random()
    if (luck < 0.6 || (luck >= 0.7 && !hasHolds())) return operation(key)
    if (luck < 0.7) return settlement(key)
    return luck < 0.86 ? hold(key) : release(key)
  }

  return {
    kind: (): Step['kind'] => {
      const luck = dice.random()
      return luck < 0.76 ? 'single' : luck < 0.9 ? 'batch' : 'settlements'
    },
    call(kind: Step['kind'], number: number): LedgerCall {
      made = number
      const key = keyNamed(number)
      if (kind === 'settlements') return settlement(key)
      if (dice.random() < SHARE_OF_REVERSALS) return reversal()
      return kind === 'batch' ? operation(key) : ofKey(key)
    },
    /** Another amount of the same, or another call altogether. */
    otherThan(call: LedgerCall): LedgerCall {
      const racer = dice.random() < 0.5 ? racerOf(call) : null
      if (racer !== null) return racer
      const others = [operation, settlement, ...(hasHolds() ? [release] : [])].map(make => make(keyOf(call)))
      return dice.of(others.filter(({ kind }) => kind !== call.kind))
    },
  }
}

function keyNamed(number: number): string {
  return `chaos-${number}`
}
