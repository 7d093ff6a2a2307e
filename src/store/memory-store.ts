/**
 * The store in memory: the reference model of the port, as plain as it can be, and the store of tests and simulations. It
 * shares no decision with the store on PostgreSQL; where the two answer differently, one of them is wrong.
 */
import type { Settlement } from '../core/settlement.ts'
import type { Trade } from '../core/trade.ts'
import type {
  Claimed,
  Intake,
  IntakeResult,
  Lease,
  Letter,
  SettlementRecord,
  SettlementStatus,
  Store,
  StoredTrade,
  TradeQuery,
} from './store.ts'

/** A dead letter as it is kept. */
export interface StoredLetter extends Letter {
  readonly tradeId: string
  readonly status: 'open' | 'retrying' | 'resolved'
  readonly firstFailedAtMs: number
  readonly lastFailedAtMs: number
  readonly resolvedAtMs: number | null
}

/** A settlement's place in the queue. `dueAtMs` null: nothing happens by itself. */
export interface QueueEntry {
  readonly tradeId: string
  readonly dueAtMs: number | null
  readonly owner: string | null
  readonly token: number
}

/** The port, and what only tests look at or do. */
export interface MemoryStore extends Store {
  letters(): readonly StoredLetter[]
  queue(): readonly QueueEntry[]
  /** What an operator's retry leaves behind: the settlement as the machine requeued it, due at once. */
  requeue(tradeId: string, settlement: Settlement, nowMs: number): void
}

export function createMemoryStore(): MemoryStore {
  const trades = new Map<string, StoredTrade>()
  const queue = new Map<string, QueueEntry>()
  const letters = new Map<string, StoredLetter>()

  function isHeldBy(owner: string, tradeId: string, token: number): boolean {
    const entry = queue.get(tradeId)
    return entry !== undefined && entry.owner === owner && entry.token === token
  }

  function move(tradeId: string, change: Partial<QueueEntry>): void {
    const entry = queue.get(tradeId)
    if (entry !== undefined) queue.set(tradeId, { ...entry, ...change })
  }

  function recordTrades({ trades: given, rail, legOrder, lease }: Intake, nowMs: number): IntakeResult {
    const acceptedIds = new Set<string>()
    const duplicateIds: string[] = []
    const reusedIds = new Set<string>()
    const taken = new Map<string, { readonly trade: Trade; readonly isTimeGiven: boolean }>()
    for (const entry of given) {
      const { trade, isTimeGiven } = entry
      const known = trades.get(trade.id)?.trade
      const earlier = taken.get(trade.id)
      const isKnown = known === undefined || isSame(known, trade, isTimeGiven)
      const isRepeated = earlier === undefined || isSame(earlier.trade, trade, isTimeGiven && earlier.isTimeGiven)
      if (!isKnown || !isRepeated) reusedIds.add(trade.id)
      else if (known !== undefined || earlier !== undefined) duplicateIds.push(trade.id)
      else acceptedIds.add(trade.id)
      if (earlier === undefined) taken.set(trade.id, entry)
    }
    if (reusedIds.size > 0) return { acceptedIds: new Set(), duplicates: [], reusedIds: [...reusedIds] }
    const duplicates = duplicateIds.map(id => ({ id, status: trades.get(id)?.status ?? ('PENDING' as const) }))
    for (const id of acceptedIds) {
      const trade = (taken.get(id) as { readonly trade: Trade }).trade
      const state = { status: 'PENDING', settledAtMs: null, retryCount: 0, failureReason: null } as const
      trades.set(id, { trade, ...state, rail, legOrder, settlement: null, recordedAtMs: nowMs })
      const [owner, dueAtMs, token] = lease === null ? [null, nowMs, 0] : [lease.owner, lease.untilMs, 1]
      queue.set(id, { tradeId: id, owner, dueAtMs, token })
    }
    return { acceptedIds, duplicates, reusedIds: [] }
  }

  function claim(lease: Lease, limit: number, nowMs: number): readonly Claimed[] {
    const due = [...queue.values()].filter(entry => entry.dueAtMs !== null && entry.dueAtMs <= nowMs)
    due.sort((a, b) => (a.dueAtMs ?? 0) - (b.dueAtMs ?? 0))
    return due.slice(0, limit).map(({ tradeId, owner, token }) => {
      move(tradeId, { owner: lease.owner, dueAtMs: lease.untilMs, token: token + 1 })
      const { trade, rail, legOrder, settlement, recordedAtMs } = trades.get(tradeId) as StoredTrade
      const hold = { token: token + 1, leaseUntilMs: lease.untilMs, resumed: owner !== null }
      return { trade, rail, legOrder, settlement, recordedAtMs, ...hold }
    })
  }

  function record(owner: string, each: SettlementRecord): boolean {
    const { tradeId, status, atMs, retryCount, failureReason, settlement } = each
    if (!isHeldBy(owner, tradeId, each.token)) return false
    const before = trades.get(tradeId) as StoredTrade
    if (before.status === 'SETTLED' && status !== 'SETTLED') {
      throw new Error(`trade ${tradeId} is SETTLED, and stays so`)
    }
    const settledAtMs = status === 'SETTLED' ? (before.settledAtMs ?? atMs) : null
    trades.set(tradeId, { ...before, status, settledAtMs, retryCount, failureReason, settlement })
    if (each.isEnded) queue.delete(tradeId)
    else if (!each.keepsLease) move(tradeId, { owner: null, dueAtMs: each.dueAtMs })
    if (each.letter === 'close') closeLetter(tradeId, each.isEnded, atMs)
    else if (each.letter !== null) openLetter(tradeId, each.letter, atMs)
    return true
  }

  function openLetter(tradeId: string, letter: Letter, atMs: number): void {
    const before = letters.get(tradeId)
    const goesOn = before !== undefined && before.status !== 'resolved' && before.kind === letter.kind
    const firstFailedAtMs = goesOn ? before.firstFailedAtMs : atMs
    const times = { firstFailedAtMs, lastFailedAtMs: atMs, resolvedAtMs: null }
    letters.set(tradeId, { tradeId, ...letter, status: 'open', ...times })
  }

  function closeLetter(tradeId: string, isEnded: boolean, atMs: number): void {
    const before = letters.get(tradeId)
    if (before === undefined || before.status === 'resolved') return
    if (before.kind === 'fee' && !isEnded) return
    letters.set(tradeId, { ...before, status: 'resolved', resolvedAtMs: atMs })
  }

  return {
    recordTrades: async (intake, nowMs) => recordTrades(intake, nowMs),
    claim: async (lease, limit, nowMs) => claim(lease, limit, nowMs),
    record: async (owner, records) => records.map(each => record(owner, each)),
    renew: async (lease, held) => {
      const ours = held.filter(({ tradeId, token }) => isHeldBy(lease.owner, tradeId, token))
      for (const { tradeId } of ours) move(tradeId, { dueAtMs: lease.untilMs })
      return new Set(ours.map(({ tradeId }) => tradeId))
    },
    release: async (owner, held, nowMs) => {
      const ours = held.filter(({ tradeId, token }) => isHeldBy(owner, tradeId, token))
      for (const { tradeId } of ours) move(tradeId, { owner: null, dueAtMs: nowMs })
    },
    expireLeases: async nowMs => {
      const leased = [...queue.values()].filter(entry => entry.owner !== null)
      for (const { tradeId } of leased) move(tradeId, { dueAtMs: nowMs })
      return leased.length
    },
    nextDueMs: async () => {
      const times = [...queue.values()].flatMap(({ dueAtMs }) => (dueAtMs === null ? [] : [dueAtMs]))
      return times.length === 0 ? null : Math.min(...times)
    },
    trade: async id => trades.get(id) ?? null,
    statuses: async ids => {
      const known = ids.flatMap(id => trades.get(id) ?? [])
      return new Map<string, SettlementStatus>(known.map(({ trade, status }) => [trade.id, status]))
    },
    trades: async query => select([...trades.values()], query),
    letters: () => [...letters.values()],
    queue: () => [...queue.values()],
    requeue: (tradeId, settlement, nowMs) => {
      const before = trades.get(tradeId) as StoredTrade
      const status = before.status === 'SETTLED' ? 'SETTLED' : 'PENDING'
      trades.set(tradeId, { ...before, settlement, status })
      move(tradeId, { dueAtMs: nowMs })
      const letter = letters.get(tradeId)
      if (letter !== undefined) letters.set(tradeId, { ...letter, status: 'retrying' })
    },
  }
}

