/** The wallet protocol's schemas (docs/wallet-protocol.md); what their annotations mean stands in ../contract.ts. */
import { type Static, type TSchema, Type } from 'typebox'
import { ASSET, CLOSED, Cursor, Instant, Limit, NextCursor, orNull, ProblemSchema, Uuid } from '../contract.ts'

const REASONS = ['TRADE_SETTLEMENT', 'FEE_COLLECTION', 'SETTLEMENT_ROLLBACK', 'DEPOSIT', 'WITHDRAWAL'] as const

const KEY = { pattern: '^[\\x20-\\x7e]{1,128}$', title: '1 to 128 printable ASCII characters' }
const Key = Type.String({ ...KEY, 'x-missing-code': 'IDEMPOTENCY_KEY_MISSING' })
const Currency = Type.String({ pattern: `^${ASSET}$`, title: 'an asset code', examples: ['USDT'] })
const Amount = Type.String({
  pattern: '^[0-9]+(?:\\.[0-9]+)?$',
  title: 'a decimal number above zero as a text',
  'x-code': 'INVALID_AMOUNT',
  examples: ['50025'],
})

export const KeyHeader = Type.Object({ 'idempotency-key': Key })
export const KeyParams = Type.Object({ key: Type.String(KEY) }, CLOSED)

// What moves

const HoldKey = Type.Optional(
  Type.String({
    ...KEY,
    description: 'Of a debit: the hold it draws on first; the rest is taken of what is available.',
  }),
)
const MOVEMENT = { user_id: Uuid, currency: Currency, amount: Amount, reason: Type.Enum([...REASONS]) }

export const OperationBody = Type.Object({ ...MOVEMENT, trade_id: Type.Optional(Uuid), hold: HoldKey }, CLOSED)
export type OperationBody = Static<typeof OperationBody>

const REVERSAL = { key: Type.String(KEY), reason: Type.Optional(Type.Enum(['SETTLEMENT_ROLLBACK'])) }
export const ReversalBody = Type.Object(REVERSAL, CLOSED)

/** An operation of a batch names its kind and its key. */
export const OperationItem = Type.Object(
  { type: Type.Enum(['debit', 'credit']), key: Key, ...MOVEMENT, trade_id: Type.Optional(Uuid), hold: HoldKey },
  CLOSED,
)
export const ReversalItem = Type.Object({ type: Type.Enum(['reversal']), ...REVERSAL }, CLOSED)

const Leg = Type.Object({ type: Type.Enum(['debit', 'credit']), ...MOVEMENT, hold: HoldKey }, CLOSED)
export const SettlementItem = Type.Object(
  { key: Key, trade_id: Uuid, legs: Type.Array(Leg, { maxItems: 100 }) },
  CLOSED,
)
export type SettlementItem = Static<typeof SettlementItem>

export const HoldBody = Type.Object({ user_id: Uuid, currency: Currency, amount: Amount }, CLOSED)
export type HoldBody = Static<typeof HoldBody>

/** Without an amount all that remains is released, be it nothing. */
export const ReleaseBody = Type.Object(
  { key: Type.String({ ...KEY, description: 'Of the hold.' }), amount: Type.Optional(Amount) },
  CLOSED,
)
export type ReleaseBody = Static<typeof ReleaseBody>

/** Each item stands alone, so that a malformed one costs only itself: here it may be anything. */
export const BatchBody = Type.Object({ operations: Type.Array(Type.Unknown()) }, CLOSED)
export const SettlementsBody = Type.Object({ settlements: Type.Array(Type.Unknown()) }, CLOSED)

/** The same bodies as they are described. */
export const BatchBodyDescribed: TSchema = Type.Object(
  { operations: Type.Array(Type.Union([OperationItem, ReversalItem])) },
  CLOSED,
)
export const SettlementsBodyDescribed: TSchema = Type.Object({ settlements: Type.Array(SettlementItem) }, CLOSED)

// Answers

export const OperationView = Type.Object({
  key: Type.String(),
  type: Type.Enum(['debit', 'credit']),
  user_id: Type.String(),
  currency: Type.String(),
  amount: Type.String(),
  status: Type.Enum(['applied']),
  balance_after: Type.String({ description: 'Of the total.' }),
  applied_at: Type.String({ format: 'date-time' }),
  replayed: Type.Boolean(),
})
export type OperationView = Static<typeof OperationView>

/** The hold as the call left it. */
export const HoldView = Type.Object({
  key: Type.String({ description: 'Of the hold.' }),
  user_id: Type.String(),
  currency: Type.String(),
  amount: Type.String({ description: 'What was set aside at first.' }),
  remaining: Type.String({ description: 'What is still set aside: neither drawn nor released.' }),
  status: Type.Enum(['open', 'closed'], { description: 'Closed: nothing remains.' }),
  replayed: Type.Boolean(),
})
export type HoldView = Static<typeof HoldView>

