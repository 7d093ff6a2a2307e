/** The contract of what operators see and change (contract.ts says how schemas are read). */
import { type Static, Type } from 'typebox'
import { CLOSED, Cursor, LegView, Limit, listOf, NextCursor, orNull } from '../contract.ts'

const KIND = '(?:settlement|fee)'
const LETTER_STATUS = '(?:open|retrying|resolved)'
const ROLLBACK = '(?:not_needed|complete|incomplete)'
const RESULT = '(?:retrying|settled|collected|failed)'
/** What PostgreSQL can't keep in a text: NUL, and halves of a character. */
const NO_TEXT = '\\u0000\\p{Cs}'
const TEXT = {
  pattern: `^[^${NO_TEXT}]{1,1000}$`,
  title: '1 to 1000 characters, without NUL',
} as const

/** Which letters; the same where they are listed and where they are retried. */
const FILTER = {
  kind: listOf(KIND, 'settlement or fee, or both separated by a comma'),
  code: listOf(`[^,${NO_TEXT}]{1,100}`, 'codes, separated by commas'),
  status: listOf(LETTER_STATUS, 'open, retrying or resolved, several separated by commas'),
  rollback: listOf(ROLLBACK, 'not_needed, complete or incomplete, several separated by commas'),
}

export const LettersQuery = Type.Object({ ...FILTER, limit: Limit, cursor: Cursor }, CLOSED)
export type FilterFields = Pick<Static<typeof LettersQuery>, keyof typeof FILTER>

export const TradeIdParams = Type.Object({ trade_id: Type.String() }, CLOSED)
export const IdParams = Type.Object({ id: Type.String() }, CLOSED)

export const ChangeHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      pattern: '^[\\x20-\\x7e]{1,128}$',
      title: '1 to 128 printable ASCII characters',
      description: 'The same change again under the same key is answered as the first time, and made once.',
    }),
  ),
})

export const Reason = Type.String({ ...TEXT, description: 'Why, for the audit log.' })

/** A change that needs no content: no body, or one with a reason. */
export const ReasonBody = Type.Unsafe<{ readonly reason?: string } | null>({
  ...Type.Object({ reason: Type.Optional(Reason) }, CLOSED),
  type: ['object', 'null'],
})

export const ResolveBody = Type.Object(
  {
    resolution: Type.Enum(['settled_elsewhere', 'cancelled', 'written_off']),
    note: Type.String({ ...TEXT, description: 'What was done about it, kept with the letter.' }),
    reason: Reason,
  },
  CLOSED,
)

export const BulkRetryBody = Type.Object(
  {
    ...FILTER,
    dry_run: Type.Optional(Type.Boolean({ description: 'Only say how many there are.' })),
    rate: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: 100_000,
        description: 'Settlements a second; not given: all at once.',
      }),
    ),
    reason: Type.Optional(Type.String({ ...TEXT, description: 'Why, for the audit log; only a dry run needs none.' })),
  },
  CLOSED,
)

const INSTANT = Type.String({ format: 'date-time' })

const RESOLUTIONS = ['retried', 'settled_elsewhere', 'cancelled', 'written_off'] as const

export const LetterView = Type.Object({
  trade_id: Type.String(),
  symbol: Type.String(),
  kind: Type.Enum(['settlement', 'fee']),
  code: Type.String(),
  last_error: Type.String(),
  attempts: Type.Integer(),
  rollback: Type.Enum(['not_needed', 'complete', 'incomplete']),
  epoch: Type.Integer({ description: 'How many times the settlement was begun anew.' }),
  legs: Type.Array(LegView),
  owed: Type.Array(
    Type.Object({
      leg: Type.String(),
      user_id: Type.String(),
      currency: Type.String(),
      amount: Type.String({ description: 'Below zero where a rebate is owed to the traders.' }),
    }),
    { description: 'What a letter of the fee still has to collect.' },
  ),
  first_failed_at: INSTANT,
  last_failed_at: INSTANT,
  status: Type.Enum(['open', 'retrying', 'resolved']),
  resolution: Type.Unsafe<(typeof RESOLUTIONS)[number] | null>({
    type: ['string', 'null'],
    enum: [...RESOLUTIONS, null],
  }),
  resolved_by: orNull(Type.String()),
  resolved_at: orNull(INSTANT),
  note: orNull(Type.String()),
})
export type LetterView = Static<typeof LetterView>

