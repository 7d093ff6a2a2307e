/**
 * The port to the trades and their settlements: what workers and the API ask of the database. Every write of a
 * settlement names its fencing number; a write that finds another one changes nothing and says so.
 */
import type { LegOrder } from '../core/legs.ts'
import type { Rail, Settlement } from '../core/settlement.ts'
import type { Trade } from '../core/trade.ts'

export type SettlementStatus = 'PENDING' | 'SETTLED' | 'SETTLEMENT_FAILED'

/** The right to work on a settlement until a moment, and the process that has it. */
export interface Lease {
  readonly owner: string
  readonly untilMs: number
}

/** A trade handed in; `isTimeGiven`: its time is part of what a repetition must match. */
export interface NewTrade {
  readonly trade: Trade
  readonly isTimeGiven: boolean
}

export interface Intake {
  readonly trades: readonly NewTrade[]
  readonly rail: Rail
  readonly legOrder: LegOrder
  /** Held from the insert on, with fencing number 1; null: whoever claims them first. */
  readonly lease: Lease | null
}

/** What became of a call's trades: all were taken or known, or (`reusedIds` not empty) none was taken. */
export interface IntakeResult {
  readonly acceptedIds: ReadonlySet<string>
  /** Known before, with the same content; also the second and later of the same id within the call. */
  readonly duplicates: readonly { readonly id: string; readonly status: SettlementStatus }[]
  /** Known before with other content. */
  readonly reusedIds: readonly string[]
}

/** A settlement taken in hand. `settlement` null: nothing but the trade is stored of it. */
export interface Claimed {
  readonly trade: Trade
  readonly rail: Rail
  readonly legOrder: LegOrder
  readonly settlement: Settlement | null
  readonly token: number
  readonly leaseUntilMs: number
  /** Another process held it and did not give it back. */
  readonly resumed: boolean
  readonly recordedAtMs: number
}

/** What stopped and needs a person. */
export interface Letter {
  readonly kind: 'settlement' | 'fee'
  readonly code: string
  readonly lastError: string
  readonly attempts: number
  readonly rollback: 'not_needed' | 'complete' | 'incomplete'
}

/** The state of a settlement, to be stored under its lease. */
export interface SettlementRecord {
  readonly tradeId: string
  readonly token: number
  readonly status: SettlementStatus
  readonly atMs: number
  readonly retryCount: number
  readonly failureReason: string | null
  /** Null where it can be derived: epoch 0, every leg applied at its first attempt. */
  readonly settlement: Settlement | null
  /** When somebody may (again) act on it; null: nothing is left to do. Not looked at while the lease is kept. */
  readonly dueAtMs: number | null
  readonly keepsLease: boolean
  /** Settled, and the fee collected: nothing will ever be done about it again. */
  readonly isEnded: boolean
  /**
   * A letter to open or bring up to date; one of the other kind takes its place. `close`: what was open has been retried
   * with success; a letter of the fee stays until nothing is left to do.
   */
  readonly letter: Letter | 'close' | null
}

export interface StoredTrade {
  readonly trade: Trade
  readonly status: SettlementStatus
  readonly settledAtMs: number | null
  readonly retryCount: number
  readonly failureReason: string | null
  readonly rail: Rail
  readonly legOrder: LegOrder
  readonly settlement: Settlement | null
  readonly recordedAtMs: number
}

/** Newest first. Several values of a filter: any of them. */
export interface TradeQuery {
  readonly statuses: readonly SettlementStatus[]
  readonly symbols: readonly string[]
  readonly userIds: readonly string[]
  /** Trades recorded before this one only. */
  readonly before: { readonly recordedAtMs: number; readonly id: string } | null
  readonly limit: number
}

export interface Store {
  /** One transaction: all of the trades are durable when it answers, or none was taken. */
  recordTrades(intake: Intake, nowMs: number): Promise<IntakeResult>
  /** Takes in hand what is due, oldest first, at most `limit`; skips what another process is taking just now. */
  claim(lease: Lease, limit: number, nowMs: number): Promise<readonly Claimed[]>
  /** One answer for one: whether the record was stored, that is whether the lease was still ours. */
  record(owner: string, records: readonly SettlementRecord[]): Promise<readonly boolean[]>
  /** Answers the ids that are still ours. */
  renew(
    lease: Lease,
    held: readonly { readonly tradeId: string; readonly token: number }[],
  ): Promise<ReadonlySet<string>>
  /** Gives back what was claimed and not begun: due at once, for anybody. */
  release(
    owner: string,
    held: readonly { readonly tradeId: string; readonly token: number }[],
    nowMs: number,
  ): Promise<void>
  /** Ends all leases; only where it is certain that no other process works on this database. */
  expireLeases(nowMs: number): Promise<number>
  /** The time of the earliest work there is, leased or not; null: none. */
  nextDueMs(): Promise<number | null>
  trade(id: string): Promise<StoredTrade | null>
  statuses(ids: readonly string[]): Promise<ReadonlyMap<string, SettlementStatus>>
  trades(query: TradeQuery): Promise<readonly StoredTrade[]>
}
