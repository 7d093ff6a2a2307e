/** An order as a client sends it, made into what is kept of it and the command that places it. */
import type { Market } from '../core/market.ts'
import { parseStored } from '../core/money.ts'
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
  const { command } = read
  const { base, quote, tickSize, lotSize } = market
  const { userId, clientOrderId, symbol, type } = order
  const terms: OrderTerms = {
    ...{ userId, clientOrderId, symbol, type },
    side: command.type === 'budget' ? 'buy' : command.side,
    price: command.type === 'limit' ? BigInt(command.ticks) * parseStored(tickSize, quote.scale) : null,
    placedQuantity: command.type === 'budget' ? null : BigInt(command.lots) * parseStored(lotSize, base.scale),
    quoteQuantity: command.type === 'budget' ? command.budget : null,
    timeInForce: command.type === 'limit' ? command.timeInForce : 'IOC',
    postOnly: command.type === 'limit' && command.postOnly,
    selfTradePrevention: command.selfTradePrevention,
  }
  return { terms, command }
}
