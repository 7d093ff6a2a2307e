import { type Instruments, marketOf } from '../core/instruments.ts'
import type { Market } from '../core/market.ts'
import { formatDecimal, MAX_SCALE, parseStored } from '../core/money.ts'
import type { Order, OrderStatus } from '../core/order.ts'
import { arrayOf, plainArrayOf } from '../db.ts'

/** A row of `orders` as the driver reads it: `numeric` is text. */
export interface OrderRow {
  readonly id: string
  readonly user_id: string
  readonly client_order_id: string | null
  readonly symbol: string
  readonly side: Order['side']
  readonly type: Order['type']
  readonly price: string | null
  readonly placed_quantity: string | null
  readonly quote_quantity: string | null
  readonly time_in_force: Order['timeInForce']
  readonly post_only: boolean
  readonly self_trade_prevention: Order['selfTradePrevention']
  readonly hold: string | null
  readonly created_at: Date
  readonly quantity: string | null
  readonly filled_quantity: string
  readonly filled_quote_quantity: string
  readonly fee_exact: string
  readonly fee_charged: string
  readonly status: OrderStatus
  readonly opened_sequence: bigint | null
  readonly updated_at: Date
}

export const ORDER_COLUMNS = `
  o.id, o.user_id, o.client_order_id, o.symbol, o.side, o.type, o.price, o.placed_quantity, o.quote_quantity,
  o.time_in_force, o.post_only, o.self_trade_prevention, o.hold, o.created_at, o.quantity, o.filled_quantity,
  o.filled_quote_quantity, o.fee_exact, o.fee_charged, o.status, o.opened_sequence, o.updated_at`

export function orderOf(row: OrderRow, instruments: Instruments): Order {
  const { base, quote } = marketOf(instruments, row.symbol)
  const unitsOf = (text: string | null, scale: number): bigint | null =>
    text === null ? null : parseStored(text, scale)
  return {
    id: row.id,
    userId: row.user_id,
    clientOrderId: row.client_order_id,
    symbol: row.symbol,
    side: row.side,
    type: row.type,
    price: unitsOf(row.price, quote.scale),
    placedQuantity: unitsOf(row.placed_quantity, base.scale),
    quoteQuantity: unitsOf(row.quote_quantity, quote.scale),
    timeInForce: row.time_in_force,
    postOnly: row.post_only,
    selfTradePrevention: row.self_trade_prevention,
    hold: row.hold,
    createdAtMs: row.created_at.getTime(),
    quantity: unitsOf(row.quantity, base.scale),
    filledQuantity: parseStored(row.filled_quantity, base.scale),
    filledQuoteQuantity: parseStored(row.filled_quote_quantity, quote.scale),
    fees: {
      exact: parseStored(row.fee_exact, quote.scale + MAX_SCALE),
      charged: parseStored(row.fee_charged, quote.scale),
    },
    status: row.status,
    openedSequence: row.opened_sequence === null ? null : Number(row.opened_sequence),
    updatedAtMs: row.updated_at.getTime(),
  }
}

type Value = string | boolean | null
type Column = (order: Order, market: Market) => Value

const text = (units: bigint | null, scale: number): string | null =>
  units === null ? null : formatDecimal(units, scale)

/** Of `orders`, in the order of the statement that inserts them; the ones that change are apart. */
const FIXED: readonly Column[] = [
  order => order.userId,
  order => order.symbol,
  order => order.side,
  order => order.type,
  ({ price }, { quote }) => text(price, quote.scale),
  ({ placedQuantity }, { base }) => text(placedQuantity, base.scale),
  ({ quoteQuantity }, { quote }) => text(quoteQuantity, quote.scale),
  order => order.timeInForce,
  order => order.postOnly,
  order => order.selfTradePrevention,
  order => order.hold,
]

const CHANGING: readonly Column[] = [
  order => order.id,
  ({ quantity }, { base }) => text(quantity, base.scale),
  ({ filledQuantity }, { base }) => text(filledQuantity, base.scale),
  ({ filledQuoteQuantity }, { quote }) => text(filledQuoteQuantity, quote.scale),
  ({ fees }, { quote }) => text(fees.exact, quote.scale + MAX_SCALE),
  ({ fees }, { quote }) => text(fees.charged, quote.scale),
  order => order.status,
  ({ openedSequence }) => (openedSequence === null ? null : String(openedSequence)),
]

/** Orders as arrays, column by column: what changes of them, then the rest. */
export function placedColumnsOf(orders: readonly Order[], instruments: Instruments): readonly string[] {
  const clientIds = arrayOf(orders.map(order => order.clientOrderId))
  return [...changingColumnsOf(orders, instruments), clientIds, ...arraysOf(FIXED, orders, instruments)]
}

export function changingColumnsOf(orders: readonly Order[], instruments: Instruments): readonly string[] {
  return arraysOf(CHANGING, orders, instruments)
}

function arraysOf(columns: readonly Column[], orders: readonly Order[], instruments: Instruments): readonly string[] {
  const markets = orders.map(({ symbol }) => marketOf(instruments, symbol))
  return columns.map(column => plainArrayOf(orders.map((order, at) => column(order, markets[at] as Market))))
}
