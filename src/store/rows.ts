import type { Instruments } from '../core/instruments.ts'
import { marketOf } from '../core/instruments.ts'
import type { LegOrder } from '../core/legs.ts'
import type { Market } from '../core/market.ts'
import { formatDecimal, parseStored } from '../core/money.ts'
import type { Rail, Settlement } from '../core/settlement.ts'
import type { Terms, Trade } from '../core/trade.ts'
import { plainArrayOf } from '../db.ts'
import type { Claimed, SettlementStatus, StoredTrade } from './store.ts'

/** A row of `trades` as the driver reads it: `numeric` is text. */
export interface TradeRow {
  readonly id: string
  readonly symbol: string
  readonly buyer_user_id: string
  readonly seller_user_id: string
  readonly fee_user_id: string
  readonly price: string
  readonly quantity: string
  readonly notional: string
  readonly buyer_fee: string
  readonly seller_fee: string
  readonly is_buyer_maker: boolean | null
  readonly buyer_order_id: string | null
  readonly seller_order_id: string | null
  readonly executed_at: Date
  readonly recorded_at: Date
  readonly settlement_status: SettlementStatus
  readonly settled_at: Date | null
  readonly settlement_retry_count: number
  readonly failure_reason: string | null
  readonly rail: Rail
  readonly leg_order: LegOrder
  readonly settlement: Settlement | null
  readonly buyer_hold: string | null
  readonly seller_hold: string | null
  readonly buyer_fee_rate: string | null
  readonly seller_fee_rate: string | null
}

export interface ClaimedRow extends TradeRow {
  readonly lease_token: number
  readonly due_at: Date
  readonly resumed: boolean
}

export function tradeOf(row: TradeRow, instruments: Instruments): Trade {
  const { base, quote } = marketOf(instruments, row.symbol)
  return {
    id: row.id,
    symbol: row.symbol,
    base: base.code,
    quote: quote.code,
    buyerUserId: row.buyer_user_id,
    sellerUserId: row.seller_user_id,
    feeUserId: row.fee_user_id,
    price: parseStored(row.price, quote.scale),
    quantity: parseStored(row.quantity, base.scale),
    notional: parseStored(row.notional, quote.scale),
    buyerFee: parseStored(row.buyer_fee, quote.scale),
    sellerFee: parseStored(row.seller_fee, quote.scale),
    isBuyerMaker: row.is_buyer_maker,
    buyerOrderId: row.buyer_order_id,
    sellerOrderId: row.seller_order_id,
    executedAtMs: row.executed_at.getTime(),
    terms: termsOf(row),
  }
}

function termsOf(row: TradeRow): Terms | null {
  const { buyer_hold: buyerHold, seller_hold: sellerHold, buyer_fee_rate: buyerRate, seller_fee_rate: sellerRate } = row
  if (buyerRate === null || sellerRate === null) return null
  return { buyerHold, sellerHold, buyerFeeRate: buyerRate, sellerFeeRate: sellerRate }
}

export function claimedOf(row: ClaimedRow, instruments: Instruments): Claimed {
  return {
    trade: tradeOf(row, instruments),
    rail: row.rail,
    legOrder: row.leg_order,
    settlement: row.settlement,
    token: row.lease_token,
    leaseUntilMs: row.due_at.getTime(),
    resumed: row.resumed,
    recordedAtMs: row.recorded_at.getTime(),
  }
}

export function storedTradeOf(row: TradeRow, instruments: Instruments): StoredTrade {
  return {
    trade: tradeOf(row, instruments),
    status: row.settlement_status,
    settledAtMs: row.settled_at?.getTime() ?? null,
    retryCount: row.settlement_retry_count,
    failureReason: row.failure_reason,
    rail: row.rail,
    legOrder: row.leg_order,
    settlement: row.settlement,
    recordedAtMs: row.recorded_at.getTime(),
  }
}

/** Trades as the arrays that `recordTrades` inserts, column by column. */
export function columnsOf(trades: readonly Trade[], instruments: Instruments): readonly string[] {
  const markets = trades.map(trade => marketOf(instruments, trade.symbol))
  const column = (value: (trade: Trade, market: Market) => string | boolean | null): string =>
    plainArrayOf(trades.map((trade, at) => value(trade, markets[at] as Market)))
  return [
    column(trade => trade.id),
    column(trade => trade.symbol),
    column(trade => trade.buyerUserId),
    column(trade => trade.sellerUserId),
    column(trade => trade.feeUserId),
    column(({ price }, { quote }) => formatDecimal(price, quote.scale)),
    column(({ quantity }, { base }) => formatDecimal(quantity, base.scale)),
    column(({ notional }, { quote }) => formatDecimal(notional, quote.scale)),
    column(({ buyerFee }, { quote }) => formatDecimal(buyerFee, quote.scale)),
    column(({ sellerFee }, { quote }) => formatDecimal(sellerFee, quote.scale)),
    column(trade => trade.isBuyerMaker),
    column(trade => trade.buyerOrderId),
    column(trade => trade.sellerOrderId),
    column(trade => new Date(trade.executedAtMs).toISOString()),
  ]
}

/** The arrays that follow those for trades of the order desk. */
export function termColumnsOf(trades: readonly Trade[]): readonly string[] {
  const column = (value: (terms: Terms) => string | null): string =>
    plainArrayOf(trades.map(({ terms }) => (terms === null ? null : value(terms))))
  return [
    column(terms => terms.buyerHold),
    column(terms => terms.sellerHold),
    column(terms => terms.buyerFeeRate),
    column(terms => terms.sellerFeeRate),
  ]
}

/** Whether two trades of one id are the same trade; its fee account and notional follow from the configuration. */
export function hasSameContent(known: Trade, given: Trade, isTimeGiven: boolean): boolean {
  return (
    known.symbol === given.symbol &&
    known.buyerUserId === given.buyerUserId &&
    known.sellerUserId === given.sellerUserId &&
    known.price === given.price &&
    known.quantity === given.quantity &&
    known.buyerFee === given.buyerFee &&
    known.sellerFee === given.sellerFee &&
    known.isBuyerMaker === given.isBuyerMaker &&
    known.buyerOrderId === given.buyerOrderId &&
    known.sellerOrderId === given.sellerOrderId &&
    (!isTimeGiven || known.executedAtMs === given.executedAtMs)
  )
}
