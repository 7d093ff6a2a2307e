/**
 * The port to what operators see and change: dead letters, the switch that pauses settlement, the counts, and the log of
 * who changed what. Every change is one transaction with its entry in the audit log and, where it has one, with its
 * idempotency key: all of it is stored, or nothing.
 */
import type { Settlement } from '../core/settlement.ts'
import type { HoldRelease } from './order-store.ts'
import type { Letter, SettlementStatus, StoredTrade } from './store.ts'

export type LetterStatus = 'open' | 'retrying' | 'resolved'
/** What a person says became of it. */
export type Resolution = 'settled_elsewhere' | 'cancelled' | 'written_off'

/** A dead letter with the trade it is about. */
export interface DeadLetter extends Letter {
  readonly stored: StoredTrade
  readonly status: LetterStatus
  readonly firstFailedAtMs: number
  readonly lastFailedAtMs: number
  /** `retried`: a retry went well. Null unless resolved, like the next two. */
  readonly resolution: Resolution | 'retried' | null
  readonly resolvedBy: string | null
  readonly resolvedAtMs: number | null
  readonly note: string | null
}

/** Several values: any of them; none: all. */
export interface LetterFilter {
  readonly kinds: readonly string[]
  readonly codes: readonly string[]
  readonly statuses: readonly string[]
  readonly rollbacks: readonly string[]
}

export interface LetterPosition {
  readonly firstFailedAtMs: number
  readonly tradeId: string
}

/** Newest first, by when the trade first failed. */
export interface LetterQuery extends LetterFilter {
  /** Older than this one only. */
  readonly before: LetterPosition | null
  readonly limit: number
}

export type AdminAction = 'retry' | 'bulk-retry' | 'resolve' | 'pause' | 'resume' | 'market-halt' | 'market-resume'
/** What is done about keys (access-store.ts). */
export type KeyAction = 'key-create' | 'key-revoke'

/** What an operator asks for. */
export interface AdminChange {
  /** Of the entry in the audit log, made by who asks. */
  readonly id: string
  readonly atMs: number
  readonly actor: string
  readonly action: AdminAction
  readonly reason: string | null
  readonly detail: Readonly<Record<string, unknown>>
  /** An actor's own; null: none was given. */
  readonly idempotencyKey: string | null
  /** Everything that was asked for, as a text: what a repetition under the key must match. */
  readonly content: string
}

/** What came of a change. */
export type Changed<Answer, Refusal> =
  | { readonly outcome: 'done'; readonly answer: Answer }
  /** The key was used before for the same: its first answer, and nothing has changed. */
  | { readonly outcome: 'replayed'; readonly answer: Answer }
  | { readonly outcome: 'key-reused' }
  /** Nothing has changed, and the key is not spent. */
  | { readonly outcome: 'refused'; readonly refusal: Refusal }

export type Decision<Answer, Refusal> =
  | { readonly answer: Answer; readonly tradeIds: readonly string[] }
  | { readonly refusal: Refusal }

/** A letter that is locked until the change ends. `isLeased`: a worker has its settlement in hand. */
export interface LockedLetter {
  readonly letter: DeadLetter
  readonly isLeased: boolean
}

/** A settlement put back to work, or at rest for good, with what the trade shows of it. */
export interface Requeued {
  readonly tradeId: string
  readonly settlement: Settlement
  readonly status: SettlementStatus
  readonly retryCount: number
  readonly failureReason: string | null
  readonly dueAtMs: number
  /** Of a trade of the order desk: the sides whose debits name their hold no more. Null: of a matching engine elsewhere. */
  readonly dropped: { readonly buyer: boolean; readonly seller: boolean } | null
}

export interface Resolved {
  readonly tradeId: string
  readonly settlement: Settlement
  readonly resolution: Resolution
  readonly note: string
  /** Of a trade of the order desk: what its debits were to draw, and never will. Null: of a matching engine elsewhere. */
  readonly free: readonly HoldRelease[] | null
}

/** The transaction of one change. */
export interface ChangeInHand {
  /** Null: the trade has no letter. */
  lock(tradeId: string): Promise<LockedLetter | null>
  /** Open letters that nobody has in hand, the oldest first, from after `after`; skips those another change has locked. */
  lockOpen(filter: LetterFilter, after: LetterPosition | null, limit: number): Promise<readonly DeadLetter[]>
  /** Of letters that are locked, open and not leased; throws where one is not. What nobody needs of holds is released. */
  requeue(requeued: readonly Requeued[]): Promise<void>
  /** The same. */
  resolve(resolved: Resolved): Promise<void>
  setPaused(isPaused: boolean): Promise<void>
}

/** How far a bulk retry has come. */
export interface BulkRetry {
  readonly id: string
  readonly atMs: number
  readonly actor: string
  readonly reason: string | null
  readonly detail: Readonly<Record<string, unknown>>
  readonly count: number
  readonly settled: number
  readonly collected: number
  readonly failed: number
  readonly retrying: number
}

export interface RetryItem {
  readonly tradeId: string
  readonly result: 'retrying' | 'settled' | 'collected' | 'failed'
  readonly code: string | null
  readonly lastError: string | null
  readonly endedAtMs: number | null
}

export interface AuditEntry {
  readonly id: string
  readonly atMs: number
  readonly actor: string
  readonly action: AdminAction | KeyAction
  readonly reason: string | null
  readonly detail: Readonly<Record<string, unknown>>
  readonly trades: number
}

export interface AuditQuery {
  readonly tradeIds: readonly string[]
  readonly before: { readonly atMs: number; readonly id: string } | null
  readonly limit: number
}

/** Trades by their status, and all retries ever made. */
export interface SettlementCounts {
  readonly pending: number
  readonly settled: number
  readonly failed: number
  readonly retries: number
}

export interface StoreStatus extends SettlementCounts {
  /** When the oldest of the trades that are PENDING was recorded; of those that are due first. Null: none is. */
  readonly oldestPendingMs: number | null
  /** Letters that are open. */
  readonly deadLetters: number
  /** Letters not resolved whose rollback is incomplete. */
  readonly incompleteRollbacks: number
  /** By quote currency, as a decimal text; below zero where rebates are owed. Without those a person has resolved. */
  readonly owedFees: readonly { readonly currency: string; readonly amount: string }[]
  readonly isPaused: boolean
}

export interface OperatorStore {
  letters(query: LetterQuery): Promise<readonly DeadLetter[]>
  /** Null: the trade has none. */
  letter(tradeId: string): Promise<DeadLetter | null>
  /** Those letters are counted that a bulk retry of the filter could take: open ones. */
  countOpen(filter: LetterFilter): Promise<number>
  /** Null: there is no bulk retry of this id. */
  bulkRetry(id: string): Promise<BulkRetry | null>
  /** In order of trade ids, from after `after`; `results` empty: all. */
  retryItems(
    id: string,
    query: { readonly results: readonly string[]; readonly after: string | null; readonly limit: number },
  ): Promise<readonly RetryItem[]>
  auditLog(query: AuditQuery): Promise<readonly AuditEntry[]>
  status(): Promise<StoreStatus>
  isPaused(): Promise<boolean>
  /**
   * Runs `work` in one transaction with the entry in the audit log; again where the database asks for it. What it
   * answers is stored under the key as JSON.
   */
  change<Answer, Refusal>(
    change: AdminChange,
    work: (inHand: ChangeInHand) => Promise<Decision<Answer, Refusal>>,
  ): Promise<Changed<Answer, Refusal>>
}
