/** The contract of orders and markets (../contract.ts says how schemas are read). */
import { type Static, type TSchema, Type } from 'typebox'
import {
  CLOSED,
  Cursor,
  Decimal,
  Limit,
  listOf,
  NextCursor,
  orNull,
  ProblemSchema,
  Symbols,
  TradeView,
  UserIds,
  Uuid,
} from '../contract.ts'

export const MAX_ORDERS = 500
export const MAX_DEPTH = 1000

const STATUSES = ['open', 'partially_filled', 'filled', 'cancelled', 'expired'] as const
const INSTANT = Type.String({ format: 'date-time' })

/** The form of a client order id, also where it stands in a path. */
export const CLIENT_ORDER_ID = /^[\x20-\x7e]{1,64}$/

export const NewOrderBody = Type.Object(
  {
    user_id: Type.Optional({ ...Uuid, description: 'Whose order it is; a trader may leave it out.' }),
    client_order_id: Type.Optional(
      Type.String({
        pattern: CLIENT_ORDER_ID.source,
        title: '1 to 64 printable ASCII characters',
        description: 'The same order again under the same id is answered as the first time, and placed once.',
      }),
    ),
    symbol: Type.String({ minLength: 1, maxLength: 100, examples: ['BTC/USDT'] }),
    side: Type.Enum(['buy', 'sell']),
    type: Type.Enum(['limit', 'market']),
    price: Type.Optional(Decimal),
    quantity: Type.Optional(Decimal),
    quote_quantity: Type.Optional({
      ...Decimal,
      description: 'The budget of a purchase at the market, fees included.',
    }),
    time_in_force: Type.Optional(Type.Enum(['GTC', 'IOC', 'FOK'])),
    post_only: Type.Optional(Type.Boolean()),
    self_trade_prevention: Type.Optional(Type.Enum(['none', 'expire_taker', 'expire_maker', 'expire_both'])),
  },
  CLOSED,
)
export type NewOrderBody = Static<typeof NewOrderBody>

/** At most `MAX_ORDERS`, which is looked at before each of them is. */
export const NewOrdersBody = Type.Object({ orders: Type.Array(NewOrderBody) }, CLOSED)
export const ReduceBody = Type.Object(
  { quantity: { ...Decimal, description: 'The new total; what is filled, or less, cancels.' } },
  CLOSED,
)

export const OrderParams = Type.Object({ id: Type.String() }, CLOSED)
export const ClientOrderParams = Type.Object({ user_id: Type.String(), client_order_id: Type.String() }, CLOSED)
export const MarketParams = Type.Object(
  { market: Type.String({ description: 'BASE-QUOTE', examples: ['BTC-USDT'] }) },
  CLOSED,
)

export const OrdersQuery = Type.Object(
  {
    user_id: UserIds,
    symbol: Symbols,
    status: listOf(`(?:${STATUSES.join('|')})`, `${STATUSES.join(', ')}, several separated by commas`),
    limit: Limit,
    cursor: Cursor,
  },
  CLOSED,
)
export const CancelQuery = Type.Object({ user_id: Type.Optional(Uuid), symbol: Symbols }, CLOSED)
export const DepthQuery = Type.Object(
  {
    depth: Type.Optional(
      Type.String({
        pattern: '^0*[1-9][0-9]*$',
        title: 'a whole number of at least 1',
        description: `Levels of each side: 50 if not given, at most ${MAX_DEPTH}.`,
      }),
    ),
  },
  CLOSED,
)
/** A list without filters. */
export const PageQuery = Type.Object({ limit: Limit, cursor: Cursor }, CLOSED)

export const StreamQuery = Type.Object({ user_id: Type.Optional(Uuid) }, CLOSED)
export const StreamHeaders = Type.Object({
  'last-event-id': Type.Optional(Type.String({ description: 'The `id` of the last event that was seen.' })),
})
/** Written as it is: the schema stands in the description alone. */
export const EVENT_STREAM: TSchema = {
  description: 'Server-sent events, until either side ends it.',
  content: { 'text/event-stream': { schema: Type.String() } },
} as unknown as TSchema

