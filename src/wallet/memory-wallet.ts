/**
 * The wallet in memory: the reference model of the protocol, as plain as it can be, and the wallet of tests. It shares
 * no decision with the ledger; where the two answer differently, one of them is wrong.
 *
 * Faults can be injected by key and attempt: what a caller sees of a network, and what the wallet did meanwhile.
 */
import type { Clock } from '../clock.ts'
import type { Asset } from '../core/market.ts'
import { entriesPage, readEntries } from './memory-entries.ts'
import { createMemoryHolds, type MemoryAccount } from './memory-holds.ts'
import {
  changeOf,
  holdFault,
  keyFault,
  NO_HOLDS,
  operationFault,
  releaseFault,
  settlementFault,
  withoutHolds,
} from './protocol.ts'
import type {
  BookedWallet,
  Entry,
  Hold,
  HoldState,
  KeyRecord,
  Movement,
  Operation,
  OperationDone,
  Outcome,
  Release,
  ReversalDone,
  SettlementCall,
  Shortfall,
  WalletLevel,
} from './wallet.ts'

/** What goes wrong with a call. `lost-before`: it never arrives; `lost-after`: it is handled, and its answer is lost. */
export type Fault =
  | { readonly kind: 'lost-before' | 'lost-after' }
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'deferred'; readonly reached: boolean; readonly retryAfterMs?: number }

/** @param attempt of this call under this key, from 1; a reversal counts its own. */
export type FaultScript = (
  call: 'apply' | 'settle' | 'reverse' | 'hold' | 'release',
  key: string,
  attempt: number,
) => Fault | null

export interface MemoryWalletOptions {
  readonly assets: ReadonlyMap<string, Asset>
  readonly clock: Clock
  readonly feeUserId: string
  /** All of it by default. At `basic` refusals are not remembered. */
  readonly level?: WalletLevel
  /** False: no holds either; they are offered from level `reversals` on. */
  readonly holds?: boolean
  /** Attempts are counted only for a script. */
  readonly faults?: FaultScript
}

interface Known {
  readonly kind: KeyRecord['kind']
  readonly movements: readonly Movement[]
  /** Of a hold or a release. */
  readonly call?: Hold | Release
  readonly tradeId: string | null
  status: KeyRecord['status']
  readonly atMs: number
  readonly answer: Outcome<OperationDone | HoldState | null>
}

const REVERSED = { outcome: 'refused', code: 'REVERSED', detail: 'the key has been reversed' } as const
const REUSED = {
  outcome: 'fault',
  code: 'IDEMPOTENCY_KEY_REUSED',
  detail: 'the key was used with other content',
} as const

