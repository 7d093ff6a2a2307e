/**
 * One market of the order desk: its book, its open orders as they stand, and what the commands of a batch have changed.
 * It changes in memory, ahead of the database; where a batch can't be stored, all of it is thrown away and read anew.
 */
import type { Market } from '../core/market.ts'
import { parseStored } from '../core/money.ts'
import { isOpen, type Order, type OrderTerms } from '../core/order.ts'
import { chargeFee, NO_FEES } from '../core/order-fees.ts'
import type { Trade } from '../core/trade.ts'
import { type Book, bookRulesOf, type Cost, createBook, type OpenOrder } from '../matching/book.ts'
import type { NamelessOrder } from '../matching/commands.ts'
import type { Fill, MarketEvent, RejectionCode } from '../matching/events.ts'
import type { StoredBook } from '../store/order-store.ts'
import { debitsOf, purchaseNeed } from './needs.ts'

/** An order that may be placed: it keeps the market's rules, and what it can cost is set aside. */
export interface Placement {
  /** New. */
  readonly id: string
  readonly terms: OrderTerms
  readonly command: NamelessOrder
  /** The key of its hold; null: the funds are reserved on our side, or none are needed. */
  readonly hold: string | null
  /** What is set aside for it, in the smallest unit of what it pays with. */
  readonly held: bigint
}

export type Placed =
  | { readonly refused: RejectionCode }
  | { readonly order: Order; readonly trades: readonly Trade[]; readonly events: readonly MarketEvent[] }

/** What is free again of what was set aside for an order. */
export interface Freed {
  readonly order: Pick<Order, 'id' | 'userId' | 'hold'>
  readonly currency: string
  readonly amount: bigint
}

/** What the commands of a batch have made of a market. */
export interface MarketChanges {
  readonly market: Market
  readonly book: StoredBook
  readonly placed: readonly Order[]
  readonly changed: readonly Order[]
  readonly trades: readonly Trade[]
  readonly freed: readonly Freed[]
  readonly events: readonly MarketEvent[]
  /** The price levels that these orders are, or were, part of, as they are now. */
  readonly levels: readonly ChangedLevel[]
}

/** An empty level has no quantity and no orders. */
export interface ChangedLevel {
  readonly side: Order['side']
  readonly price: bigint
  readonly quantity: bigint
  readonly orders: number
}

export interface MarketDesk {
  readonly market: Market
  isHalted: boolean
  /** Of the last event. */
  sequence(): number
  /** A quantity of so many lots, in the base asset's smallest unit. */
  unitsOf(lots: number): bigint
  /** What has to be set aside for what is left of an order. */
  needOf(order: Order): bigint
  /** What an order pays with. */
  currencyOf(side: Order['side']): string
  costOf(command: NamelessOrder): Cost
  place(placement: Placement): Placed
  /** Null: it is not open. */
  cancel(orderId: string): Order | null
  /** `quantity` is the new total in the smallest unit; null: it is not open, or that is more than it has. */
  reduce(orderId: string, quantity: bigint): Order | null
  openOrder(orderId: string): Order | null
  openOrdersOf(userId: string): readonly string[]
  /** Best first: price, quantity, number of orders. */
  depth(side: Order['side'], limit: number): readonly (readonly [bigint, bigint, number])[]
  /** What has changed since it was asked last; null: nothing. */
  takeChanges(): MarketChanges | null
}

export interface MarketDeskOptions {
  readonly market: Market
  readonly feeUserId: string
  readonly book: StoredBook
  /** In the order in which they came to rest. */
  readonly openOrders: readonly Order[]
  /** Ids of trades: later ones sort later. */
  readonly newId: () => string
  readonly now: () => number
}

/** An order in work: `held` is what is still set aside for its rest, without what its trades will take. */
type Working = { -readonly [Name in keyof Order]: Order[Name] } & { held: bigint; freed: bigint }

/** Orders are stored in units that a market's tick and lot may no longer fit, once they are configured anew. */
class BookMismatchError extends Error {}

