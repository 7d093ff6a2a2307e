/**
 * The wallet in memory: the reference model of the protocol, as plain as it can be, and the wallet of tests. It shares
 * no decision with the ledger; where the two answer differently, one of them is wrong.
 *
 * Faults can be injected by key and attempt: what a caller sees of a network, and what the wallet did meanwhile.
 */
import type { Clock } from '../clock.ts'
import type { Asset } from '../core/market.ts'
import { changeOf, keyFault, operationFault, settlementFault } from './protocol.ts'
import type {
  BookedWallet,
  Entry,
  EntryPosition,
  EntryQuery,
  KeyRecord,
  Movement,
  Operation,
  OperationDone,
  Outcome,
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
export type FaultScript = (call: 'apply' | 'settle' | 'reverse', key: string, attempt: number) => Fault | null

export interface MemoryWalletOptions {
  readonly assets: ReadonlyMap<string, Asset>
  readonly clock: Clock
  readonly feeUserId: string
  /** All of it by default. At `basic` refusals are not remembered. */
  readonly level?: WalletLevel
  /** Attempts are counted only for a script. */
  readonly faults?: FaultScript
}

interface Known {
  readonly kind: KeyRecord['kind']
  readonly movements: readonly Movement[]
  readonly tradeId: string | null
  status: KeyRecord['status']
  readonly atMs: number
  readonly answer: Outcome<OperationDone | null>
}

const REVERSED = { outcome: 'refused', code: 'REVERSED', detail: 'the key has been reversed' } as const
const REUSED = {
  outcome: 'fault',
  code: 'IDEMPOTENCY_KEY_REUSED',
  detail: 'the key was used with other content',
} as const

export function createMemoryWallet(options: MemoryWalletOptions): BookedWallet {
  const { assets, clock, feeUserId, level = 'settlements', faults } = options
  const accounts = new Map<string, { balance: bigint; entryCount: bigint }>()
  const known = new Map<string, Known>()
  const entries: Entry[] = []
  const attempts = new Map<string, number>()

  function balanceOf(userId: string, currency: string): bigint {
    return accounts.get(`${userId} ${currency}`)?.balance ?? 0n
  }

  /** Why the movements can't be made together: an unknown currency, or an account that would end below zero. */
  function obstacle(
    movements: readonly Movement[],
  ): { readonly code: string; readonly detail: string; readonly amounts?: Shortfall } | null {
    for (const { currency } of movements) {
      if (!assets.has(currency)) return { code: 'UNKNOWN_CURRENCY', detail: `${currency} is not known` }
    }
    for (const { userId, currency } of movements) {
      let change = 0n
      for (const each of movements) {
        if (each.userId === userId && each.currency === currency) change += changeOf(each)
      }
      if (change >= 0n || userId === feeUserId) continue
      const before = balanceOf(userId, currency)
      if (before + change < 0n) {
        return {
          code: 'INSUFFICIENT_BALANCE',
          detail: 'not enough',
          amounts: { currency, available: before, required: -change },
        }
      }
    }
    return null
  }

  function accountOf(userId: string, currency: string) {
    const name = `${userId} ${currency}`
    const known = accounts.get(name)
    if (known !== undefined) return known
    const fresh = { balance: 0n, entryCount: 0n }
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
    if (before !== undefined) {
      if (before.status === 'reversed' || before.status === 'cancelled') return REVERSED
      if (!hasContent(before, { kind, tradeId, movements })) return REUSED
      return before.answer.outcome === 'applied' ? { ...before.answer, replayed: true } : before.answer
    }
    const reason = obstacle(movements)
    if (reason !== null) {
      const refused = { outcome: 'refused', ...reason } as const
      if (level !== 'basic')
        known.set(key, { kind, movements, tradeId, status: 'refused', atMs: clock.now(), answer: refused })
      return refused
    }
    move(key, tradeId, movements, kind === 'settlement')
    const [first] = movements
    const done =
      kind === 'settlement' || first === undefined
        ? null
        : { balanceAfter: balanceOf(first.userId, first.currency), appliedAtMs: clock.now() }
    const answer = { outcome: 'applied', replayed: false, done } as const
    known.set(key, { kind, movements, tradeId, status: 'applied', atMs: clock.now(), answer })
    return answer
  }

  function takeBack(key: string): Outcome<ReversalDone> {
    const before = known.get(key)
    if (before === undefined) {
      const nothing = { kind: 'reversal', movements: [], tradeId: null } as const
      known.set(key, { ...nothing, status: 'cancelled', atMs: clock.now(), answer: REVERSED })
      return { outcome: 'applied', replayed: false, done: { status: 'cancelled' } }
    }
    if (before.status === 'reversed' || before.status === 'cancelled') {
      return { outcome: 'applied', replayed: true, done: { status: before.status } }
    }
    if (before.status === 'applied') {
      const opposite = before.movements.map(each => ({
        ...each,
        type: each.type === 'debit' ? ('credit' as const) : ('debit' as const),
        reason: 'SETTLEMENT_ROLLBACK' as const,
      }))
      const hindrance = obstacle(opposite)
      if (hindrance !== null) return { outcome: 'refused', ...hindrance }
      move(key, before.tradeId, opposite, before.kind === 'settlement')
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
    capabilities: async () => ({ level, batchMax: 1000, settlementsMax: 1000 }),
    apply: (operation: Operation) =>
      answer('apply', operation.key, () => {
        const fault = operationFault(operation)
        if (fault !== null) return { outcome: 'refused', ...fault }
        const { key, type, tradeId } = operation
        return perform(key, type, tradeId, [operation]) as Outcome<OperationDone>
      }),
    settle: (settlement: SettlementCall) =>
      answer('settle', settlement.key, () => {
        const fault = settlementFault(settlement)
        if (fault !== null) return { outcome: 'refused', ...fault }
        const { key, tradeId, legs } = settlement
        return perform(key, 'settlement', tradeId, legs) as Outcome<null>
      }),
    reverse: key =>
      answer('reverse', key, () => {
        const fault = keyFault(key)
        return fault === null ? takeBack(key) : { outcome: 'refused', ...fault }
      }),
    balance: async (userId, currency) => {
      if (!assets.has(currency)) return null
      const total = balanceOf(userId, currency)
      return { userId, currency, available: total, held: 0n, total }
    },
    keyRecord: async key => {
      const record = known.get(key)
      return record === undefined ? null : recordOf(key, record)
    },
    entries: async ({ of, after, limit }: EntryQuery) => {
      const wanted = entries.filter(entry =>
        'tradeId' in of ? entry.tradeId === of.tradeId : entry.userId === of.userId && entry.currency === of.currency,
      )
      const from = after === null ? 0 : wanted.findIndex(entry => isAt(entry, after)) + 1
      return wanted.slice(from, from + limit)
    },
    totals: async () => [...assets.keys()].sort().map(totalsOf),
  }
}

type Content = Pick<Known, 'kind' | 'tradeId' | 'movements'>

/** Whether two calls under one key say the same: amounts by value, movements in their order. */
function hasContent(before: Content, { kind, tradeId, movements }: Content): boolean {
  if (before.kind !== kind || before.tradeId !== tradeId || before.movements.length !== movements.length) return false
  return before.movements.every((one, index) => {
    const other = movements[index]
    return (
      other !== undefined &&
      one.type === other.type &&
      one.userId === other.userId &&
      one.currency === other.currency &&
      one.amount === other.amount &&
      one.reason === other.reason
    )
  })
}

function recordOf(key: string, { kind, status, tradeId, movements, atMs, answer }: Known): KeyRecord {
  const [movement] = movements
  return {
    key,
    kind,
    status,
    tradeId,
    movement: movement === undefined || kind === 'settlement' ? null : movement,
    balanceAfter: answer.outcome === 'applied' ? (answer.done?.balanceAfter ?? null) : null,
    refusal:
      answer.outcome === 'refused' && kind !== 'reversal'
        ? { code: answer.code, detail: answer.detail, amounts: answer.amounts ?? null }
        : null,
    atMs,
  }
}

function isOutside({ reason }: Movement): boolean {
  return reason === 'DEPOSIT' || reason === 'WITHDRAWAL'
}

function isAt(entry: Entry, { userId, currency, seq }: EntryPosition): boolean {
  return entry.userId === userId && entry.currency === currency && entry.seq === seq
}
