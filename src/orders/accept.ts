/** An order as a client sends it, made into what is kept of it and the command that places it. */
import type { Asset, Market } from '../core/market.ts'
import { parseDecimal } from '../core/money.ts'
import type { OrderTerms } from '../core/order.ts'
import type { NamelessOrder } from '../matching/commands.ts'
import { type OrderFault, type OrderInput, readOrder } from '../matching/order-rules.ts'

export interface NewOrder extends OrderInput {
  readonly clientOrderId: string | null
  readonly symbol: string
}

export function acceptOrder(
  order: NewOrder,
  market: Market,
): { readonly terms: OrderTerms; readonly command: NamelessOrder } | { readonly fault: OrderFault } {
  const read = readOrder(market, order)
  if ('fault' in read) return read
  const terms = termsOf(order, market)
  if (terms === null) throw new Error(`an order that ${market.symbol} takes has numbers of its assets`)
  return { terms, command: read.command }
}

/** What an order asks for, by value, whether or not its market takes it now; null: no order has such numbers. */
export function termsOf(order: NewOrder, { base, quote }: Market): OrderTerms | null {
  const { userId, clientOrderId, symbol, side, type, postOnly } = order
  const price = unitsOf(order.price, quote)
  const placedQuantity = unitsOf(order.quantity, base)
  const quoteQuantity = unitsOf(order.quoteQuantity, quote)
  if (price === undefined || placedQuantity === undefined || quoteQuantity === undefined) return null
  return {
    ...{ userId, clientOrderId, symbol, side, type, price, placedQuantity, quoteQuantity, postOnly },
    timeInForce: order.timeInForce ?? (type === 'limit' ? 'GTC' : 'IOC'),
    selfTradePrevention: order.selfTradePrevention ?? 'expire_taker',
  }
}

/** Undefined: it is no amount of the asset. */
function unitsOf(text: string | null, { scale }: Asset): bigint | null | undefined {
  if (text === null) return null
  const units = parseDecimal(text, scale)
  return typeof units === 'bigint' ? units : undefined
}
