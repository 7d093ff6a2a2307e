/**
 * The API's contract: the schemas requests are checked against, answers are written by, and `/openapi.json` is made of;
 * the types are theirs. `title` completes "must be …" where a text does not fit; `x-code` is the code of a fault where
 * it is not INVALID_REQUEST, `x-missing-code` that of the field's absence.
 */
import { type Static, Type } from 'typebox'

const HEX = '[0-9a-fA-F]'
const UUID = `${HEX}{8}-${HEX}{4}-${HEX}{4}-${HEX}{4}-${HEX}{12}`
/** The form of an asset's code. */
export const ASSET = '[A-Z0-9]{1,20}'
const STATUS = '(?:PENDING|SETTLED|SETTLEMENT_FAILED)'

/** Exactly these fields. */
export const CLOSED = { additionalProperties: false } as const

export const Uuid = Type.String({
  pattern: `^${UUID}$`,
  title: 'a UUID',
  examples: ['0192f3a4-0000-7000-8000-000000000001'],
})
/** Long texts are for `parseDecimal` to refuse, as numbers of too many digits. */
export const Decimal = Type.String({
  pattern: '^-?[0-9]+(?:\\.[0-9]+)?$',
  title: 'a decimal number as a text',
  examples: ['28165.47'],
})
export const Instant = Type.String({ format: 'date-time', maxLength: 64, title: 'an RFC 3339 time' })

export const Limit = Type.Optional(
  Type.String({
    pattern: '^0*[1-9][0-9]*$',
    title: 'a whole number of at least 1',
    description: 'Items on a page: 50 if not given, at most 1000.',
  }),
)
export const Cursor = Type.Optional(
  Type.String({
    pattern: '^[A-Za-z0-9_-]{1,500}$',
    title: 'a cursor that an answer gave',
    description: '`next_cursor` of the page before.',
  }),
)
export const NextCursor = orNull(Type.String())

/** Several values, separated by commas. */
export function listOf(pattern: string, title: string) {
  return Type.Optional(Type.String({ pattern: `^${pattern}(?:,${pattern})*$`, maxLength: 4000, title }))
}

export const UserIds = listOf(UUID, 'UUIDs, separated by commas')
export const Symbols = listOf(`${ASSET}[/-]${ASSET}`, 'symbols BASE/QUOTE or BASE-QUOTE, separated by commas')

/** A field that is always there and may be null. */
export function orNull<T extends { readonly type: string }>(schema: T) {
  return Type.Unsafe<Static<T> | null>({ ...schema, type: [schema.type, 'null'] })
}

// Problems

const FaultSchema = Type.Object({
  pointer: Type.String({
    description: 'JSON pointer (RFC 6901) into the body; into the parameters where they are at fault.',
  }),
  code: Type.Optional(Type.String()),
  detail: Type.String(),
})
export type Fault = Static<typeof FaultSchema>

export const ProblemSchema = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String(),
    errors: Type.Optional(Type.Array(FaultSchema)),
  },
  { additionalProperties: true },
)
export type Problem = Static<typeof ProblemSchema>

const PROBLEM_ANSWER = {
  description: 'A problem (RFC 9457); `code` is stable.',
  content: { 'application/problem+json': { schema: ProblemSchema } },
}
/** The answers every route may give besides its own. */
export const PROBLEM_ANSWERS = { '4xx': PROBLEM_ANSWER, '5xx': PROBLEM_ANSWER }

// Health

export const Health = Type.Object({ status: Type.Enum(['live', 'ready']) })

// Trades

export const MAX_TRADES = 1000

export const NewTradeBody = Type.Object(
  {
    id: Uuid,
    symbol: Type.String({ minLength: 1, maxLength: 100, examples: ['BTC/USDT'] }),
    buyer_user_id: Uuid,
    seller_user_id: Uuid,
    price: Decimal,
    quantity: Decimal,
    buyer_fee: Type.Optional(Decimal),
    seller_fee: Type.Optional(Decimal),
    is_buyer_maker: Type.Optional(Type.Boolean()),
    executed_at: Type.Optional(Instant),
    buyer_order_id: Type.Optional(Uuid),
    seller_order_id: Type.Optional(Uuid),
  },
  CLOSED,
)
export type NewTradeBody = Static<typeof NewTradeBody>

/** At most `MAX_TRADES`, which is looked at before each of them is. */
export const NewTradesBody = Type.Object({ trades: Type.Array(NewTradeBody) }, CLOSED)

export const TradesTaken = Type.Object({
  accepted: Type.Integer({ description: 'Trades that are now durable.' }),
  duplicates: Type.Integer({ description: 'Trades that were known before, with the same content.' }),
})

export const TradesQuery = Type.Object(
  {
    settlement_status: listOf(STATUS, 'PENDING, SETTLED or SETTLEMENT_FAILED, several separated by commas'),
    symbol: Symbols,
    user_id: UserIds,
    limit: Limit,
    cursor: Cursor,
  },
  CLOSED,
)

const TRADE_FIELDS = {
  id: Type.String(),
  symbol: Type.String(),
  price: Type.String(),
  quantity: Type.String(),
  notional: Type.String({ description: 'price × quantity as it is settled.' }),
  maker_order_id: orNull(Type.String()),
  taker_order_id: orNull(Type.String()),
  buyer_order_id: orNull(Type.String()),
  seller_order_id: orNull(Type.String()),
  buyer_user_id: Type.String(),
  seller_user_id: Type.String(),
  buyer_fee: Type.String(),
  seller_fee: Type.String(),
  buyer_fee_rate: orNull(Type.String({ description: 'Null: of a trade of another matching engine, like the next.' })),
  seller_fee_rate: orNull(Type.String()),
  is_buyer_maker: orNull(Type.Boolean()),
  settlement_status: Type.Enum(['PENDING', 'SETTLED', 'SETTLEMENT_FAILED']),
  settled_at: orNull(Type.String({ format: 'date-time' })),
  settlement_retry_count: Type.Integer(),
  failure_reason: orNull(Type.String()),
  executed_at: Type.String({ format: 'date-time' }),
}

export const TradeView = Type.Object(TRADE_FIELDS)
export type TradeView = Static<typeof TradeView>

export const LegView = Type.Object({
  leg: Type.Enum(['buyer-debit', 'buyer-credit', 'seller-debit', 'seller-credit', 'fee']),
  user_id: Type.String(),
  currency: Type.String(),
  type: Type.Enum(['debit', 'credit']),
  amount: Type.String(),
  state: Type.Enum(['waiting', 'applied', 'refused', 'unanswered', 'reversed']),
  key: Type.String({ description: "The wallet call's; on the atomic rail all legs share one." }),
  attempts: Type.Integer(),
  last_error: orNull(Type.String()),
})
export type LegView = Static<typeof LegView>

export const TradeDetail = Type.Object({
  ...TRADE_FIELDS,
  legs: Type.Array(LegView),
  rollback: Type.Enum(['not_needed', 'running', 'complete', 'incomplete']),
  epoch: Type.Integer({ description: 'How many times the settlement was begun anew after a complete rollback.' }),
  rail: Type.Enum(['atomic', 'saga']),
})
export type TradeDetail = Static<typeof TradeDetail>

export const TradeAnswer = Type.Object({ trade: TradeDetail })
export const TradesPage = Type.Object({ trades: Type.Array(TradeView), next_cursor: NextCursor })
