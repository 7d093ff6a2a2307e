/**
 * The matching engine of one market: a state machine, (book, command) → events. It knows no time, no chance and no waiting,
 * so the same commands give the same events, and a book that is restored from its open orders has the same future.
 */
import { roundFee } from '../core/fees.ts'
import type { Command, LimitOrder, OrderCommand, Side } from './commands.ts'
import type { ExpiryReason, Fill, MarketEvent, RejectionCode } from './events.ts'
import {
  append,
  bestOf,
  createLevels,
  hasRoomFor,
  type Levels,
  levelAt,
  ordersOf,
  type RestingOrder,
  remove,
  shrink,
} from './levels.ts'
import { type BookRules, canFill, type Taker, takerOf, takes, type Visitor, walk } from './walk.ts'

export { type BookRules, bookRulesOf } from './walk.ts'

/** An order in the book as others see it. */
export interface OpenOrder {
  readonly orderId: string
  readonly userId: string
  readonly side: Side
  readonly ticks: number
  /** What is left of it. */
  readonly lots: number
  readonly filled: number
}

/** All that a book is, as JSON can carry it. */
export interface BookState {
  /** Of the last event; 0 before the first. */
  readonly sequence: number
  /** Of two at the same price the earlier one comes first; nothing else of the order counts. */
  readonly orders: readonly OpenOrder[]
}

/** What a purchase or a sale would do right now; what of it would rest is left out. */
export interface Cost {
  readonly lots: number
  readonly notional: bigint
  /** Of all its fills as a taker. */
  readonly fee: bigint
}

export interface Book {
  /** The number of events so far. */
  readonly sequence: number
  /** In ticks; null: that side is empty. */
  readonly bestBid: number | null
  readonly bestAsk: number | null
  /** Throws, with nothing changed, for a command that is none (a fraction of a lot): whoever sends it checks it. */
  apply(command: Command): readonly MarketEvent[]
  /** Best first: `[ticks, lots, orders]`. */
  depth(side: Side, limit: number): readonly (readonly [number, number, number])[]
  /** What rests at a price: `[lots, orders]`. */
  level(side: Side, ticks: number): readonly [number, number]
  openOrder(orderId: string): OpenOrder | null
  /** Bids, then asks, best first, as a new copy. */
  state(): BookState
  /** Changes nothing. */
  costOf(order: OrderCommand): Cost
}

/** The parts of a book; they change in place. */
interface Parts {
  readonly rules: BookRules
  readonly bids: Levels
  readonly asks: Levels
  /** A map, since ids are any text, also `__proto__`. */
  readonly open: Map<string, RestingOrder>
  sequence: number
}

export function createBook(rules: BookRules, from: BookState = { sequence: 0, orders: [] }): Book {
  const book = restored(rules, from)
  return {
    get sequence() {
      return book.sequence
    },
    get bestBid() {
      return bestOf(book.bids)?.ticks ?? null
    },
    get bestAsk() {
      return bestOf(book.asks)?.ticks ?? null
    },
    apply: command => applyTo(book, command),
    depth: (side, limit) => {
      const { sorted } = sideOf(book, side)
      const best = sorted.slice(Math.max(0, sorted.length - limit)).reverse()
      return best.map(({ ticks, lots, orders }) => [ticks, lots, orders] as const)
    },
    level: (side, ticks) => {
      const { lots, orders } = levelAt(sideOf(book, side), ticks) ?? { lots: 0, orders: 0 }
      return [lots, orders]
    },
    openOrder: orderId => {
      const order = book.open.get(orderId)
      return order === undefined ? null : copyOf(order)
    },
    state: () => ({ sequence: book.sequence, orders: [...ordersOf(book.bids), ...ordersOf(book.asks)].map(copyOf) }),
    costOf: order => costIn(book, order),
  }
}

function restored(rules: BookRules, { sequence, orders }: BookState): Parts {
  const book: Parts = { rules, bids: createLevels('buy'), asks: createLevels('sell'), open: new Map(), sequence }
  for (const order of orders) {
    const { orderId, side, ticks, lots, filled } = order
    const isCounted = Number.isSafeInteger(filled) && filled >= 0 && Number.isSafeInteger(filled + lots)
    const isOrder = isCount(ticks) && isCount(lots) && isCounted && !book.open.has(orderId)
    if (!isOrder || !hasRoomFor(sideOf(book, side), ticks, lots)) throw new Error(`order ${orderId} can't be in a book`)
    rest(book, order)
  }
  const [bid, ask] = [bestOf(book.bids), bestOf(book.asks)]
  if (bid !== undefined && ask !== undefined && bid.ticks >= ask.ticks) throw new Error('the open orders cross')
  return book
}

function copyOf({ orderId, userId, side, ticks, lots, filled }: RestingOrder): OpenOrder {
  return { orderId, userId, side, ticks, lots, filled }
}

function sideOf({ bids, asks }: Parts, side: Side): Levels {
  return side === 'buy' ? bids : asks
}

/** Whom an order of this side trades with. */
function makersFor({ bids, asks }: Parts, side: Side): Levels {
  return side === 'buy' ? asks : bids
}

function rest(book: Parts, { orderId, userId, side, ticks, lots, filled }: OpenOrder): void {
  const order: RestingOrder = { orderId, userId, side, ticks, lots, filled, previous: null, next: null }
  append(sideOf(book, side), order)
  book.open.set(orderId, order)
}

function takeOut(book: Parts, order: RestingOrder): void {
  remove(sideOf(book, order.side), order)
  book.open.delete(order.orderId)
}

function applyTo(book: Parts, command: Command): readonly MarketEvent[] {
  check(command)
  switch (command.type) {
    case 'limit':
    case 'market':
    case 'budget':
      return place(book, command)
    case 'cancel':
      return cancel(book, command.orderId)
    case 'reduce':
      return reduce(book, command.orderId, command.lots)
  }
}

