import type { Market } from '../../src/core/market.ts'
import type { BookState, Cost, OpenOrder } from '../../src/matching/book.ts'
import type { Command, OrderCommand, Side } from '../../src/matching/commands.ts'
import type { ExpiryReason, MarketEvent } from '../../src/matching/events.ts'

/**
 * The oracle: the rules of a book as one would say them, over one list of orders that is filtered and sorted for every
 * command. It shares nothing with the engine but the words of its commands and events.
 */
export interface NaiveBook {
  apply(command: Command): readonly MarketEvent[]
  costOf(order: OrderCommand): Cost
  state(): BookState
  depth(side: Side): readonly (readonly [number, number, number])[]
}

interface Order {
  readonly orderId: string
  readonly userId: string
  readonly side: Side
  readonly ticks: number
  total: number
  filled: number
}

/** An event without its number, which is added at the end. */
type Unnumbered = MarketEvent extends infer Event ? (Event extends unknown ? Omit<Event, 'sequence'> : never) : never

export function createNaiveBook(market: Market): NaiveBook {
  let sequence = 0
  let orders: Order[] = []
  const withNumbers = (events: readonly Unnumbered[]) =>
    events.map(event => ({ ...event, sequence: ++sequence }) as MarketEvent)
  return {
    apply: command => {
      const after = orders.map(order => ({ ...order }))
      const events = carryOut(market, after, command)
      orders = after.filter(order => order.filled < order.total)
      return withNumbers(events)
    },
    costOf: order =>
      costAfter(
        market,
        carryOut(
          market,
          orders.map(each => ({ ...each })),
          order,
        ),
      ),
    state: () => ({ sequence, orders: [...best(orders, 'buy'), ...best(orders, 'sell')].map(asOpen) }),
    depth: side => {
      const prices = [...new Set(best(orders, side).map(({ ticks }) => ticks))]
      return prices.map(ticks => {
        const level = orders.filter(order => order.side === side && order.ticks === ticks)
        return [ticks, level.reduce((sum, order) => sum + left(order), 0), level.length] as const
      })
    },
  }
}

const left = ({ total, filled }: Order): number => total - filled

function asOpen(order: Order): OpenOrder {
  const { orderId, userId, side, ticks, filled } = order
  return { orderId, userId, side, ticks, lots: left(order), filled }
}

/** One side, the best price first; the sort is stable and the list in order of arrival, so the earliest comes first. */
function best(orders: readonly Order[], side: Side): readonly Order[] {
  const its = orders.filter(order => order.side === side)
  return its.sort((one, other) => (side === 'buy' ? other.ticks - one.ticks : one.ticks - other.ticks))
}

/** Changes the list; an order that ended has all of its total filled, or a total of what was filled. */
function carryOut(market: Market, orders: Order[], command: Command): readonly Unnumbered[] {
  const { orderId } = command
  const open = orders.find(order => order.orderId === orderId)
  switch (command.type) {
    case 'cancel':
      return open === undefined ? [{ type: 'rejected', orderId, code: 'ORDER_NOT_OPEN' }] : [end(open, 'cancelled')]
    case 'reduce':
      if (open === undefined) return [{ type: 'rejected', orderId, code: 'ORDER_NOT_OPEN' }]
      if (command.lots <= open.filled) return [end(open, 'cancelled')]
      if (command.lots > open.total) return [{ type: 'rejected', orderId, code: 'NOT_A_REDUCTION' }]
      if (command.lots === open.total) return []
      open.total = command.lots
      return [{ type: 'reduced', orderId, lots: command.lots }]
    case 'limit':
    case 'market':
    case 'budget':
      return open === undefined
        ? place(market, orders, command)
        : [{ type: 'rejected', orderId, code: 'ORDER_ID_REUSED' }]
  }
}

function end(order: Order, how: 'cancelled' | 'self_trade'): Unnumbered {
  const { orderId } = order
  const lots = left(order)
  order.total = order.filled
  return how === 'cancelled' ? { type: 'cancelled', orderId, lots } : { type: 'expired', orderId, lots, reason: how }
}

