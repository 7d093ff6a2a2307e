import type { Market } from '../core/market.ts'
import { formatDecimal } from '../core/money.ts'
import type { OrderStatus } from '../core/order.ts'
import { chargeFee, type FeeAccount, NO_FEES } from '../core/order-fees.ts'
import type { TradeInput } from '../core/trade.ts'
import { type Book, bookRulesOf, createBook, type OpenOrder } from './book.ts'
import type { Command, OrderCommand, Side } from './commands.ts'
import type { ExpiryReason, Fill, MarketEvent, RejectionCode } from './events.ts'
import { priceText, quantityText } from './order-rules.ts'

/** An order as it stood after a command. Numbers are decimal texts. */
export interface EngineOrder {
  readonly id: string
  readonly userId: string
  readonly symbol: string
  readonly side: Side
  readonly type: 'limit' | 'market'
  /** Null: at any price. */
  readonly price: string | null
  /** As it was last reduced to; null for a purchase by budget, as is `remainingQuantity`. */
  readonly quantity: string | null
  /** `quantity` − `filledQuantity`, in every status. */
  readonly remainingQuantity: string | null
  readonly filledQuantity: string
  readonly filledQuoteQuantity: string
  readonly status: OrderStatus
}

/** A trade as settlement takes it, and which of the orders was there first. */
export interface EngineTrade extends TradeInput {
  readonly makerOrderId: string
  readonly takerOrderId: string
  readonly isBuyerMaker: boolean
  readonly buyerOrderId: string
  readonly sellerOrderId: string
}

export interface Placed {
  readonly order: EngineOrder
  /** In order of execution. */
  readonly trades: readonly EngineTrade[]
  /** Resting orders of the same user that ended, since the order would have traded with them. */
  readonly expired: readonly EngineOrder[]
}

/** An open order of a state; the amounts are of the quote asset's smallest unit, as texts, since JSON has no bigint. */
interface StoredOrder extends OpenOrder {
  readonly filledQuote: string
  /** Its fee account (core/order-fees.ts). */
  readonly fees: { readonly exact: string; readonly charged: string }
}

/** All that a market is, as JSON can carry it. */
export interface MarketState {
  readonly symbol: string
  /** What its ticks and lots are. */
  readonly tickSize: string
  readonly lotSize: string
  readonly sequence: number
  readonly orders: readonly StoredOrder[]
}

/** What a trade is given that follows from nothing. */
export interface Stamp {
  readonly nowMs: number
  readonly newTradeId: () => string
}

/** The book of a market with what its orders have paid so far. */
export interface MarketEngine {
  readonly market: Market
  readonly book: Book
  place(command: OrderCommand, stamp: Stamp): Placed | { readonly rejection: RejectionCode }
  cancel(orderId: string): EngineOrder | { readonly rejection: RejectionCode }
  /** `lots` is the new total. */
  reduce(orderId: string, lots: number): EngineOrder | { readonly rejection: RejectionCode }
  openOrder(orderId: string): EngineOrder | null
  state(): MarketState
}

/** An order in hand; it changes with each event. */
interface Working {
  readonly id: string
  readonly userId: string
  readonly side: Side
  readonly type: OrderCommand['type']
  readonly ticks: number | null
  /** Null: by budget. */
  lots: number | null
  filled: number
  filledQuote: bigint
  fees: FeeAccount
  status: OrderStatus
}

export function createMarketEngine(market: Market, state: MarketState | null): MarketEngine {
  if (state !== null && (state.tickSize !== market.tickSize || state.lotSize !== market.lotSize)) {
    throw new Error(`${market.symbol}: the state was of another tick size or lot size`)
  }
  const book = createBook(bookRulesOf(market), state ?? undefined)
  const open = new Map((state?.orders ?? []).map(order => [order.orderId, restored(order)]))
  const show = (order: Working): EngineOrder => shown(market, order)

  /** A command about an order that rests. */
  function change(command: Command & { type: 'cancel' | 'reduce' }): EngineOrder | { rejection: RejectionCode } {
    const order = open.get(command.orderId)
    const [event] = book.apply(command)
    if (event?.type === 'rejected') return { rejection: event.code }
    if (order === undefined) throw new Error(`order ${command.orderId} is in the book and not among the open ones`)
    if (event?.type === 'reduced') order.lots = event.lots
    if (event?.type === 'cancelled') {
      order.status = 'cancelled'
      open.delete(order.id)
    }
    return show(order)
  }

  return {
    market,
    book,
    place: (command, stamp) => {
      const events = book.apply(command)
      const [first] = events
      if (first?.type === 'rejected') return { rejection: first.code }
      return follow(market, open, working(command), events, stamp)
    },
    cancel: orderId => change({ type: 'cancel', orderId }),
    reduce: (orderId, lots) => change({ type: 'reduce', orderId, lots }),
    openOrder: orderId => {
      const order = open.get(orderId)
      return order === undefined ? null : show(order)
    },
    state: () => {
      const { sequence, orders } = book.state()
      const { symbol, tickSize, lotSize } = market
      return {
        symbol,
        tickSize,
        lotSize,
        sequence,
        orders: orders.map(order => stored(order, openOne(open, order.orderId))),
      }
    },
  }
}

