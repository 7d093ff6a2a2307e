import type { Side } from './commands.ts'

interface Numbered {
  /** Counts the market's events, from 1, without a gap. */
  readonly sequence: number
}

/** An order, or what a taker left of it, rests in the book. */
export interface Opened extends Numbered {
  readonly type: 'opened'
  readonly orderId: string
  readonly ticks: number
  readonly lots: number
}

/** Two orders trade, at the maker's price. */
export interface Fill extends Numbered {
  readonly type: 'fill'
  readonly makerOrderId: string
  readonly takerOrderId: string
  readonly makerUserId: string
  readonly takerUserId: string
  readonly takerSide: Side
  readonly ticks: number
  readonly lots: number
  /** In the quote asset's smallest unit. */
  readonly notional: bigint
}

/**
 * - `immediate`: the book has nothing more for an order that does not rest.
 * - `fill_or_kill`: not all of it could be filled at once.
 * - `self_trade`: an own order stood opposite; the taker's, or the maker's, mode of the taker.
 * - `budget_spent`: what is left of the budget does not pay for one lot more.
 * - `level_full`: the price level can't count so many lots (2^53); the rest may not rest there.
 */
export type ExpiryReason = 'immediate' | 'fill_or_kill' | 'self_trade' | 'budget_spent' | 'level_full'

/** What was left of an order ended without its owner's doing. An order by budget always ends with this. */
export interface Expired extends Numbered {
  readonly type: 'expired'
  readonly orderId: string
  /** What was left; null for an order by budget. */
  readonly lots: number | null
  readonly reason: ExpiryReason
}

export interface Cancelled extends Numbered {
  readonly type: 'cancelled'
  readonly orderId: string
  /** What was left. */
  readonly lots: number
}

export interface Reduced extends Numbered {
  readonly type: 'reduced'
  readonly orderId: string
  /** The new total, fills included. */
  readonly lots: number
}

export type RejectionCode = 'POST_ONLY_WOULD_CROSS' | 'ORDER_NOT_OPEN' | 'ORDER_ID_REUSED' | 'NOT_A_REDUCTION'

/** The command did nothing. */
export interface Rejected extends Numbered {
  readonly type: 'rejected'
  readonly orderId: string
  readonly code: RejectionCode
}

export type MarketEvent = Opened | Fill | Expired | Cancelled | Reduced | Rejected
