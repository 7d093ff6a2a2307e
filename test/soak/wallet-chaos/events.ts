/**
 * What happened, from the books and from the answers: one event for each effect of a key, for its reversal, and for each
 * refusal. An event has the window of moments in which it must have been, and says on which account it can be placed.
 */
import assert from 'node:assert/strict'
import { MAX_SCALE } from '../../../src/core/money.ts'
import { FEES } from '../../support/trades.ts'
import { accountName, type Books, type KeyView, units } from './books.ts'
import { type Attempt, type History, windowOf } from './history.ts'
import { keyOf, type LedgerCall } from './plan.ts'
import { answerOf, answerOfView, type Refused, refusedOf } from './said.ts'
import type { Times } from './times.ts'
import { SCALE } from './wire.ts'

/** An account while its events are put in order. */
export interface Standing {
  balance: bigint
  held: bigint
  readonly holds: Map<string, { remaining: bigint; isReversed: boolean }>
  readonly released: Map<string, bigint>
}

export type Undo = () => void

/** What an event does to an account. */
export interface Placing {
  /** The place among the account's entries, from 0; null: it makes none. */
  readonly seq: number | null
  readonly entries: number
  /** Null: it can't happen as the account stands. */
  place(standing: Standing): Undo | null
}

export interface Event {
  readonly call: LedgerCall
  /** `look`: a refusal, which changes no account. */
  readonly kind: 'effect' | 'look'
  /** What it was answered, as `said.ts` puts it. */
  readonly answer: string
  readonly before: readonly Event[]
  readonly placings: ReadonlyMap<string, Placing>
  /** The time of its transaction; null where nothing tells it. */
  readonly atMs: number | null
  from: number
  to: number
}

interface Moved {
  readonly done: Map<string, Posted>
  readonly undone: Map<string, Posted>
  doneAtMs: number | null
  undoneAtMs: number | null
}
interface Posted {
  readonly seq: number
  entries: number
  change: bigint
}

export function eventsOf(history: History, books: Books, times: Times): readonly Event[] {
  const moved = movedByKey(books)
  const events: Event[] = []
  for (const key of history.keys()) {
    const view = books.keys.get(key)
    assert.ok(view !== undefined, `${key} was answered, and is not known`)
    events.push(...eventsOfKey(key, view, moved.get(key) ?? nothingMoved(), history, books, times))
    moved.delete(key)
  }
  assert.deepEqual([...moved.keys()], [], 'nothing moves but by a key that was used')
  return events
}

function nothingMoved(): Moved {
  return { done: new Map(), undone: new Map(), doneAtMs: null, undoneAtMs: null }
}

function movedByKey({ accounts }: Books): Map<string, Moved> {
  const moved = new Map<string, Moved>()
  for (const [name, { entries }] of accounts) {
    for (const [seq, { key, amount, reason, at }] of entries.entries()) {
      const own = moved.get(key) ?? nothingMoved()
      moved.set(key, own)
      const isUndo = reason === 'SETTLEMENT_ROLLBACK'
      if (isUndo) own.undoneAtMs = Date.parse(at)
      else own.doneAtMs = Date.parse(at)
      const postings = isUndo ? own.undone : own.done
      const posted = postings.get(name)
      if (posted === undefined) postings.set(name, { seq, entries: 1, change: units(amount) })
      else {
        posted.entries++
        posted.change += units(amount)
      }
    }
  }
  return moved
}

function eventsOfKey(
  key: string,
  view: KeyView,
  moved: Moved,
  history: History,
  books: Books,
  times: Times,
): readonly Event[] {
  const [calls, reversals] = [history.of(key, 'calls'), history.of(key, 'reversals')]
  const events: Event[] = []
  const own = view.type === 'reversal' ? null : ownEvent(view, calls, moved, books, times)
  if (own !== null) events.push(own)
  const before = own === null ? [] : [own]
  const isUndone = view.status === 'reversed' || view.status === 'cancelled'
  const failed = reversals.filter(({ said }) => said?.is === 'refused')
  for (const attempt of failed) {
    assert.ok(own !== null, `${key}: only what was done can't be undone`)
    events.push(failedReversal(own, view, attempt, books))
  }
  if (isUndone) {
    assert.ok(reversals.length > 0, `${key} is ${view.status}, and nobody asked for it`)
    const known = [...reversals.filter(({ said }) => said?.is === 'applied'), ...calls.filter(isReversed)]
    const { from, to } = windowOf(reversals, known)
    const undoneAtMs = times.undone.get(key) ?? null
    assert.ok(moved.undoneAtMs === null || moved.undoneAtMs === undoneAtMs, `${key} is taken back at one time`)
    events.push({
      call: { kind: 'reversal', key },
      kind: 'effect',
      answer: view.status,
      before: [...before, ...events.slice(before.length)],
      placings: view.status === 'cancelled' ? new Map() : undoing(key, view, own, moved, books),
      atMs: undoneAtMs,
      from,
      to,
    })
  }
  return events
}