/** Whether two trades of one id were handed in the same; notional and fee account follow from the configuration. */
function isSame(known: Trade, given: Trade, isTimeGiven: boolean): boolean {
  const handedIn = ({ notional: _notional, feeUserId: _feeUserId, executedAtMs, ...content }: Trade): string => {
    const all = { ...content, executedAtMs: isTimeGiven ? executedAtMs : 0 }
    return JSON.stringify(
      Object.entries(all).toSorted(([a], [b]) => (a < b ? -1 : 1)),
      (_, value) => (typeof value === 'bigint' ? `${value}` : value),
    )
  }
  return handedIn(known) === handedIn(given)
}

function select(all: StoredTrade[], { statuses, symbols, userIds, before, limit }: TradeQuery): readonly StoredTrade[] {
  const isAny = (wanted: readonly string[], ...values: readonly string[]): boolean =>
    wanted.length === 0 || values.some(value => wanted.includes(value))
  const isOlder = (a: { recordedAtMs: number; id: string }, b: { recordedAtMs: number; id: string }): boolean =>
    a.recordedAtMs < b.recordedAtMs || (a.recordedAtMs === b.recordedAtMs && a.id < b.id)
  const placeOf = ({ recordedAtMs, trade }: StoredTrade) => ({ recordedAtMs, id: trade.id })
  return all
    .filter(each => isAny(statuses, each.status))
    .filter(({ trade }) => isAny(symbols, trade.symbol) && isAny(userIds, trade.buyerUserId, trade.sellerUserId))
    .filter(each => before === null || isOlder(placeOf(each), before))
    .sort((a, b) => (isOlder(placeOf(a), placeOf(b)) ? 1 : -1))
    .slice(0, limit)
}
