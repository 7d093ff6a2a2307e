/**
 * What the ledger's rules speak of: the calls, the rows they read and write, and what is known before them.
 */
import type { Instruments } from '../core/instruments.ts'
import type { Asset } from '../core/market.ts'
import { MAX_SCALE } from '../core/money.ts'
import type {
  Entry,
  Hold,
  HoldState,
  Movement,
  Operation,
  OperationDone,
  Outcome,
  Reason,
  Release,
  ReversalDone,
  SettlementCall,
  Shortfall,
  Totals,
} from './wallet.ts'

export type LedgerCall =
  | { readonly kind: 'operation'; readonly operation: Operation }
  | { readonly kind: 'settlement'; readonly settlement: SettlementCall }
  | { readonly kind: 'reversal'; readonly key: string; readonly only?: 'settlement' | undefined }
  | { readonly kind: 'hold'; readonly hold: Hold }
  | { readonly kind: 'release'; readonly release: Release }

/** Whether a call names a hold, or is one; a reversal does not tell. */
export function touchesHold(call: LedgerCall): boolean {
  switch (call.kind) {
    case 'operation':
      return call.operation.hold !== undefined
    case 'settlement':
      return call.settlement.legs.some(leg => leg.hold !== undefined)
    case 'reversal':
      return false
    case 'hold':
    case 'release':
      return true
  }
}

export interface Account {
  readonly userId: string
  readonly currency: string
  readonly balance: bigint
  /** The part of the balance that stands aside for holds. */
  readonly held: bigint
  /** Entries so far; the next one's number is one more. */
  readonly entryCount: bigint
  /** The exchange's fee account, for rebates. */
  readonly mayOverdraw: boolean
  /** False until its first entry is written. */
  readonly isOpen: boolean
}

/** What a key has done. */
export interface OperationRow {
  readonly key: string
  readonly kind: 'debit' | 'credit' | 'settlement' | 'reversal' | 'hold' | 'release'
  readonly status: 'applied' | 'refused' | 'reversed' | 'cancelled'
  readonly tradeId: string | null
  readonly userId: string | null
  readonly currency: string | null
  /** Of a release: what it gave back; null: nothing. */
  readonly amount: bigint | null
  readonly reason: Reason | null
  /** What else a call under the key must match. */
  readonly content: string | null
  /** The hold that a debit or a release names. */
  readonly hold: string | null
  readonly balanceAfter: bigint | null
  /** Of a release: what it left in its hold. */
  readonly remaining: bigint | null
  readonly code: string | null
  readonly detail: string | null
  readonly shortfall: Shortfall | null
  readonly atMs: number
}

/** A hold that was placed; taken back, nothing remains of it. */
export interface HoldRow extends HoldState {
  readonly key: string
  readonly isReversed: boolean
}

/** How the sums of a currency change. */
export type TotalsChange = Omit<Totals, 'currency'>

/** What is known before the calls. */
export interface LedgerView {
  readonly assets: ReadonlyMap<string, Asset>
  /** One without entries has a balance of zero. */
  account(userId: string, currency: string): Account
  operation(key: string): OperationRow | undefined
  /** The legs a settlement's key has moved, in order; asked for only where it is to be reversed. */
  legsMoved(key: string): readonly Movement[]
  /** Asked for only where a call, or what it reverses, names the hold. */
  hold(key: string): HoldRow | undefined
  /** False for a wallet of level 0: a refusal leaves no trace. */
  readonly remembersRefusals: boolean
}

/** An account that was looked at; `after` is `before` where nothing moved on it. */
export interface AccountChange {
  readonly before: Account
  readonly after: Account
}

/** A hold that was placed (`before` null), changed, or only looked at (`after` is `before`). */
export interface HoldChange {
  readonly before: HoldRow | null
  readonly after: HoldRow
}

/**
 * What is known by account. A map for each currency, not one with joined keys: making those costs more than everything done
 * with them. Nor one for each user: they are many.
 */
export class AccountMap<Value> {
  readonly #currencies = new Map<string, Map<string, Value>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  get(userId: string, currency: string): Value | undefined {
    return this.#currencies.get(currency)?.get(userId)
  }

  set(userId: string, currency: string, value: Value): void {
    let users = this.#currencies.get(currency)
    if (users === undefined) {
      users = new Map()
      this.#currencies.set(currency, users)
    }
    const sizeBefore = users.size
    users.set(userId, value)
    this.#size += users.size - sizeBefore
  }

  clear(): void {
    this.#currencies.clear()
    this.#size = 0
  }

  values(): readonly Value[] {
    return [...this.#currencies.values()].flatMap(users => [...users.values()])
  }
}

export interface LedgerChanges {
  readonly accounts: readonly AccountChange[]
  readonly newOperations: readonly OperationRow[]
  readonly changedOperations: readonly OperationRow[]
  readonly entries: readonly Entry[]
  readonly totals: ReadonlyMap<string, TotalsChange>
  readonly holds: readonly HoldChange[]
  /** Keys of holds that were looked for, and of which there were none. */
  readonly missingHolds: readonly string[]
}

export type LedgerOutcome = Outcome<OperationDone | ReversalDone | HoldState | null>

/** Why a call is refused. */
export interface Refusal {
  readonly code: string
  readonly detail: string
  readonly amounts?: Shortfall
}

/** An account, a key or a hold is not as it was when the batch was decided. */
export class StaleError extends Error {}

/** The places of a currency; of one that is not known, which only refused calls name, the most there can be. */
export function scaleOf(instruments: Instruments, currency: string | null): number {
  return instruments.assets.get(currency ?? '')?.scale ?? MAX_SCALE
}
