/** The door of `legwork/matching`: a matching engine of several markets in memory, for use without the rest. */
import { type Clock, systemClock } from './clock.ts'
import { rateUnits, WHOLE } from './core/fees.ts'
import { type Market, marketFault } from './core/market.ts'
import { parseDecimal } from './core/money.ts'
import type { RejectionCode } from './matching/events.ts'
import {
  createMarketEngine,
  type EngineOrder,
  type EngineTrade,
  type MarketEngine,
  type MarketState,
  type Placed,
} from './matching/market-engine.ts'
import {
  type OrderFault,
  type OrderInput,
  priceText,
  quantityText,
  readLots,
  readOrder,
} from './matching/order-rules.ts'
import { uuidV7 } from './uuid.ts'

export type { Asset, Market } from './core/market.ts'
export type { EngineOrder, EngineTrade, MarketState, Placed } from './matching/market-engine.ts'

/** Numbers are decimal texts; what is left out is as `OrderInput` says of null. */
export interface NewOrder
  extends Pick<OrderInput, 'userId' | 'side' | 'type'>,
    Partial<
      Pick<OrderInput, 'price' | 'quantity' | 'quoteQuantity' | 'timeInForce' | 'postOnly' | 'selfTradePrevention'>
    > {
  readonly symbol: string
  /** A new one is made where it is left out. Settlement takes UUIDs only. */
  readonly id?: string
}

/** Why the engine did nothing. */
export interface Refusal {
  readonly code: OrderFault['code'] | RejectionCode | 'UNKNOWN_SYMBOL'
  /** Of the order, as the HTTP API names it; null: it is not one field's fault. */
  readonly field: OrderFault['field'] | 'symbol' | null
  readonly detail: string
}

export type Refused = { readonly refusal: Refusal }

/** Price, quantity, number of orders; the best first. */
export type BookLevel = readonly [price: string, quantity: string, orders: number]

export interface BookView {
  readonly symbol: string
  /** Counts the market's events. */
  readonly sequence: number
  readonly bids: readonly BookLevel[]
  readonly asks: readonly BookLevel[]
}

export type TradesListener = (trades: readonly EngineTrade[]) => void

/** All that an engine is, as JSON can carry it. */
export interface EngineState {
  readonly markets: readonly MarketState[]
}

export interface MatchingEngineOptions {
  readonly markets: readonly Market[]
  /** What an earlier engine was. Its future is the same as that engine's, but for times and new ids. */
  readonly state?: EngineState
  readonly clock?: Pick<Clock, 'now'>
  /** Of orders and trades; UUIDs of version 7 where it is left out. */
  readonly newId?: (nowMs: number) => string
}

/** Nothing of it is durable: keep `state()`, or the commands, wherever the orders are kept. */
export class MatchingEngine {
  readonly #markets: ReadonlyMap<string, MarketEngine>
  readonly #listeners = new Set<TradesListener>()
  readonly #clock: Pick<Clock, 'now'>
  readonly #newId: (nowMs: number) => string

  constructor({ markets, state, clock = systemClock(), newId = uuidV7 }: MatchingEngineOptions) {
    const states = new Map((state?.markets ?? []).map(each => [each.symbol, each]))
    this.#markets = new Map(
      markets.map(market => {
        refuseUnsound(market)
        return [market.symbol, createMarketEngine(market, states.get(market.symbol) ?? null)]
      }),
    )
    const lost = [...states.keys()].find(symbol => !this.#markets.has(symbol))
    if (lost !== undefined) throw new Error(`the state has orders of ${lost}, which is not among the markets`)
    this.#clock = clock
    this.#newId = newId
  }