export function isReversed({ said }: Attempt): boolean {
  return said?.is === 'refused' && said.code === 'REVERSED'
}

/** The call that counts, where two raced for the key. */
function callThatCounts(view: KeyView, calls: readonly Attempt[]): LedgerCall {
  const answered = calls.find(({ said }) => said !== null && !isReversed({ said } as Attempt) && !isReused(said))
  if (answered !== undefined) return answered.item.call
  const racing = [...new Set(calls.filter(({ item }) => item.content !== 'other').map(({ item }) => item.call))]
  const found = racing.find(call => racing.length === 1 || view.amount === undefined || isOfAmount(call, view.amount))
  return found ?? assert.fail(`none of the calls is what the books have: ${JSON.stringify(view)}`)
}

function isReused(said: Attempt['said']): boolean {
  return said?.is === 'refused' && said.code === 'IDEMPOTENCY_KEY_REUSED'
}

function isOfAmount(call: LedgerCall, amount: string): boolean {
  const own = call.kind === 'operation' ? call.operation.amount : call.kind === 'hold' ? call.hold.amount : null
  return own === units(amount)
}

function ownEvent(view: KeyView, calls: readonly Attempt[], moved: Moved, books: Books, times: Times): Event {
  const call = callThatCounts(view, calls)
  const known = calls.filter(attempt => attempt.said !== null && !isReversed(attempt))
  const { from, to } = windowOf(
    calls.filter(({ item }) => item.call === call),
    known,
  )
  const atMs = times.done.get(keyOf(call)) ?? assert.fail(`${keyOf(call)} has no time`)
  assert.ok(view.applied_at === undefined || Date.parse(view.applied_at) === atMs, `${keyOf(call)} has one time`)
  const answer = answerOfView(view)
  const refused = view.problem === undefined ? null : refusedOf(view.problem)
  if (refused !== null) {
    const placings = lookingOf(call, refused, books)
    return { call, kind: 'look', answer, before: [], placings, atMs, from, to }
  }
  assert.ok(moved.doneAtMs === null || moved.doneAtMs === atMs, `${keyOf(call)} has its entries at its own time`)
  return { call, kind: 'effect', answer, before: [], placings: doingOf(call, view, moved, books), atMs, from, to }
}

// What effects do

function doingOf(call: LedgerCall, view: KeyView, { done }: Moved, books: Books): ReadonlyMap<string, Placing> {
  switch (call.kind) {
    case 'operation':
    case 'settlement': {
      const legs = call.kind === 'operation' ? [call.operation] : call.settlement.legs
      assert.ok(done.size > 0, `${keyOf(call)} is applied, and has no entries`)
      return new Map(
        [...done].map(([name, { seq, entries, change }]) => {
          const own = legs.filter(leg => leg.hold !== undefined && accountName(leg.userId, leg.currency) === name)
          const draws = own.map(({ hold = '', amount }) => ({ hold, amount }))
          return [name, { seq, entries, place: standing => post(standing, change, draws, name.startsWith(FEES)) }]
        }),
      )
    }
    case 'hold': {
      const { key, userId, currency, amount } = call.hold
      return only(accountName(userId, currency), standing => setAside(standing, key, amount))
    }
    case 'release': {
      const { key, hold } = call.release
      const left = units(view.remaining ?? assert.fail(`${key} says what it left`))
      return only(placedOn(hold, books) ?? assert.fail(`${key} released what is not there`), standing =>
        giveBack(standing, hold, key, amountReleased(call), left),
      )
    }
    case 'reversal':
      return assert.fail('a reversal has no key of its own')
  }
}