export function createMemoryWallet(options: MemoryWalletOptions): BookedWallet {
  const { assets, clock, feeUserId, level = 'settlements', faults } = options
  const hasHolds = (options.holds ?? true) && level !== 'basic'
  const accounts = new Map<string, MemoryAccount>()
  const holds = createMemoryHolds(accountOf, assets)
  const known = new Map<string, Known>()
  const entries: Entry[] = []
  const attempts = new Map<string, number>()

  function seenOf(userId: string, currency: string): Readonly<MemoryAccount> {
    return accounts.get(`${userId} ${currency}`) ?? NOTHING
  }

  /** Why the movements can't be made together: an unknown currency or hold, or an account left with less than is held. */
  function obstacle(
    movements: readonly Movement[],
  ): { readonly code: string; readonly detail: string; readonly amounts?: Shortfall } | null {
    for (const { currency } of movements) {
      if (!assets.has(currency)) return { code: 'UNKNOWN_CURRENCY', detail: `${currency} is not known` }
    }
    const namesHold = movements.some(each => each.hold !== undefined)
    const hindrance = namesHold ? holds.hindrance(movements) : null
    if (hindrance !== null) return hindrance
    for (const { userId, currency } of movements) {
      let change = namesHold ? holds.drawnOn(userId, currency, movements) : 0n
      for (const each of movements) {
        if (each.userId === userId && each.currency === currency) change += changeOf(each)
      }
      if (change >= 0n || userId === feeUserId) continue
      const { balance, held } = seenOf(userId, currency)
      const available = balance - held
      if (available + change < 0n) {
        return {
          code: 'INSUFFICIENT_BALANCE',
          detail: 'not enough',
          amounts: { currency, available, required: -change },
        }
      }
    }
    return null
  }

  function accountOf(userId: string, currency: string): MemoryAccount {
    const name = `${userId} ${currency}`
    const known = accounts.get(name)
    if (known !== undefined) return known
    const fresh = { balance: 0n, held: 0n, entryCount: 0n }
    accounts.set(name, fresh)
    return fresh
  }

  function move(key: string, tradeId: string | null, movements: readonly Movement[], isSettlement: boolean): void {
    const atMs = clock.now()
    movements.forEach((movement, index) => {
      const { userId, currency, reason } = movement
      const account = accountOf(userId, currency)
      const amount = changeOf(movement)
      account.balance += amount
      account.entryCount += 1n
      entries.push({
        userId,
        currency,
        seq: account.entryCount,
        key,
        leg: isSettlement ? index : null,
        tradeId,
        amount,
        balanceAfter: account.balance,
        reason,
        atMs,
      })
    })
  }

  /** One key's first call, or the same answer again. */
  function perform(
    key: string,
    kind: Known['kind'],
    tradeId: string | null,
    movements: readonly Movement[],
  ): Outcome<OperationDone | null> {
    const before = known.get(key)
    if (before !== undefined) return again(before, { kind, tradeId, movements }) as Outcome<OperationDone | null>
    const reason = obstacle(movements)
    if (reason !== null) {
      const refused = { outcome: 'refused', ...reason } as const
      if (level !== 'basic')
        known.set(key, { kind, movements, tradeId, status: 'refused', atMs: clock.now(), answer: refused })
      return refused
    }
    move(key, tradeId, movements, kind === 'settlement')
    if (movements.some(each => each.hold !== undefined)) holds.draw(movements)
    const [first] = movements
    const done =
      kind === 'settlement' || first === undefined
        ? null
        : { balanceAfter: seenOf(first.userId, first.currency).balance, appliedAtMs: clock.now() }
    const answer = { outcome: 'applied', replayed: false, done } as const
    known.set(key, { kind, movements, tradeId, status: 'applied', atMs: clock.now(), answer })
    return answer
  }

  /** The same of a hold or a release. */
  function performHold(
    key: string,
    kind: 'hold' | 'release',
    call: Hold | Release,
    act: () => ReturnType<typeof holds.place>,
  ): Outcome<HoldState> {
    const content = { kind, tradeId: null, movements: [], call }
    const before = known.get(key)
    if (before !== undefined) return again(before, content) as Outcome<HoldState>
    const done = act()
    const isRefused = 'code' in done
    const answer = isRefused
      ? ({ outcome: 'refused', ...done } as const)
      : ({ outcome: 'applied', replayed: false, done } as const)
    // An amount of another form is a fault of the request, though only the hold shows it.
    if (isRefused && done.code === 'INVALID_AMOUNT') return answer
    known.set(key, { ...content, status: isRefused ? 'refused' : 'applied', atMs: clock.now(), answer })
    return answer
  }

  function again(before: Known, content: Content): Known['answer'] {
    if (before.status === 'reversed' || before.status === 'cancelled') return REVERSED
    if (!hasContent(before, content)) return REUSED
    return before.answer.outcome === 'applied' ? { ...before.answer, replayed: true } : before.answer
  }

  /** Why what the key has done can't be undone; null: it is. */
  function undo(key: string, { kind, tradeId, movements }: Known): ReturnType<typeof obstacle> {
    if (kind === 'release') return holds.takeBackRelease(key)
    if (kind === 'hold') {
      holds.takeBack(key)
      return null
    }
    const opposite = movements.map(
      ({ type, userId, currency, amount }): Movement => ({
        type: type === 'debit' ? 'credit' : 'debit',
        ...{ userId, currency, amount },
        reason: 'SETTLEMENT_ROLLBACK',
      }),
    )
    const hindrance = obstacle(opposite)
    if (hindrance === null) move(key, tradeId, opposite, kind === 'settlement')
    return hindrance
  }

  function takeBack(key: string, only: 'settlement' | undefined): Outcome<ReversalDone> {
    const before = known.get(key)
    if (before === undefined) {
      const nothing = { kind: 'reversal', movements: [], tradeId: null } as const
      known.set(key, { ...nothing, status: 'cancelled', atMs: clock.now(), answer: REVERSED })
      return { outcome: 'applied', replayed: false, done: { status: 'cancelled' } }
    }
    if (before.status === 'reversed' || before.status === 'cancelled') {
      return { outcome: 'applied', replayed: true, done: { status: before.status } }
    }
    if (only === 'settlement' && before.movements.some(isOutside)) {
      return { outcome: 'refused', code: 'FORBIDDEN', detail: 'what the key did is a deposit or a withdrawal' }
    }
    if (before.status === 'applied') {
      const hindrance = undo(key, before)
      if (hindrance !== null) return { outcome: 'refused', ...hindrance }
    }
    before.status = before.status === 'applied' ? 'reversed' : 'cancelled'
    return { outcome: 'applied', replayed: false, done: { status: before.status } }
  }

  async function answer<Done>(
    call: Parameters<FaultScript>[0],
    key: string,
    handle: () => Outcome<Done>,
  ): Promise<Outcome<Done>> {
    // Attempts are counted only where a script asks for them.
    if (faults === undefined) return handle()
    const attempt = (attempts.get(`${call} ${key}`) ?? 0) + 1
    attempts.set(`${call} ${key}`, attempt)
    const fault = faults(call, key, attempt)
    switch (fault?.kind) {
      case undefined:
        return handle()
      case 'refused':
        return { outcome: 'refused', code: fault.code, detail: 'as the script says' }
      case 'deferred': {
        const { reached, retryAfterMs = null } = fault
        const code = reached ? 'RATE_LIMITED' : 'UNREACHABLE'
        return { outcome: 'deferred', code, detail: 'as the script says', reached, retryAfterMs }
      }
      case 'lost-after':
        handle()
        return { outcome: 'unanswered', code: 'TIMEOUT', detail: 'no answer came', reached: true, retryAfterMs: null }
      case 'lost-before':
        return { outcome: 'unanswered', code: 'TIMEOUT', detail: 'no answer came', reached: true, retryAfterMs: null }
    }
  }

  /** A clearing account takes the other side of all that is neither deposit nor withdrawal. */
  function totalsOf(currency: string) {
    const own = entries.filter(entry => entry.currency === currency)
    const sum = (some: readonly Entry[]): bigint => some.reduce((total, entry) => total + entry.amount, 0n)
    const outside = own.filter(entry => known.get(entry.key)?.movements.some(isOutside) === true)
    const isWithdrawal = (entry: Entry): boolean =>
      known.get(entry.key)?.movements.some(movement => movement.reason === 'WITHDRAWAL') === true
    const deposits = sum(outside.filter(entry => !isWithdrawal(entry)))
    const withdrawals = -sum(outside.filter(isWithdrawal))
    const all = sum(own)
    return { currency, balances: all, clearing: deposits - withdrawals - all, deposits, withdrawals }
  }

  return {
    capabilities: async () => ({ level, holds: hasHolds, batchMax: 1000, settlementsMax: 1000 }),
    apply: (operation: Operation) =>
      answer('apply', operation.key, () => {
        const fault = operation.hold !== undefined && !hasHolds ? NO_HOLDS : operationFault(operation)
        if (fault !== null) return { outcome: 'refused', ...fault }
        const { key, type, tradeId } = operation
        return perform(key, type, tradeId, [operation]) as Outcome<OperationDone>
      }),
    settle: (settlement: SettlementCall) =>
      answer('settle', settlement.key, () => {
        const namesHold = settlement.legs.some(leg => leg.hold !== undefined)
        const fault = namesHold && !hasHolds ? NO_HOLDS : settlementFault(settlement)
        if (fault !== null) return { outcome: 'refused', ...fault }
        const { key, tradeId, legs } = settlement
        return perform(key, 'settlement', tradeId, legs) as Outcome<null>
      }),
    reverse: (key, only) =>
      answer('reverse', key, () => {
        const fault = keyFault(key)
        return fault === null ? takeBack(key, only) : { outcome: 'refused', ...fault }
      }),
    hold: (hold: Hold) =>
      answer('hold', hold.key, () => {
        if (!hasHolds) throw withoutHolds()
        const fault = holdFault(hold)
        if (fault !== null) return { outcome: 'refused', ...fault }
        const { currency } = hold
        const unknown = { code: 'UNKNOWN_CURRENCY', detail: `${currency} is not known` }
        return performHold(hold.key, 'hold', hold, () => (assets.has(currency) ? holds.place(hold) : unknown))
      }),
    release: (release: Release) =>
      answer('release', release.key, () => {
        if (!hasHolds) throw withoutHolds()
        const fault = releaseFault(release)
        if (fault !== null) return { outcome: 'refused', ...fault }
        return performHold(release.key, 'release', release, () => holds.release(release))
      }),
    balance: async (userId, currency) => {
      if (!assets.has(currency)) return null
      const { balance: total, held } = seenOf(userId, currency)
      return { userId, currency, available: total - held, held, total }
    },
    keyRecord: async key => {
      const record = known.get(key)
      return record === undefined ? null : recordOf(key, record, holds.state(key))
    },
    entries: async query => entriesPage(entries, query),
    readEntries: range => readEntries(entries, range),
    totals: async () => [...assets.keys()].sort().map(totalsOf),
  }
}