export const LetterAnswer = Type.Object({ dead_letter: LetterView })
export const LettersPage = Type.Object({ dead_letters: Type.Array(LetterView), next_cursor: NextCursor })

const BulkRetryView = Type.Object({
  id: orNull(Type.String({ description: 'Null of a dry run.' })),
  dry_run: Type.Boolean(),
  status: Type.Enum(['running', 'done']),
  count: Type.Integer({ description: 'Letters taken up; of a dry run those that would be.' }),
  retrying: Type.Integer({ description: 'Still under way.' }),
  settled: Type.Integer(),
  collected: Type.Integer({ description: 'Fees.' }),
  failed: Type.Integer({ description: 'Their letters are open again.' }),
})

export const BulkRetryAnswer = Type.Object({ bulk_retry: BulkRetryView })

export const ItemsQuery = Type.Object(
  {
    result: listOf(RESULT, 'retrying, settled, collected or failed, several separated by commas'),
    limit: Limit,
    cursor: Cursor,
  },
  CLOSED,
)

export const ItemsPage = Type.Object({
  items: Type.Array(
    Type.Object({
      trade_id: Type.String(),
      result: Type.Enum(['retrying', 'settled', 'collected', 'failed']),
      code: orNull(Type.String()),
      last_error: orNull(Type.String()),
      ended_at: orNull(INSTANT),
    }),
  ),
  next_cursor: NextCursor,
})

export const SwitchAnswer = Type.Object({ settlement: Type.Object({ paused: Type.Boolean() }) })

export const AuditQuery = Type.Object({ trade_id: Type.Optional(Type.String()), limit: Limit, cursor: Cursor }, CLOSED)

export const AuditPage = Type.Object({
  entries: Type.Array(
    Type.Object({
      id: Type.String(),
      at: INSTANT,
      actor: Type.String(),
      action: Type.Enum([
        ...(['retry', 'bulk-retry', 'resolve', 'pause', 'resume'] as const),
        ...(['market-halt', 'market-resume', 'key-create', 'key-revoke'] as const),
      ]),
      reason: orNull(Type.String()),
      detail: Type.Object({}, { additionalProperties: true }),
      trades: Type.Integer({ description: 'How many trades it was about.' }),
    }),
  ),
  next_cursor: NextCursor,
})

export const StatusView = Type.Object({
  queue: Type.Object({ depth: Type.Integer(), capacity: Type.Integer() }),
  workers: Type.Object({ busy: Type.Integer(), total: Type.Integer(), utilization: Type.Number() }),
  in_flight: Type.Integer(),
  pending: Type.Integer(),
  oldest_pending_seconds: orNull(Type.Number()),
  settled: Type.Integer(),
  failed: Type.Integer(),
  retries: Type.Integer(),
  dead_letters: Type.Integer({ description: 'Those that are open.' }),
  incomplete_rollbacks: Type.Integer({ description: 'Of letters that are not resolved.' }),
  owed_fees: Type.Array(Type.Object({ currency: Type.String(), amount: Type.String() })),
  paused: Type.Boolean(),
  wallet: Type.Object({
    url: orNull(Type.String({ description: 'Null: the built-in ledger.' })),
    level: Type.Enum(['basic', 'reversals', 'batch', 'settlements']),
    circuit: Type.Enum(['closed', 'open', 'half_open']),
  }),
  orders: Type.Object({
    has_books: Type.Boolean({ description: 'False: another process takes the orders.' }),
    refused_for_funds: Type.Integer({ description: 'Since the process was started.' }),
  }),
  per_second: Type.Object({ settled: Type.Number(), failed: Type.Number() }),
  latency_ms: Type.Object({ p50: orNull(Type.Number()), p99: orNull(Type.Number()) }),
})
export type StatusView = Static<typeof StatusView>