function place(market: Market, orders: Order[], order: OrderCommand): readonly Unnumbered[] {
  const { orderId, userId, selfTradePrevention: mode } = order
  const makers = opposite(orders, order)
  const isOwn = (maker: Order): boolean => maker.userId === userId
  if (order.type === 'limit' && order.postOnly && makers.length > 0) {
    return [{ type: 'rejected', orderId, code: 'POST_ONLY_WOULD_CROSS' }]
  }
  if (order.type === 'limit' && order.timeInForce === 'FOK') {
    const stop = mode === 'expire_taker' || mode === 'expire_both' ? makers.findIndex(isOwn) : -1
    const before = stop === -1 ? makers : makers.slice(0, stop)
    const others = before.filter(maker => !isOwn(maker)).reduce((sum, maker) => sum + left(maker), 0)
    if (others < order.lots) return [{ type: 'expired', orderId, lots: order.lots, reason: 'fill_or_kill' }]
  }

  const events: Unnumbered[] = []
  const total = order.type === 'budget' ? Number.POSITIVE_INFINITY : order.lots
  let filled = 0
  let paid = 0n
  let reason: ExpiryReason = 'immediate'
  for (const maker of makers) {
    if (filled === total) break
    const wanted = Math.min(left(maker), total - filled)
    const lots = order.type === 'budget' ? payable(market, order.budget, paid, maker.ticks, wanted) : wanted
    if (lots === 0) {
      reason = 'budget_spent'
      break
    }
    if (isOwn(maker) && mode !== 'none') {
      if (mode !== 'expire_taker') events.push(end(maker, 'self_trade'))
      if (mode === 'expire_maker') continue
      reason = 'self_trade'
      break
    }
    const notional = worth(market, maker.ticks, lots)
    maker.filled += lots
    filled += lots
    paid += notional
    events.push({
      type: 'fill',
      makerOrderId: maker.orderId,
      takerOrderId: orderId,
      makerUserId: maker.userId,
      takerUserId: userId,
      takerSide: order.type === 'budget' ? 'buy' : order.side,
      ticks: maker.ticks,
      lots,
      notional,
    })
    if (lots < wanted) {
      reason = 'budget_spent'
      break
    }
  }

  if (order.type === 'budget') return [...events, { type: 'expired', orderId, lots: null, reason }]
  const rest = total - filled
  if (rest === 0) return events
  if (order.type === 'market' || order.timeInForce !== 'GTC' || reason !== 'immediate') {
    return [...events, { type: 'expired', orderId, lots: rest, reason }]
  }
  const { side, ticks } = order
  orders.push({ orderId, userId, side, ticks, total, filled })
  return [...events, { type: 'opened', orderId, ticks, lots: rest }]
}

/** Whom the order may trade with by its price, in the order in which it does. */
function opposite(orders: readonly Order[], order: OrderCommand): readonly Order[] {
  const side = order.type === 'budget' ? 'buy' : order.side
  const makers = best(orders, side === 'buy' ? 'sell' : 'buy')
  if (order.type !== 'limit') return makers
  return makers.filter(({ ticks }) => (side === 'buy' ? ticks <= order.ticks : ticks >= order.ticks))
}

/** Tried lot by lot. */
function payable(market: Market, budget: bigint, paid: bigint, ticks: number, most: number): number {
  for (let lots = 1; lots <= most; lots++) {
    const notional = paid + worth(market, ticks, lots)
    if (notional + fee(market, notional) > budget) return lots - 1
  }
  return most
}

function costAfter(market: Market, events: readonly Unnumbered[]): Cost {
  const fills = events.filter(event => event.type === 'fill')
  const lots = fills.reduce((sum, fill) => sum + fill.lots, 0)
  const notional = fills.reduce((sum, fill) => sum + fill.notional, 0n)
  return { lots, notional, fee: fee(market, notional) }
}

/** Digits after the point, and all digits as a whole number. */
function digits(text: string): { readonly places: number; readonly whole: bigint } {
  const [before = '', after = ''] = text.split('.')
  return { places: after.length, whole: BigInt(before + after) }
}

/** price × quantity in the quote asset's smallest unit, rounded by the market's rule. */
function worth(market: Market, ticks: number, lots: number): bigint {
  const [tick, lot] = [digits(market.tickSize), digits(market.lotSize)]
  const numerator = BigInt(ticks) * tick.whole * BigInt(lots) * lot.whole * 10n ** BigInt(market.quote.scale)
  const denominator = 10n ** BigInt(tick.places + lot.places)
  const [whole, twice] = [numerator / denominator, (numerator % denominator) * 2n]
  if (market.rounding === 'down' || twice < denominator) return whole
  if (twice > denominator || market.rounding === 'half_up') return whole + 1n
  return whole % 2n === 0n ? whole : whole + 1n
}

/** The taker's fee of all of an order, upward. */
function fee(market: Market, notional: bigint): bigint {
  const rate = digits(market.takerFee)
  const [numerator, denominator] = [notional * rate.whole, 10n ** BigInt(rate.places)]
  const down = numerator / denominator
  return numerator > 0n && numerator % denominator > 0n ? down + 1n : down
}