function undoing(
  key: string,
  view: KeyView,
  own: Event | null,
  { undone }: Moved,
  books: Books,
): ReadonlyMap<string, Placing> {
  if (view.type === 'hold') {
    const name = placedOn(key, books) ?? assert.fail(key)
    return only(name, standing => {
      const hold = standing.holds.get(key)
      if (hold === undefined || hold.isReversed) return null
      const undo = lower(standing, hold, hold.remaining)
      hold.isReversed = true
      return () => {
        hold.isReversed = false
        undo()
      }
    })
  }
  if (view.type === 'release') {
    const call = own?.call
    assert.ok(call?.kind === 'release')
    return only(placedOn(call.release.hold, books) ?? assert.fail(key), standing => {
      const [hold, released] = [standing.holds.get(call.release.hold), standing.released.get(key)]
      if (hold === undefined || hold.isReversed || released === undefined) return null
      return standing.balance - standing.held < released ? null : lower(standing, hold, -released)
    })
  }
  assert.ok(undone.size > 0, `${key} is reversed, and no entry undoes it`)
  return new Map(
    [...undone].map(([name, { seq, entries, change }]) => [
      name,
      { seq, entries, place: standing => post(standing, change, [], name.startsWith(FEES)) },
    ]),
  )
}

function only(name: string, place: Placing['place']): ReadonlyMap<string, Placing> {
  return new Map([[name, { seq: null, entries: 0, place }]])
}

interface Draw {
  readonly hold: string
  readonly amount: bigint
}

function post(standing: Standing, change: bigint, draws: readonly Draw[], mayOverdraw: boolean): Undo | null {
  const drawn = drawnBy(standing, draws)
  if (drawn === null) return null
  const rest = change + drawn.reduce((sum, { amount }) => sum + amount, 0n)
  if (rest < 0n && !mayOverdraw && standing.balance - standing.held + rest < 0n) return null
  const undos = drawn.map(({ hold, amount }) => lower(standing, hold, amount))
  standing.balance += change
  return () => {
    standing.balance -= change
    for (const undo of undos) undo()
  }
}

/** Null: a hold is not there. */
function drawnBy(standing: Standing, draws: readonly Draw[]) {
  const drawn = draws.map(({ hold: key, amount }) => {
    const hold = standing.holds.get(key)
    if (hold === undefined || hold.isReversed) return null
    const isCovered = amount <= hold.remaining
    return { hold, amount: isCovered ? amount : hold.remaining }
  })
  return drawn.includes(null) ? null : drawn.filter(each => each !== null)
}

function lower(standing: Standing, hold: { remaining: bigint }, amount: bigint): Undo {
  hold.remaining -= amount
  standing.held -= amount
  return () => {
    hold.remaining += amount
    standing.held += amount
  }
}

function setAside(standing: Standing, key: string, amount: bigint): Undo | null {
  if (standing.balance - standing.held < amount) return null
  standing.holds.set(key, { remaining: amount, isReversed: false })
  standing.held += amount
  return () => {
    standing.holds.delete(key)
    standing.held -= amount
  }
}

function giveBack(standing: Standing, key: string, release: string, asked: bigint | null, left: bigint): Undo | null {
  const hold = standing.holds.get(key)
  if (hold === undefined || hold.isReversed) return null
  const released = asked ?? hold.remaining
  if (hold.remaining - released !== left) return null
  standing.released.set(release, released)
  const undo = lower(standing, hold, released)
  return () => {
    standing.released.delete(release)
    undo()
  }
}

function amountReleased(call: LedgerCall & { readonly kind: 'release' }): bigint | null {
  const { amountAtto } = call.release
  return amountAtto === null ? null : amountAtto / 10n ** BigInt(MAX_SCALE - SCALE)
}

/** The account of a hold; null: it was never placed. */
function placedOn(key: string, { keys }: Books): string | null {
  const view = keys.get(key)
  const isPlaced = view?.type === 'hold' && view.problem === undefined
  return isPlaced ? accountName(view.user_id ?? '', view.currency ?? '') : null
}

// What refusals saw

function look(name: string | null, sees: (standing: Standing) => boolean): ReadonlyMap<string, Placing> {
  return name === null ? new Map() : only(name, standing => (sees(standing) ? () => {} : null))
}

