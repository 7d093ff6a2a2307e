/**
 * The port to a wallet: whoever holds the money. What a call may answer, and what each answer means, is
 * the wallet protocol (docs/wallet-protocol.md) in types; every implementation gives the same guarantees for its level.
 *
 * Calls are made one by one and may be under way side by side in any number; an implementation that can take several
 * in one step lets those that are waiting travel together.
 */

/** The levels of the protocol; each includes the ones before it. */
export type WalletLevel = 'basic' | 'reversals' | 'batch' | 'settlements'

export type Reason = 'TRADE_SETTLEMENT' | 'FEE_COLLECTION' | 'SETTLEMENT_ROLLBACK' | 'DEPOSIT' | 'WITHDRAWAL'

/** What an operation moves. `amount` is above zero, in the smallest unit of `currency`. */
export interface Movement {
  readonly type: 'debit' | 'credit'
  readonly userId: string
  readonly currency: string
  readonly amount: bigint
  readonly reason: Reason
  /** Of a debit: the key of a hold on its account, which it draws on first; the rest is taken of what is available. */
  readonly hold?: string
}

/** One movement under a key of its own; the same key moves money once, however often it is called. */
export interface Operation extends Movement {
  readonly key: string
  /** Null only for deposits and withdrawals. */
  readonly tradeId: string | null
}

/** All movements of a trade under one key: applied all or not at all. */
export interface SettlementCall {
  readonly key: string
  readonly tradeId: string
  readonly legs: readonly Movement[]
}

/** Sets funds aside: out of what is available into what is held. `amount` is above zero, in the smallest unit. */
export interface Hold {
  readonly key: string
  readonly userId: string
  readonly currency: string
  readonly amount: bigint
}

/** Gives back what remains of a hold, or a part of it. */
export interface Release {
  /** Of this call. */
  readonly key: string
  /** The key of the hold. */
  readonly hold: string
  /** In units of 10^-18 (`MAX_SCALE`), since the call does not name the currency; null: all that remains, be it nothing. */
  readonly amountAtto: bigint | null
}

/**
 * What is known after a call. `applied`: done, now or before (`replayed`). `refused`: will not be done; nothing changed.
 * `deferred`: this call was not taken; `reached` says whether the wallet itself said so (429) or could not be reached.
 * `unanswered`: perhaps done. `fault`: the key has moved other money (IDEMPOTENCY_KEY_REUSED): a person must look.
 */
export type Outcome<Done = unknown> =
  | { readonly outcome: 'applied'; readonly replayed: boolean; readonly done: Done }
  | { readonly outcome: 'refused'; readonly code: string; readonly detail: string; readonly amounts?: Shortfall }
  | {
      readonly outcome: 'deferred'
      readonly code: string
      readonly detail: string
      readonly reached: boolean
      readonly retryAfterMs: number | null
    }
  | {
      readonly outcome: 'unanswered'
      readonly code: string
      readonly detail: string
      /** False where it is not this call that the wallet did not answer, but one before it on the same connection. */
      readonly reached: boolean
      readonly retryAfterMs: number | null
    }
  | { readonly outcome: 'fault'; readonly code: string; readonly detail: string }

/** Of a refusal for want of funds, in the smallest unit of the currency. */
export interface Shortfall {
  readonly currency: string
  readonly available: bigint
  readonly required: bigint
}

/** `balanceAfter` is the total, in the smallest unit. */
export interface OperationDone {
  readonly balanceAfter: bigint
  readonly appliedAtMs: number
}

/** What a wallet said of an operation that it applied; null where it did not say. */
export interface OperationSeen {
  readonly balanceAfter: bigint | null
  readonly appliedAtMs: number | null
}

/** `reversed`: it had been applied and is undone. `cancelled`: it had never arrived, or had been refused. */
export interface ReversalDone {
  readonly status: 'reversed' | 'cancelled'
}

/** A hold as a call left it: `remaining` of `amount` is still set aside; at zero it is closed. */
export interface HoldState {
  readonly userId: string
  readonly currency: string
  readonly amount: bigint
  readonly remaining: bigint
}

export interface Capabilities {
  readonly level: WalletLevel
  /** Whether funds can be set aside, and debits name the hold they draw on. */
  readonly holds: boolean
  /** The most operations and settlements one call may carry. */
  readonly batchMax: number
  readonly settlementsMax: number
}

/** `total` is `available` + `held`. */
export interface Balance {
  readonly userId: string
  readonly currency: string
  readonly available: bigint
  readonly held: bigint
  readonly total: bigint
}

