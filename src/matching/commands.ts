import type { SelfTradePrevention, Side, TimeInForce } from '../core/order.ts'

export type { SelfTradePrevention, Side, TimeInForce }

interface Placed {
  /** Any text; not that of an open order. */
  readonly orderId: string
  readonly userId: string
  readonly selfTradePrevention: SelfTradePrevention
}

/** Ticks and lots are whole numbers above zero, up to 2^53 − 1. */
export interface LimitOrder extends Placed {
  readonly type: 'limit'
  readonly side: Side
  readonly ticks: number
  readonly lots: number
  readonly timeInForce: TimeInForce
  /** Refused whole if anything of it would trade at once, own orders included. */
  readonly postOnly: boolean
}

/** By quantity, at any price. */
export interface MarketOrder extends Placed {
  readonly type: 'market'
  readonly side: Side
  readonly lots: number
}

/** A purchase at any price, of as many lots as a budget pays for. */
export interface BudgetOrder extends Placed {
  readonly type: 'budget'
  /** Taker fees included; in the quote asset's smallest unit, above zero. */
  readonly budget: bigint
}

export type OrderCommand = LimitOrder | MarketOrder | BudgetOrder

/** An order that has no id yet. */
export type NamelessOrder = Omit<LimitOrder, 'orderId'> | Omit<MarketOrder, 'orderId'> | Omit<BudgetOrder, 'orderId'>

export type Command =
  | OrderCommand
  | { readonly type: 'cancel'; readonly orderId: string }
  /** `lots`: the new total, fills included. To what is filled, or below, cancels; the same changes nothing. */
  | { readonly type: 'reduce'; readonly orderId: string; readonly lots: number }