export const ReversalView = Type.Object({
  key: Type.String(),
  status: Type.Enum(['reversed', 'cancelled']),
  replayed: Type.Boolean(),
})
export type ReversalView = Static<typeof ReversalView>

/** `key` is null where the item named none that could be read. */
const RefusedItem = Type.Object({
  key: orNull(Type.String()),
  status: Type.Enum(['refused']),
  problem: ProblemSchema,
})
export type RefusedItem = Static<typeof RefusedItem>

export type BatchResult = OperationView | ReversalView | RefusedItem

/** Written as they are: what each may be stands in the description only. */
export const BatchResults = Type.Object({
  results: Type.Array(Type.Unsafe<BatchResult>({ additionalProperties: true, type: 'object' })),
})

const SettlementResult = Type.Object({
  key: orNull(Type.String()),
  status: Type.Enum(['settled', 'refused']),
  replayed: Type.Boolean(),
  problem: Type.Optional(ProblemSchema),
})
export type SettlementResult = Static<typeof SettlementResult>
export const SettlementResults = Type.Object({ results: Type.Array(SettlementResult) })

/** The first answer with what the key, or the hold it placed, stands at now; fields of what the key never was are left out. */
export const KeyView = Type.Object({
  key: Type.String(),
  type: Type.Enum(['debit', 'credit', 'settlement', 'reversal', 'hold', 'release']),
  trade_id: orNull(Type.String()),
  user_id: Type.Optional(Type.String()),
  currency: Type.Optional(Type.String()),
  amount: Type.Optional(Type.String()),
  reason: Type.Optional(Type.Enum([...REASONS])),
  hold: Type.Optional(Type.String({ description: 'That a debit or a release names.' })),
  remaining: Type.Optional(Type.String({ description: 'Of a hold: now; of a release: what it left.' })),
  status: Type.Enum(['applied', 'refused', 'reversed', 'cancelled']),
  balance_after: Type.Optional(Type.String()),
  applied_at: Type.Optional(Type.String({ format: 'date-time' })),
  replayed: Type.Boolean(),
  problem: Type.Optional(ProblemSchema),
})
export type KeyView = Static<typeof KeyView>

// Reading back

export const BalanceParams = Type.Object({ user_id: Uuid, currency: Currency }, CLOSED)
export const BalanceView = Type.Object({
  user_id: Type.String(),
  currency: Type.String(),
  available: Type.String(),
  held: Type.String(),
  total: Type.String(),
})
export type BalanceView = Static<typeof BalanceView>

export const EntriesQuery = Type.Object(
  {
    trade_id: Type.Optional(Uuid),
    user_id: Type.Optional(Uuid),
    currency: Type.Optional(Currency),
    limit: Limit,
    cursor: Cursor,
  },
  CLOSED,
)
export type EntriesQuery = Static<typeof EntriesQuery>

export const EntryView = Type.Object({
  id: Type.String(),
  key: Type.String(),
  leg: orNull(Type.Integer()),
  trade_id: orNull(Type.String()),
  user_id: Type.String(),
  currency: Type.String(),
  amount: Type.String({ description: 'Below zero for a debit.' }),
  balance_after: Type.String({ description: 'Of the total.' }),
  reason: Type.Enum([...REASONS]),
  at: Type.String({ format: 'date-time' }),
})
export type EntryView = Static<typeof EntryView>
export const EntriesPage = Type.Object({ entries: Type.Array(EntryView), next_cursor: NextCursor })

export const EXPORT_FORMATS = ['csv', 'ndjson'] as const

/** Without a trade or an account: all entries. */
export const EntriesExportQuery = Type.Object(
  {
    format: Type.Optional(Type.Enum([...EXPORT_FORMATS], { description: 'csv if it is not given.' })),
    trade_id: Type.Optional(Uuid),
    user_id: Type.Optional(Uuid),
    currency: Type.Optional(Currency),
    from: Type.Optional({ ...Instant, description: 'Entries of this time and later.' }),
    until: Type.Optional({ ...Instant, description: 'Entries before this time.' }),
  },
  CLOSED,
)
export type EntriesExportQuery = Static<typeof EntriesExportQuery>

export const TotalsAnswer = Type.Object({
  totals: Type.Array(
    Type.Object({
      currency: Type.String(),
      balances: Type.String(),
      clearing: Type.String(),
      deposits: Type.String(),
      withdrawals: Type.String(),
    }),
  ),
})

export const CapabilitiesAnswer = Type.Object({
  protocol: Type.Integer(),
  levels: Type.Array(Type.Enum(['basic', 'reversals', 'batch', 'settlements'])),
  holds: Type.Boolean(),
  batch: Type.Object({ max: Type.Integer() }),
  settlements: Type.Object({ max: Type.Integer() }),
  currencies: Type.Array(Type.Object({ code: Type.String(), scale: Type.Integer() })),
})