  /** Matches an order with the book; what is left of it rests there or expires. A refused order did nothing. */
  place(order: NewOrder): Placed | Refused {
    const nowMs = this.#clock.now()
    const engine = this.#markets.get(order.symbol)
    if (engine === undefined) return refused('UNKNOWN_SYMBOL', 'symbol', `there is no market ${order.symbol}`)
    const orderId = order.id ?? this.#newId(nowMs)
    const read = readOrder(engine.market, inputOf(order))
    if ('fault' in read) return { refusal: read.fault }
    if (this.#engineOf(orderId) !== undefined) return rejected('ORDER_ID_REUSED')
    const placed = engine.place({ ...read.command, orderId }, { nowMs, newTradeId: () => this.#newId(nowMs) })
    if ('rejection' in placed) return rejected(placed.rejection)
    if (placed.trades.length > 0) for (const listener of this.#listeners) listener(placed.trades)
    return placed
  }

  cancel(orderId: string): { readonly order: EngineOrder } | Refused {
    return changed(this.#engineOf(orderId)?.cancel(orderId))
  }

  /** Lowers the quantity of an open order, which keeps its place; to what is filled or below cancels it. */
  reduce(orderId: string, quantity: string): { readonly order: EngineOrder } | Refused {
    const engine = this.#engineOf(orderId)
    if (engine === undefined) return rejected('ORDER_NOT_OPEN')
    const lots = readLots(engine.market, quantity)
    return typeof lots === 'number' ? changed(engine.reduce(orderId, lots)) : { refusal: lots.fault }
  }

  /** Null: no order of this id is open. */
  openOrder(orderId: string): EngineOrder | null {
    return this.#engineOf(orderId)?.openOrder(orderId) ?? null
  }

  /** Null: there is no such market. */
  book(symbol: string, depth = 50): BookView | null {
    const engine = this.#markets.get(symbol)
    if (engine === undefined) return null
    const { market, book } = engine
    const levels = (side: 'buy' | 'sell'): readonly BookLevel[] =>
      book
        .depth(side, depth)
        .map(([ticks, lots, orders]) => [priceText(market, ticks), quantityText(market, lots), orders])
    return { symbol, sequence: book.sequence, bids: levels('buy'), asks: levels('sell') }
  }

  /**
   * Calls back once for each order that traded, before `place` returns, with all its trades in order of execution. What a
   * listener throws comes out of `place`; the trades have happened all the same. Returns what calls it off.
   */
  onTrades(listener: TradesListener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  state(): EngineState {
    return { markets: [...this.#markets.values()].map(engine => engine.state()) }
  }

  #engineOf(orderId: string): MarketEngine | undefined {
    for (const engine of this.#markets.values()) if (engine.book.openOrder(orderId) !== null) return engine
    return undefined
  }
}

function inputOf(order: NewOrder): OrderInput {
  const { userId, side, type, price = null, quantity = null, quoteQuantity = null } = order
  const { timeInForce = null, postOnly = false, selfTradePrevention = null } = order
  return { userId, side, type, price, quantity, quoteQuantity, timeInForce, postOnly, selfTradePrevention }
}

/** The configuration file has its own, finer words for these. */
function refuseUnsound(market: Market): void {
  const isPositive = (text: string, scale: number): boolean => {
    const units = parseDecimal(text, scale)
    return units === 'too_many_places' || (typeof units === 'bigint' && units > 0n)
  }
  const sizes = [
    ['tickSize', market.tickSize, market.quote.scale],
    ['lotSize', market.lotSize, market.base.scale],
  ] as const
  for (const [name, text, scale] of sizes) {
    if (!isPositive(text, scale)) throw new Error(`market ${market.symbol}: ${name} ${text} is not a number above zero`)
  }
  for (const rate of [market.makerFee, market.takerFee]) {
    const units = rateUnits(rate)
    if (units <= -WHOLE || units >= WHOLE) throw new Error(`market ${market.symbol}: the rate ${rate} is no share`)
  }
  const fault = marketFault(market)
  if (fault !== null) throw new Error(fault)
}

const DETAILS: Readonly<Record<RejectionCode, string>> = {
  POST_ONLY_WOULD_CROSS: 'the order would trade at once',
  ORDER_NOT_OPEN: 'no such order is open',
  ORDER_ID_REUSED: 'an order of this id is open',
  NOT_A_REDUCTION: 'the quantity is above that of the order',
}

function rejected(code: RejectionCode): Refused {
  return refused(code, null, DETAILS[code])
}

function refused(code: Refusal['code'], field: Refusal['field'], detail: string): Refused {
  return { refusal: { code, field, detail } }
}

function changed(
  result: EngineOrder | { readonly rejection: RejectionCode } | undefined,
): { readonly order: EngineOrder } | Refused {
  if (result === undefined) return rejected('ORDER_NOT_OPEN')
  return 'rejection' in result ? rejected(result.rejection) : { order: result }
}