/** A refusal that follows from no account (of a currency, or a hold, that never was) can be at any moment. */
function lookingOf(call: LedgerCall, refused: Refused, books: Books): ReadonlyMap<string, Placing> {
  const { code, available, required, currency } = refused
  const isShort = (standing: Standing): boolean => standing.balance - standing.held === available
  switch (call.kind) {
    case 'hold': {
      const { userId, amount } = call.hold
      if (code !== 'INSUFFICIENT_BALANCE') return new Map()
      assert.equal(required, amount)
      return look(
        accountName(userId, currency),
        standing => isShort(standing) && standing.balance - standing.held < amount,
      )
    }
    case 'release': {
      const { hold: key } = call.release
      return look(placedOn(key, books), standing => {
        const hold = standing.holds.get(key)
        if (hold === undefined || hold.isReversed) return code === 'HOLD_NOT_FOUND'
        const asked = amountReleased(call)
        return (
          code === 'HOLD_EXCEEDED' &&
          hold.remaining === available &&
          asked === required &&
          asked !== null &&
          asked > hold.remaining
        )
      })
    }
    case 'operation':
    case 'settlement': {
      const legs = call.kind === 'operation' ? [call.operation] : call.settlement.legs
      const draws = legs.flatMap(({ hold, amount }) => (hold === undefined ? [] : [{ hold, amount }]))
      if (code === 'HOLD_NOT_FOUND') {
        const [leg] = legs.filter(({ hold }) => hold !== undefined)
        assert.ok(leg !== undefined)
        const on = placedOn(leg.hold ?? '', books)
        return look(
          on === accountName(leg.userId, leg.currency) ? on : null,
          standing => drawnBy(standing, draws) === null,
        )
      }
      if (code !== 'INSUFFICIENT_BALANCE') return new Map()
      const short = legs.find(leg => leg.type === 'debit' && leg.currency === currency)
      assert.ok(short !== undefined, `${keyOf(call)} lacks what it does not take`)
      const { userId, amount, hold } = short
      return look(accountName(userId, currency), standing => {
        const drawn = drawnBy(standing, hold === undefined ? [] : [{ hold, amount }])
        const rest = drawn === null ? null : amount - drawn.reduce((sum, draw) => sum + draw.amount, 0n)
        return rest !== null && rest === required && isShort(standing) && standing.balance - standing.held < rest
      })
    }
    case 'reversal':
      return assert.fail('a reversal has no key of its own')
  }
}

function failedReversal(own: Event, view: KeyView, { sent, answered, said }: Attempt, books: Books): Event {
  assert.ok(said?.is === 'refused')
  const refused = refusedOf(said)
  const { code, available, required, currency } = refused
  const place = (): ReadonlyMap<string, Placing> => {
    if (own.call.kind === 'release') {
      const { key, hold: held } = own.call.release
      return look(placedOn(held, books), standing => {
        const [hold, released] = [standing.holds.get(held), standing.released.get(key)]
        if (hold === undefined || hold.isReversed) return code === 'HOLD_NOT_FOUND'
        return standing.balance - standing.held === available && released === required && released > available
      })
    }
    assert.equal(code, 'INSUFFICIENT_BALANCE', `the reversal of ${keyOf(own.call)}`)
    const name = creditedBy(own.call, currency)
    return look(name, standing => standing.balance - standing.held === available && available < (required ?? 0n))
  }
  const call = { kind: 'reversal', key: keyOf(own.call) } as const
  assert.ok(view.status !== 'refused', `${call.key} was refused, so its reversal is not`)
  return {
    ...{ call, kind: 'look', answer: answerOf(said), before: [own], placings: place(), atMs: null },
    from: sent,
    to: answered,
  }
}

/** Where the money is that the reversal did not find; the fee account may go below zero. */
function creditedBy(call: LedgerCall, currency: string): string {
  const legs = call.kind === 'operation' ? [call.operation] : call.kind === 'settlement' ? call.settlement.legs : []
  const leg = legs.find(each => each.type === 'credit' && each.currency === currency && each.userId !== FEES)
  return accountName(leg?.userId ?? assert.fail(`the reversal of ${keyOf(call)} lacks ${currency}`), currency)
}