function openOne(open: ReadonlyMap<string, Working>, orderId: string): Working {
  const order = open.get(orderId)
  if (order === undefined) throw new Error(`order ${orderId} is in the book and not among the open ones`)
  return order
}

function working(command: OrderCommand): Working {
  const { orderId: id, userId, type } = command
  const side = type === 'budget' ? 'buy' : command.side
  const ticks = type === 'limit' ? command.ticks : null
  const lots = type === 'budget' ? null : command.lots
  return { id, userId, side, type, ticks, lots, filled: 0, filledQuote: 0n, fees: NO_FEES, status: 'open' }
}

function restored({ orderId, userId, side, ticks, lots, filled, filledQuote, fees }: StoredOrder): Working {
  return {
    ...{ id: orderId, userId, side, type: 'limit', ticks, lots: filled + lots, filled },
    filledQuote: BigInt(filledQuote),
    fees: { exact: BigInt(fees.exact), charged: BigInt(fees.charged) },
    status: filled > 0 ? 'partially_filled' : 'open',
  }
}

function stored(order: OpenOrder, { filledQuote, fees }: Working): StoredOrder {
  const { exact, charged } = fees
  return { ...order, filledQuote: `${filledQuote}`, fees: { exact: `${exact}`, charged: `${charged}` } }
}

function shown(
  market: Market,
  { id, userId, side, type, ticks, lots, filled, filledQuote, status }: Working,
): EngineOrder {
  return {
    ...{ id, userId, symbol: market.symbol, side, type: type === 'limit' ? 'limit' : 'market' },
    price: ticks === null ? null : priceText(market, ticks),
    quantity: lots === null ? null : quantityText(market, lots),
    remainingQuantity: lots === null ? null : quantityText(market, lots - filled),
    filledQuantity: quantityText(market, filled),
    filledQuoteQuantity: formatDecimal(filledQuote, market.quote.scale),
    status,
  }
}

/** Follows the events of an order that was placed, on it and on those it met. */
function follow(
  market: Market,
  open: Map<string, Working>,
  taker: Working,
  events: readonly MarketEvent[],
  stamp: Stamp,
): Placed {
  const trades: EngineTrade[] = []
  const expired: Working[] = []
  for (const event of events) {
    if (event.type === 'opened') open.set(taker.id, taker)
    if (event.type === 'fill') {
      const maker = openOne(open, event.makerOrderId)
      trades.push(trade(market, maker, taker, event, stamp))
      if (maker.status === 'filled') open.delete(maker.id)
    }
    if (event.type === 'expired' && event.orderId === taker.id) taker.status = endOf(taker, event.reason)
    if (event.type === 'expired' && event.orderId !== taker.id) {
      const maker = openOne(open, event.orderId)
      maker.status = 'expired'
      open.delete(maker.id)
      expired.push(maker)
    }
  }
  return { order: shown(market, taker), trades, expired: expired.map(order => shown(market, order)) }
}

/** An order whose budget was spent to the last lot has got what it asked for. */
function endOf({ filled }: Working, reason: ExpiryReason): OrderStatus {
  return reason === 'budget_spent' && filled > 0 ? 'filled' : 'expired'
}

/** Fills both orders, charges their fees, and says so. */
function trade(market: Market, maker: Working, taker: Working, fill: Fill, { nowMs, newTradeId }: Stamp): EngineTrade {
  const makerFee = formatDecimal(charge(maker, fill, market.makerFee), market.quote.scale)
  const takerFee = formatDecimal(charge(taker, fill, market.takerFee), market.quote.scale)
  const isBuyerMaker = fill.takerSide === 'sell'
  const [buyer, seller] = isBuyerMaker ? [maker, taker] : [taker, maker]
  return {
    id: newTradeId(),
    symbol: market.symbol,
    price: priceText(market, fill.ticks),
    quantity: quantityText(market, fill.lots),
    makerOrderId: maker.id,
    takerOrderId: taker.id,
    buyerUserId: buyer.userId,
    sellerUserId: seller.userId,
    buyerOrderId: buyer.id,
    sellerOrderId: seller.id,
    buyerFee: isBuyerMaker ? makerFee : takerFee,
    sellerFee: isBuyerMaker ? takerFee : makerFee,
    isBuyerMaker,
    executedAtMs: nowMs,
  }
}

function charge(order: Working, { lots, notional }: Fill, rate: string): bigint {
  const { fee, account } = chargeFee(order.fees, notional, rate)
  order.fees = account
  order.filled += lots
  order.filledQuote += notional
  order.status = order.filled === order.lots ? 'filled' : 'partially_filled'
  return fee
}