export const OrderView = Type.Object({
  id: Type.String(),
  user_id: Type.String(),
  client_order_id: orNull(Type.String()),
  symbol: Type.String(),
  side: Type.Enum(['buy', 'sell']),
  type: Type.Enum(['limit', 'market']),
  price: orNull(Type.String()),
  quantity: orNull(Type.String({ description: 'As it was last reduced to; null of a purchase by budget.' })),
  quote_quantity: orNull(Type.String({ description: 'The budget of a purchase at the market.' })),
  filled_quantity: Type.String(),
  filled_quote_quantity: Type.String(),
  remaining_quantity: orNull(Type.String()),
  fee: Type.String({ description: 'Of all its trades so far, in the quote asset; below zero for a rebate.' }),
  time_in_force: Type.Enum(['GTC', 'IOC', 'FOK']),
  post_only: Type.Boolean(),
  self_trade_prevention: Type.Enum(['none', 'expire_taker', 'expire_maker', 'expire_both']),
  status: Type.Enum([...STATUSES]),
  created_at: INSTANT,
  updated_at: INSTANT,
})
export type OrderView = Static<typeof OrderView>

export const OrderAnswer = Type.Object({ order: OrderView })
export const PlacedAnswer = Type.Object({ order: OrderView, trades: Type.Array(TradeView) })

/** Of one order of a batch: either what came of it, or why it was not taken. */
const BatchResult = Type.Object({
  order: Type.Optional(OrderView),
  trades: Type.Optional(Type.Array(TradeView)),
  problem: Type.Optional(ProblemSchema),
})
export type BatchResult = Static<typeof BatchResult>
export const BatchResults = Type.Object({ results: Type.Array(BatchResult) })

export const OrdersPage = Type.Object({ orders: Type.Array(OrderView), next_cursor: NextCursor })
export const CancelledOrders = Type.Object({
  orders: Type.Array(OrderView, { description: 'Those that this call has cancelled.' }),
})

export const MarketView = Type.Object({
  symbol: Type.String(),
  base: Type.String(),
  quote: Type.String(),
  base_scale: Type.Integer({ description: 'Places of the smallest unit.' }),
  quote_scale: Type.Integer(),
  tick_size: Type.String(),
  lot_size: Type.String(),
  min_notional: Type.String(),
  maker_fee: Type.String({ description: 'Share of the notional; below zero for a rebate.' }),
  taker_fee: Type.String(),
  status: Type.Enum(['trading', 'halted']),
})
export type MarketView = Static<typeof MarketView>

export const MarketAnswer = Type.Object({ market: MarketView })
export type MarketAnswer = Static<typeof MarketAnswer>
export const MarketsPage = Type.Object({ markets: Type.Array(MarketView), next_cursor: NextCursor })

const Level = Type.Unsafe<readonly [price: string, quantity: string, orders: number]>({
  type: 'array',
  prefixItems: [{ type: 'string' }, { type: 'string' }, { type: 'integer' }],
  minItems: 3,
  maxItems: 3,
  description: 'Price, quantity, number of orders.',
})

export const BookView = Type.Object({
  symbol: Type.String(),
  sequence: Type.Integer({ description: "Counts the market's events." }),
  bids: Type.Array(Level, { description: 'Best first, like the asks.' }),
  asks: Type.Array(Level),
})
export type BookView = Static<typeof BookView>

export const MarketTradeView = Type.Object({
  id: Type.String(),
  symbol: Type.String(),
  price: Type.String(),
  quantity: Type.String(),
  is_buyer_maker: orNull(Type.Boolean()),
  executed_at: INSTANT,
})
export type MarketTradeView = Static<typeof MarketTradeView>
export const MarketTradesPage = Type.Object({ trades: Type.Array(MarketTradeView), next_cursor: NextCursor })