const NOTHING: Readonly<MemoryAccount> = { balance: 0n, held: 0n, entryCount: 0n }

type Content = Pick<Known, 'kind' | 'tradeId' | 'movements' | 'call'>

/** Whether two calls under one key say the same: amounts by value, movements in their order. */
function hasContent(before: Content, { kind, tradeId, movements, call }: Content): boolean {
  if (!isSameCall(before.call, call)) return false
  if (before.kind !== kind || before.tradeId !== tradeId || before.movements.length !== movements.length) return false
  return before.movements.every((one, index) => {
    const other = movements[index]
    return (
      other !== undefined &&
      one.type === other.type &&
      one.userId === other.userId &&
      one.currency === other.currency &&
      one.amount === other.amount &&
      one.reason === other.reason &&
      one.hold === other.hold
    )
  })
}

function isSameCall(before: Hold | Release | undefined, call: Hold | Release | undefined): boolean {
  if (before === undefined || call === undefined) return before === call
  if ('hold' in before || 'hold' in call) {
    return 'hold' in before && 'hold' in call && before.hold === call.hold && before.amountAtto === call.amountAtto
  }
  return before.userId === call.userId && before.currency === call.currency && before.amount === call.amount
}

function recordOf(
  key: string,
  { kind, status, tradeId, movements, call, atMs, answer }: Known,
  placed: HoldState | null,
): KeyRecord {
  const [movement] = movements
  const done = answer.outcome === 'applied' ? answer.done : null
  return {
    key,
    kind,
    status,
    tradeId,
    movement: movement === undefined || kind === 'settlement' ? null : movementOf(movement),
    balanceAfter: done !== null && 'balanceAfter' in done ? done.balanceAfter : null,
    hold: call !== undefined && 'hold' in call ? call.hold : null,
    held: heldOf(call, placed, done),
    refusal:
      answer.outcome === 'refused' && kind !== 'reversal'
        ? { code: answer.code, detail: answer.detail, amounts: answer.amounts ?? null }
        : null,
    atMs,
  }
}

/** An operation is a movement with more. */
function movementOf({ type, userId, currency, amount, reason, hold }: Movement): Movement {
  const movement = { type, userId, currency, amount, reason }
  return hold === undefined ? movement : { ...movement, hold }
}

/** Of a hold: now, also if it was refused; of a release: as it left it. */
function heldOf(
  call: Known['call'],
  placed: HoldState | null,
  done: OperationDone | HoldState | null,
): HoldState | null {
  if (call === undefined) return null
  if ('hold' in call) return done !== null && 'remaining' in done ? done : null
  const { userId, currency, amount } = call
  return placed ?? { userId, currency, amount, remaining: 0n }
}

function isOutside({ reason }: Movement): boolean {
  return reason === 'DEPOSIT' || reason === 'WITHDRAWAL'
}
