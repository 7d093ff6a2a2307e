import type { FeeAccount } from './order-fees.ts'

export type Side = 'buy' | 'sell'

/** What becomes of a limit order that does not fill at once: it stays; its rest expires; it expires without a fill. */
export type TimeInForce = 'GTC' | 'IOC' | 'FOK'

/** What happens where an order would trade with one of the same user. The taker's mode decides. */
export type SelfTradePrevention = 'none' | 'expire_taker' | 'expire_maker' | 'expire_both'

export type OrderStatus = 'open' | 'partially_filled' | 'filled' | 'cancelled' | 'expired'

/** An order as it stands. Amounts are in the smallest unit of their asset; a price is that of one whole base unit. */
export interface Order {
  readonly id: string
  readonly userId: string
  readonly clientOrderId: string | null
  readonly symbol: string
  readonly side: Side
  readonly type: 'limit' | 'market'
  /** Of a limit order. */
  readonly price: bigint | null
  /** What was ordered at first; null for a purchase by budget. */
  readonly placedQuantity: bigint | null
  /** The budget of a purchase, fees included. */
  readonly quoteQuantity: bigint | null
  readonly timeInForce: TimeInForce
  readonly postOnly: boolean
  readonly selfTradePrevention: SelfTradePrevention
  /** The key of the hold that its debits draw on; null: funds are reserved on our side, or none were needed. */
  readonly hold: string | null
  readonly createdAtMs: number

  /** As it was last reduced to; null for a purchase by budget. */
  readonly quantity: bigint | null
  readonly filledQuantity: bigint
  readonly filledQuoteQuantity: bigint
  readonly fees: FeeAccount
  readonly status: OrderStatus
  /** The number of the market's event with which it came to rest; null: it never did. */
  readonly openedSequence: number | null
  readonly updatedAtMs: number
}

/** What a client asks for; it never changes. */
export type OrderTerms = Pick<
  Order,
  | ('userId' | 'clientOrderId' | 'symbol' | 'side' | 'type' | 'price' | 'placedQuantity' | 'quoteQuantity')
  | ('timeInForce' | 'postOnly' | 'selfTradePrevention')
>

export function isOpen({ status }: Pick<Order, 'status'>): boolean {
  return status === 'open' || status === 'partially_filled'
}

/** Whether an order says the same as one that was accepted under its client order id. */
export function isSameOrder(accepted: OrderTerms, given: OrderTerms): boolean {
  return (
    accepted.symbol === given.symbol &&
    accepted.side === given.side &&
    accepted.type === given.type &&
    accepted.price === given.price &&
    accepted.placedQuantity === given.placedQuantity &&
    accepted.quoteQuantity === given.quoteQuantity &&
    accepted.timeInForce === given.timeInForce &&
    accepted.postOnly === given.postOnly &&
    accepted.selfTradePrevention === given.selfTradePrevention
  )
}