export function createMarketDesk(options: MarketDeskOptions): MarketDesk {
  const { market, feeUserId, newId, now } = options
  const { base, quote, symbol } = market
  const tickUnits = parseStored(market.tickSize, quote.scale)
  const lotUnits = parseStored(market.lotSize, base.scale)
  const book: Book = createBook(bookRulesOf(market), {
    sequence: options.book.sequence,
    orders: options.openOrders.map(restingOf),
  })
  const open = new Map<string, Working>(
    options.openOrders.map(order => [order.id, { ...order, held: needOf(order), freed: 0n }]),
  )
  const openByUser = new Map<string, Set<string>>()
  for (const { id, userId } of options.openOrders) note(userId, id)
  let isHalted = options.book.isHalted
  let storedSequence = options.book.sequence
  let storedHalted = isHalted

  let placed = new Set<Working>()
  let changed = new Set<Working>()
  let trades: Trade[] = []
  let events: MarketEvent[] = []

  function restingOf(order: Order): OpenOrder {
    const { id, userId, side, price, quantity, filledQuantity } = order
    const fits = price !== null && quantity !== null && price % tickUnits === 0n && quantity % lotUnits === 0n
    if (!fits || filledQuantity % lotUnits !== 0n) {
      throw new BookMismatchError(
        `market ${symbol} has open orders (${id} is one) that do not fit its tick_size ${market.tickSize} and lot_size ` +
          `${market.lotSize}: configure those that it had, and cancel these orders before they change`,
      )
    }
    const filled = lotsOf(filledQuantity)
    return { orderId: id, userId, side, ticks: Number(price / tickUnits), lots: lotsOf(quantity) - filled, filled }
  }

  function lotsOf(quantity: bigint): number {
    return Number(quantity / lotUnits)
  }

  function needOf(order: Order): bigint {
    if (!isOpen(order) || order.quantity === null || order.price === null) return 0n
    const rest = order.quantity - order.filledQuantity
    return order.side === 'sell'
      ? rest
      : purchaseNeed(market, Number(order.price / tickUnits), lotsOf(rest), order.fees)
  }

  function note(userId: string, id: string): void {
    const ids = openByUser.get(userId)
    if (ids === undefined) openByUser.set(userId, new Set([id]))
    else ids.add(id)
  }

  function forget({ userId, id }: Working): void {
    open.delete(id)
    const ids = openByUser.get(userId)
    ids?.delete(id)
    if (ids?.size === 0) openByUser.delete(userId)
  }

  function workingOf(orderId: string): Working {
    const order = open.get(orderId)
    if (order === undefined) throw new Error(`order ${orderId} is in the book of ${symbol}, and not at the desk`)
    return order
  }

  function touch(order: Working): void {
    if (!placed.has(order)) changed.add(order)
  }

  /** A fill's trade; of both orders what it changes. */
  function fill(event: Fill, taker: Working): Trade {
    const maker = workingOf(event.makerOrderId)
    const quantity = BigInt(event.lots) * lotUnits
    const { notional } = event
    const makerFee = charge(maker, quantity, notional, market.makerFee)
    const takerFee = charge(taker, quantity, notional, market.takerFee)
    const isBuyerMaker = maker.side === 'buy'
    const [buyer, seller] = isBuyerMaker ? [maker, taker] : [taker, maker]
    const trade: Trade = {
      id: newId(),
      symbol,
      base: base.code,
      quote: quote.code,
      buyerUserId: buyer.userId,
      sellerUserId: seller.userId,
      price: BigInt(event.ticks) * tickUnits,
      quantity,
      notional,
      buyerFee: isBuyerMaker ? makerFee : takerFee,
      sellerFee: isBuyerMaker ? takerFee : makerFee,
      feeUserId,
      isBuyerMaker,
      buyerOrderId: buyer.id,
      sellerOrderId: seller.id,
      executedAtMs: now(),
      terms: {
        buyerHold: buyer.hold,
        sellerHold: seller.hold,
        buyerFeeRate: isBuyerMaker ? market.makerFee : market.takerFee,
        sellerFeeRate: isBuyerMaker ? market.takerFee : market.makerFee,
      },
    }
    const debits = debitsOf(trade)
    buyer.held -= debits.buyer
    seller.held -= debits.seller
    maker.status = maker.filledQuantity === maker.quantity ? 'filled' : 'partially_filled'
    touch(maker)
    settleUp(maker)
    return trade
  }

  function charge(order: Working, quantity: bigint, notional: bigint, rate: string): bigint {
    const { fee, account } = chargeFee(order.fees, notional, rate)
    order.fees = account
    order.filledQuantity += quantity
    order.filledQuoteQuantity += notional
    return fee
  }

  /** What is set aside and no longer needed is free. */
  function settleUp(order: Working): void {
    order.updatedAtMs = now()
    const need = needOf(order)
    if (order.held < need) {
      // A bug of ours: a fill that nobody has put money aside for must not be stored.
      throw new Error(`order ${order.id} has ${order.held} set aside and needs ${need} of ${currencyOf(order.side)}`)
    }
    order.freed += order.held - need
    order.held = need
    if (!isOpen(order)) forget(order)
  }

  function currencyOf(side: Order['side']): string {
    return side === 'buy' ? quote.code : base.code
  }

  function end(order: Working, status: 'cancelled' | 'expired'): Order {
    order.status = status
    touch(order)
    settleUp(order)
    return orderOf(order)
  }

  /** Of orders that came to rest. */
  function levelsOf(orders: readonly Working[]): readonly ChangedLevel[] {
    const seen = { buy: new Set<number>(), sell: new Set<number>() }
    const levels: ChangedLevel[] = []
    for (const { side, price, openedSequence } of orders) {
      if (price === null || openedSequence === null) continue
      const ticks = Number(price / tickUnits)
      if (seen[side].has(ticks)) continue
      seen[side].add(ticks)
      const [lots, count] = book.level(side, ticks)
      levels.push({ side, price, quantity: BigInt(lots) * lotUnits, orders: count })
    }
    return levels
  }

  function apply(command: Parameters<Book['apply']>[0]): readonly MarketEvent[] {
    const made = book.apply(command)
    events.push(...made)
    return made
  }

  return {
    market,
    get isHalted() {
      return isHalted
    },
    set isHalted(value) {
      isHalted = value
    },
    sequence: () => book.sequence,
    unitsOf: lots => BigInt(lots) * lotUnits,
    needOf,
    currencyOf,
    // Of an order that is not there yet: no id of the book's.
    costOf: command => book.costOf({ ...command, orderId: '' }),
    place({ id, terms, command, hold, held }) {
      const made = apply({ ...command, orderId: id })
      const [first] = made
      if (first?.type === 'rejected') return { refused: first.code }
      const at = now()
      const order: Working = {
        ...terms,
        ...{ id, hold, held, freed: 0n },
        ...{ createdAtMs: at, updatedAtMs: at, quantity: terms.placedQuantity },
        ...{ filledQuantity: 0n, filledQuoteQuantity: 0n, fees: NO_FEES, openedSequence: null },
        status: 'open',
      }
      placed.add(order)
      const taken: Trade[] = []
      let last: 'opened' | 'expired' | 'budget_spent' | null = null
      for (const event of made) {
        if (event.type === 'fill') taken.push(fill(event, order))
        else if (event.type === 'opened') {
          last = 'opened'
          order.openedSequence = event.sequence
          open.set(order.id, order)
          note(order.userId, order.id)
        } else if (event.type === 'expired') {
          if (event.orderId === order.id) last = event.reason === 'budget_spent' ? 'budget_spent' : 'expired'
          else end(workingOf(event.orderId), 'expired')
        }
      }
      trades.push(...taken)
      order.status = statusAfter(last, order.filledQuantity > 0n)
      settleUp(order)
      return { order: orderOf(order), trades: taken, events: made }
    },
    cancel(orderId) {
      const order = open.get(orderId)
      if (order === undefined) return null
      apply({ type: 'cancel', orderId })
      return end(order, 'cancelled')
    },
    reduce(orderId, quantity) {
      const order = open.get(orderId)
      if (order === undefined || order.quantity === null || quantity > order.quantity) return null
      if (quantity <= order.filledQuantity) {
        apply({ type: 'cancel', orderId })
        return end(order, 'cancelled')
      }
      if (quantity === order.quantity) return orderOf(order)
      apply({ type: 'reduce', orderId, lots: lotsOf(quantity) })
      order.quantity = quantity
      touch(order)
      settleUp(order)
      return orderOf(order)
    },
    openOrder: orderId => {
      const order = open.get(orderId)
      return order === undefined ? null : orderOf(order)
    },
    openOrdersOf: userId => [...(openByUser.get(userId) ?? [])],
    depth: (side, limit) =>
      book
        .depth(side, limit)
        .map(([ticks, lots, orders]) => [BigInt(ticks) * tickUnits, BigInt(lots) * lotUnits, orders] as const),
    takeChanges() {
      if (book.sequence === storedSequence && isHalted === storedHalted) return null
      const touched = [...placed, ...changed]
      const changes: MarketChanges = {
        market,
        book: { symbol, sequence: book.sequence, isHalted },
        placed: [...placed].map(orderOf),
        changed: [...changed].map(orderOf),
        trades,
        freed: touched.flatMap(order => {
          const { freed: amount } = order
          order.freed = 0n
          return amount === 0n ? [] : [{ order, currency: currencyOf(order.side), amount }]
        }),
        events,
        levels: levelsOf(touched),
      }
      placed = new Set()
      changed = new Set()
      trades = []
      events = []
      storedSequence = book.sequence
      storedHalted = isHalted
      return changes
    },
  }
}

/** Of an order by budget all is spent that buys a lot, though some is left of it. */
function statusAfter(last: 'opened' | 'expired' | 'budget_spent' | null, isFilled: boolean): Order['status'] {
  if (last === null) return 'filled'
  if (last === 'opened') return isFilled ? 'partially_filled' : 'open'
  return last === 'budget_spent' && isFilled ? 'filled' : 'expired'
}

function orderOf({ held: _held, freed: _freed, ...order }: Working): Order {
  return order
}
