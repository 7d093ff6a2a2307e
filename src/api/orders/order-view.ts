/** Orders, markets and books as answers show them. */
import { type Instruments, marketOf } from '../../core/instruments.ts'
import type { Market } from '../../core/market.ts'
import { formatDecimal } from '../../core/money.ts'
import type { Order } from '../../core/order.ts'
import type { Trade } from '../../core/trade.ts'
import type { Depth, PlaceAnswer } from '../../orders/desk.ts'
import { formatInstant } from '../instant.ts'
import { viewTrade } from '../trade-view.ts'
import type { BookView, MarketTradeView, MarketView, OrderView } from './contract.ts'

export function viewOrder(order: Order, instruments: Instruments): OrderView {
  const { base, quote } = marketOf(instruments, order.symbol)
  const { quantity, filledQuantity, price, quoteQuantity } = order
  return {
    id: order.id,
    user_id: order.userId,
    client_order_id: order.clientOrderId,
    symbol: order.symbol,
    side: order.side,
    type: order.type,
    price: price === null ? null : formatDecimal(price, quote.scale),
    quantity: quantity === null ? null : formatDecimal(quantity, base.scale),
    quote_quantity: quoteQuantity === null ? null : formatDecimal(quoteQuantity, quote.scale),
    filled_quantity: formatDecimal(filledQuantity, base.scale),
    filled_quote_quantity: formatDecimal(order.filledQuoteQuantity, quote.scale),
    remaining_quantity: quantity === null ? null : formatDecimal(quantity - filledQuantity, base.scale),
    fee: formatDecimal(order.fees.charged, quote.scale),
    time_in_force: order.timeInForce,
    post_only: order.postOnly,
    self_trade_prevention: order.selfTradePrevention,
    status: order.status,
    created_at: formatInstant(order.createdAtMs),
    updated_at: formatInstant(order.updatedAtMs),
  }
}

/** An order that was accepted, with the trades it took. */
export function viewPlaced(
  { order, trades }: Extract<PlaceAnswer, { readonly order: Order }>,
  instruments: Instruments,
) {
  return { order: viewOrder(order, instruments), trades: trades.map(trade => viewTrade(trade, instruments)) }
}

export function viewMarket(market: Market, isHalted: boolean): MarketView {
  const { symbol, base, quote } = market
  return {
    symbol,
    base: base.code,
    quote: quote.code,
    base_scale: base.scale,
    quote_scale: quote.scale,
    tick_size: market.tickSize,
    lot_size: market.lotSize,
    min_notional: market.minNotional,
    maker_fee: market.makerFee,
    taker_fee: market.takerFee,
    status: isHalted ? 'halted' : 'trading',
  }
}

export function viewBook({ symbol, sequence, bids, asks }: Depth, market: Market): BookView {
  return { symbol, sequence, bids: bids.map(viewLevel(market)), asks: asks.map(viewLevel(market)) }
}

export function viewLevel({ base, quote }: Market) {
  return ([price, quantity, orders]: Depth['bids'][number]): BookView['bids'][number] => [
    formatDecimal(price, quote.scale),
    formatDecimal(quantity, base.scale),
    orders,
  ]
}

/** What everybody may know of a trade. */
export function viewMarketTrade(trade: Trade, { base, quote }: Market): MarketTradeView {
  return {
    id: trade.id,
    symbol: trade.symbol,
    price: formatDecimal(trade.price, quote.scale),
    quantity: formatDecimal(trade.quantity, base.scale),
    is_buyer_maker: trade.isBuyerMaker,
    executed_at: formatInstant(trade.executedAtMs),
  }
}