export interface Wallet {
  capabilities(): Promise<Capabilities>
  /** One debit or credit. */
  apply(operation: Operation): Promise<Outcome<OperationSeen>>
  /** All legs of a trade at once (level `settlements`). */
  settle(settlement: SettlementCall): Promise<Outcome<null>>
  /** Undoes whatever the key did, and refuses the key from now on (level `reversals`). */
  reverse(key: string): Promise<Outcome<ReversalDone>>
  /**
   * Refused where less is available (`INSUFFICIENT_BALANCE`), also of the fee account: what is not there can't be set aside.
   * A reversal of its key gives back what remains, and from then on nothing can be drawn from it. A wallet that has no holds
   * (`capabilities`) is not asked: this and `release` throw.
   */
  hold(hold: Hold): Promise<Outcome<HoldState>>
  /**
   * Refused where there is no such hold (`HOLD_NOT_FOUND`: never seen, refused or reversed) or less remains (`HOLD_EXCEEDED`).
   * Repeated under its key it says what it left then. A reversal of its key sets the funds aside again, if they are there.
   */
  release(release: Release): Promise<Outcome<HoldState>>
  /** Null: the currency is not known. An account never used has zeros. */
  balance(userId: string, currency: string): Promise<Balance | null>
}

/** What a key has done, and what its first call was answered; `refused` only where refusals are remembered. */
export interface KeyRecord {
  readonly key: string
  readonly kind: 'debit' | 'credit' | 'settlement' | 'reversal' | 'hold' | 'release'
  readonly status: 'applied' | 'refused' | 'reversed' | 'cancelled'
  readonly tradeId: string | null
  /** Of a debit or credit. */
  readonly movement: Movement | null
  /** Of a debit or credit that was applied. */
  readonly balanceAfter: bigint | null
  /** The hold that a release names. */
  readonly hold: string | null
  /** Of a hold: as it stands now, also when it was refused (nothing remains); of a release that was applied: as it left it. */
  readonly held: HoldState | null
  /** Why the call was refused; it stays when the key is cancelled. */
  readonly refusal: { readonly code: string; readonly detail: string; readonly amounts: Shortfall | null } | null
  readonly atMs: number
}

/** One posting on an account; entries are never changed or removed. */
export interface Entry {
  readonly userId: string
  readonly currency: string
  /** The account's entries, numbered from 1 without a gap. */
  readonly seq: bigint
  readonly key: string
  /** The index within a settlement, from 0; null for a single operation. */
  readonly leg: number | null
  readonly tradeId: string | null
  /** Signed: below zero for a debit. */
  readonly amount: bigint
  /** Of the total. */
  readonly balanceAfter: bigint
  readonly reason: Reason
  readonly atMs: number
}

/** Where an entry stands among the others. */
export type EntryPosition = Pick<Entry, 'userId' | 'currency' | 'seq' | 'leg' | 'atMs'>

/** The entries of a trade or of an account, oldest first; `after`: from the entry that follows this one. */
export interface EntryQuery {
  readonly of: { readonly tradeId: string } | { readonly userId: string; readonly currency: string }
  readonly after: EntryPosition | null
  readonly limit: number
}

/** Entries to be read to their end; null: no such bound. */
export interface EntryRange {
  /** Null: all there are, in the order of user, currency and number. */
  readonly of: EntryQuery['of'] | null
  readonly fromMs: number | null
  /** Of entries before this alone. */
  readonly untilMs: number | null
}

/** Per currency, at every instant: balances + clearing = deposits − withdrawals. */
export interface Totals {
  readonly currency: string
  readonly balances: bigint
  readonly clearing: bigint
  readonly deposits: bigint
  readonly withdrawals: bigint
}

/** A wallet whose books can be read back (wallet-protocol.md, "Reading back"). */
export interface BookedWallet extends Wallet {
  apply(operation: Operation): Promise<Outcome<OperationDone>>
  /**
   * @param only `settlement`: for who may not make deposits or withdrawals. Those that were made are then left as they are
   *   (`FORBIDDEN`, not remembered): taking one back moves money out or in just so.
   */
  reverse(key: string, only?: 'settlement'): Promise<Outcome<ReversalDone>>
  keyRecord(key: string): Promise<KeyRecord | null>
  entries(query: EntryQuery): Promise<readonly Entry[]>
  /**
   * The same in parts of at most 1000, to the end; each is read when it is asked for, and nothing is held in between. Of an
   * account: as it stood at the beginning. Of all: each account as it stands when its turn comes. It throws rather than
   * leave one out.
   */
  readEntries(range: EntryRange): AsyncIterable<readonly Entry[]>
  /** One for each currency known, in order of their codes. */
  totals(): Promise<readonly Totals[]>
}