/** A number that is none of these would spoil the book for ever. */
function check(command: Command): void {
  const isSound =
    (command.type !== 'limit' || isCount(command.ticks)) &&
    ((command.type !== 'limit' && command.type !== 'market') || isCount(command.lots)) &&
    (command.type !== 'budget' || command.budget > 0n) &&
    (command.type !== 'reduce' || Number.isSafeInteger(command.lots))
  if (!isSound) throw new RangeError(`order ${command.orderId}: ticks, lots and budgets are whole numbers above zero`)
}

function isCount(number: number): boolean {
  return Number.isSafeInteger(number) && number > 0
}

function place(book: Parts, order: OrderCommand): readonly MarketEvent[] {
  const taker = takerOf(order)
  const makers = makersFor(book, taker.side)
  const obstacle = obstacleTo(book, order, taker, makers)
  if (obstacle === 'fill_or_kill') return [expired(book, order.orderId, taker.lots, obstacle)]
  if (obstacle !== null) return rejected(book, order.orderId, obstacle)
  const events: MarketEvent[] = []
  const reason = crosses(makers, taker)
    ? walk(book.rules, makers, taker, tradingIn(book, order, taker.side, events))
    : 'immediate'
  if (reason === null) return events
  events.push(
    order.type === 'limit' && order.timeInForce === 'GTC' && reason === 'immediate'
      ? opened(book, order, taker.lots ?? 0)
      : expired(book, order.orderId, taker.lots, reason),
  )
  return events
}

/** Why nothing of an order may be done; null: it may be. */
function obstacleTo(
  book: Parts,
  order: OrderCommand,
  taker: Taker,
  makers: Levels,
): 'ORDER_ID_REUSED' | 'POST_ONLY_WOULD_CROSS' | 'fill_or_kill' | null {
  if (book.open.has(order.orderId)) return 'ORDER_ID_REUSED'
  if (order.type !== 'limit') return null
  if (order.postOnly && crosses(makers, taker)) return 'POST_ONLY_WOULD_CROSS'
  return order.timeInForce === 'FOK' && !canFill(makers, taker) ? 'fill_or_kill' : null
}

function crosses(makers: Levels, taker: Taker): boolean {
  const best = bestOf(makers)
  return best !== undefined && takes(taker, best.ticks)
}

/** Carries out in the book what a walk comes upon, and writes it down. */
function tradingIn(book: Parts, order: OrderCommand, takerSide: Side, events: MarketEvent[]): Visitor {
  return {
    trades: (maker, lots, notional) => {
      events.push(fillOf(book, order, takerSide, maker, lots, notional))
      maker.filled += lots
      if (lots < maker.lots) shrink(sideOf(book, maker.side), maker, lots)
      else takeOut(book, maker)
    },
    expires: maker => {
      takeOut(book, maker)
      events.push(expired(book, maker.orderId, maker.lots, 'self_trade'))
    },
  }
}

function fillOf(
  book: Parts,
  order: OrderCommand,
  takerSide: Side,
  maker: RestingOrder,
  lots: number,
  notional: bigint,
): Fill {
  return {
    type: 'fill',
    sequence: ++book.sequence,
    makerOrderId: maker.orderId,
    takerOrderId: order.orderId,
    makerUserId: maker.userId,
    takerUserId: order.userId,
    takerSide,
    ticks: maker.ticks,
    lots,
    notional,
  }
}

function opened(book: Parts, order: LimitOrder, lots: number): MarketEvent {
  const { orderId, userId, side, ticks } = order
  if (!hasRoomFor(sideOf(book, side), ticks, lots)) return expired(book, orderId, lots, 'level_full')
  rest(book, { orderId, userId, side, ticks, lots, filled: order.lots - lots })
  return { type: 'opened', sequence: ++book.sequence, orderId, ticks, lots }
}

function expired(book: Parts, orderId: string, lots: number | null, reason: ExpiryReason): MarketEvent {
  return { type: 'expired', sequence: ++book.sequence, orderId, lots, reason }
}

function rejected(book: Parts, orderId: string, code: RejectionCode): readonly MarketEvent[] {
  return [{ type: 'rejected', sequence: ++book.sequence, orderId, code }]
}

function cancel(book: Parts, orderId: string): readonly MarketEvent[] {
  const order = book.open.get(orderId)
  if (order === undefined) return rejected(book, orderId, 'ORDER_NOT_OPEN')
  takeOut(book, order)
  return [{ type: 'cancelled', sequence: ++book.sequence, orderId, lots: order.lots }]
}

function reduce(book: Parts, orderId: string, lots: number): readonly MarketEvent[] {
  const order = book.open.get(orderId)
  if (order === undefined) return rejected(book, orderId, 'ORDER_NOT_OPEN')
  if (lots <= order.filled) return cancel(book, orderId)
  const excess = order.filled + order.lots - lots
  if (excess < 0) return rejected(book, orderId, 'NOT_A_REDUCTION')
  if (excess === 0) return []
  shrink(sideOf(book, order.side), order, excess)
  return [{ type: 'reduced', sequence: ++book.sequence, orderId, lots }]
}

function costIn(book: Parts, order: OrderCommand): Cost {
  check(order)
  const taker = takerOf(order)
  const makers = makersFor(book, taker.side)
  const cost = { lots: 0, notional: 0n }
  if (obstacleTo(book, order, taker, makers) === null) {
    walk(book.rules, makers, taker, {
      trades: (_maker, lots, notional) => {
        cost.lots += lots
        cost.notional += notional
      },
      expires: () => {},
    })
  }
  return { ...cost, fee: roundFee(cost.notional * book.rules.takerRate) }
}
