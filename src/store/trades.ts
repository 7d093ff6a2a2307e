import type { Instruments } from '../core/instruments.ts'
import type { Trade } from '../core/trade.ts'
import { type Connection, codeOf, type Database, transaction, writeAll } from '../db.ts'
import { type Statement, UNIQUE_VIOLATION } from '../statements.ts'
import { addCounts } from './counts.ts'
import { type InstrumentStore, readRows } from './instruments.ts'
import { columnsOf, hasSameContent, storedTradeOf, type TradeRow, termColumnsOf } from './rows.ts'
import type { Intake, IntakeResult, NewTrade, SettlementStatus, StoredTrade, TradeQuery } from './store.ts'

export const TRADE_COLUMNS = `
  t.id, t.symbol, t.buyer_user_id, t.seller_user_id, t.fee_user_id, t.price, t.quantity, t.notional,
  t.buyer_fee, t.seller_fee, t.is_buyer_maker, t.buyer_order_id, t.seller_order_id, t.executed_at, t.recorded_at,
  t.settlement_status, t.settled_at, t.settlement_retry_count, t.failure_reason, t.rail, t.leg_order, t.settlement,
  t.buyer_hold, t.seller_hold, t.buyer_fee_rate, t.seller_fee_rate`

/** Trades of a matching engine elsewhere have no terms, and do not pay for their columns. */
const TERMS = {
  columns: ', buyer_hold, seller_hold, buyer_fee_rate, seller_fee_rate',
  arrays: ', $20::uuid[], $21::uuid[], $22::numeric[], $23::numeric[]',
} as const
const NO_TERMS = { columns: '', arrays: '' } as const

const insertOf = ({ columns, arrays }: typeof TERMS | typeof NO_TERMS): string => `
    insert into trades (
      id, symbol, buyer_user_id, seller_user_id, fee_user_id, price, quantity, notional, buyer_fee, seller_fee,
      is_buyer_maker, buyer_order_id, seller_order_id, executed_at${columns}, recorded_at, rail, leg_order
    )
    select d.*, $1::timestamptz, $2, $3
    from unnest(
      $6::uuid[], $7::text[], $8::uuid[], $9::uuid[], $10::uuid[], $11::numeric[], $12::numeric[], $13::numeric[],
      $14::numeric[], $15::numeric[], $16::boolean[], $17::uuid[], $18::uuid[], $19::timestamptz[]${arrays}
    ) as d`

const queueOf = (ids: string): string => `
    insert into open_settlements (trade_id, due_at, lease_owner, lease_token)
    select id, $4::timestamptz, $5::uuid, case when $5::uuid is null then 0 else 1 end
    from ${ids}`

/** Those that are not known; answers their ids. */
const insertUnknown = (terms: typeof TERMS | typeof NO_TERMS): string => `
  with inserted as (${insertOf(terms)}
    on conflict (id) do nothing
    returning id
  ), queued as (${queueOf('inserted')}
  ), counted as (
    ${addCounts('recorded', 'select count(*) from inserted')}
  )
  select id
  from inserted`

/** Fails where one is known, and need not look for it first. */
const insertAll = (terms: typeof TERMS | typeof NO_TERMS): string => `
  with inserted as (${insertOf(terms)}
  ), queued as (${queueOf('unnest($6::uuid[]) as d (id)')}
  )
  ${addCounts('recorded', 'select cardinality($6::uuid[])')}`

const INSERT_TRADES = insertUnknown(NO_TERMS)
const INSERT_DESK_TRADES = insertUnknown(TERMS)
const INSERT_NEW_TRADES = insertAll(NO_TERMS)
const INSERT_NEW_DESK_TRADES = insertAll(TERMS)

/** Thrown inside the transaction so that nothing of the call stays. */
class Reused extends Error {
  readonly ids: readonly string[]
  constructor(ids: readonly string[]) {
    super('trade ids reused with other content')
    this.ids = ids
  }
}

export async function recordTrades(
  database: Database,
  instruments: InstrumentStore,
  intake: Intake,
  nowMs: number,
): Promise<IntakeResult> {
  const { distinct, repeated, reusedIds } = distinctTrades(intake.trades)
  if (reusedIds.length > 0) return { acceptedIds: new Set(), duplicates: [], reusedIds }
  const trades = distinct.map(({ trade }) => trade)
  try {
    // Nearly always nobody knows any of them.
    await writeAll(database, insertNewTrades(instruments, trades, intake, nowMs))
    const acceptedIds = new Set(trades.map(({ id }) => id))
    return { acceptedIds, duplicates: repeated.map(id => ({ id, status: 'PENDING' })), reusedIds: [] }
  } catch (error) {
    if (codeOf(error) !== UNIQUE_VIOLATION) throw error
  }
  try {
    return await transaction(database, async connection => {
      const acceptedIds = await insertTrades(connection, instruments, trades, intake, nowMs)
      const known = distinct.filter(({ trade }) => !acceptedIds.has(trade.id))
      const statuses = await compareKnown(connection, instruments, known)
      const duplicates = known.map(({ trade }) => ({ id: trade.id, status: statuses.get(trade.id) ?? 'PENDING' }))
      const again = repeated.map(id => ({ id, status: statuses.get(id) ?? ('PENDING' as const) }))
      return { acceptedIds, duplicates: [...duplicates, ...again], reusedIds: [] }
    })
  } catch (error) {
    if (error instanceof Reused) return { acceptedIds: new Set(), duplicates: [], reusedIds: error.ids }
    throw error
  }
}

/** The first of each id; `repeated`: ids that came again with the same content. Insertion goes in order of ids. */
function distinctTrades(trades: readonly NewTrade[]): {
  readonly distinct: readonly NewTrade[]
  readonly repeated: readonly string[]
  readonly reusedIds: readonly string[]
} {
  const byId = new Map<string, NewTrade>()
  const repeated: string[] = []
  const reused = new Set<string>()
  for (const entry of trades) {
    const first = byId.get(entry.trade.id)
    if (first === undefined) byId.set(entry.trade.id, entry)
    else if (hasSameContent(first.trade, entry.trade, first.isTimeGiven && entry.isTimeGiven))
      repeated.push(entry.trade.id)
    else reused.add(entry.trade.id)
  }
  // Two calls that bring the same trades in another order would otherwise wait for each other's rows.
  const distinct = [...byId.values()].sort((a, b) => (a.trade.id < b.trade.id ? -1 : 1))
  return { distinct, repeated, reusedIds: [...reused] }
}

/** Fails with a unique violation where one of them is known. */
export function insertNewTrades(
  instruments: Instruments,
  trades: readonly Trade[],
  recording: Recording,
  nowMs: number,
): readonly Statement[] {
  if (trades.length === 0) return []
  const hasTerms = haveTerms(trades)
  return [
    {
      name: hasTerms ? 'insert-new-desk-trades' : 'insert-new-trades',
      text: hasTerms ? INSERT_NEW_DESK_TRADES : INSERT_NEW_TRADES,
      values: insertValues(instruments, trades, recording, nowMs),
    },
  ]
}

/** Answers the ids that were not known. */
async function insertTrades(
  connection: Connection,
  instruments: Instruments,
  trades: readonly Trade[],
  recording: Recording,
  nowMs: number,
): Promise<ReadonlySet<string>> {
  const hasTerms = haveTerms(trades)
  const { rows } = await connection.query<{ id: string }>({
    name: hasTerms ? 'insert-desk-trades' : 'insert-trades',
    text: hasTerms ? INSERT_DESK_TRADES : INSERT_TRADES,
    values: [...insertValues(instruments, trades, recording, nowMs)],
  })
  return new Set(rows.map(row => row.id))
}

type Recording = Pick<Intake, 'rail' | 'legOrder' | 'lease'>

function haveTerms(trades: readonly Trade[]): boolean {
  return trades.some(({ terms }) => terms !== null)
}

function insertValues(
  instruments: Instruments,
  trades: readonly Trade[],
  { rail, legOrder, lease }: Recording,
  nowMs: number,
): Statement['values'] {
  const now = new Date(nowMs)
  const dueAt = lease === null ? now : new Date(lease.untilMs)
  const columns = columnsOf(trades, instruments)
  const terms = haveTerms(trades) ? termColumnsOf(trades) : []
  return [now, rail, legOrder, dueAt, lease?.owner ?? null, ...columns, ...terms]
}

async function compareKnown(
  connection: Connection,
  instruments: InstrumentStore,
  given: readonly NewTrade[],
): Promise<ReadonlyMap<string, SettlementStatus>> {
  const statuses = new Map<string, SettlementStatus>()
  if (given.length === 0) return statuses
  const { rows } = await connection.query<TradeRow>({
    name: 'known-trades',
    text: `select ${TRADE_COLUMNS} from trades t where t.id = any($1::uuid[])`,
    values: [given.map(({ trade }) => trade.id)],
  })
  const stored = await readRows(instruments, rows, storedTradeOf)
  const known = new Map(stored.map(each => [each.trade.id, each]))
  const reused: string[] = []
  for (const { trade, isTimeGiven } of given) {
    const before = known.get(trade.id)
    if (before === undefined || !hasSameContent(before.trade, trade, isTimeGiven)) reused.push(trade.id)
    else statuses.set(trade.id, before.status)
  }
  if (reused.length > 0) throw new Reused(reused)
  return statuses
}

export async function selectTrade(
  database: Database,
  instruments: InstrumentStore,
  id: string,
): Promise<StoredTrade | null> {
  const { rows } = await database.query<TradeRow>({
    name: 'select-trade',
    text: `select ${TRADE_COLUMNS} from trades t where t.id = $1`,
    values: [id],
  })
  const [trade] = await readRows(instruments, rows, storedTradeOf)
  return trade ?? null
}

export async function selectStatuses(
  database: Database,
  ids: readonly string[],
): Promise<ReadonlyMap<string, SettlementStatus>> {
  const { rows } = await database.query<{ id: string; settlement_status: SettlementStatus }>({
    name: 'select-statuses',
    text: 'select id, settlement_status from trades where id = any($1::uuid[])',
    values: [ids],
  })
  return new Map(rows.map(row => [row.id, row.settlement_status]))
}

/** Newest first; the filters that are there are joined by and, so that each finds its own index. */
export async function selectTrades(
  database: Database,
  instruments: InstrumentStore,
  { statuses, symbols, userIds, before, limit }: TradeQuery,
): Promise<readonly StoredTrade[]> {
  const values: unknown[] = []
  const bind = (value: unknown): string => `$${values.push(value)}`
  const conditions: string[] = []
  if (statuses.length > 0) conditions.push(`t.settlement_status = any(${bind(statuses)})`)
  if (symbols.length > 0) conditions.push(`t.symbol = any(${bind(symbols)})`)
  if (userIds.length > 0) {
    const users = bind(userIds)
    conditions.push(`(t.buyer_user_id = any(${users}::uuid[]) or t.seller_user_id = any(${users}::uuid[]))`)
  }
  if (before !== null) {
    conditions.push(`(t.recorded_at, t.id) < (${bind(new Date(before.recordedAtMs))}, ${bind(before.id)}::uuid)`)
  }
  // Whatever is not settled is open, and the open ones are few.
  const isOpenOnly = statuses.length > 0 && !statuses.includes('SETTLED')
  const { rows } = await database.query<TradeRow>({
    text: `
      select ${TRADE_COLUMNS}
      from trades t
      ${isOpenOnly ? 'join open_settlements o on o.trade_id = t.id' : ''}
      ${conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`}
      order by t.recorded_at desc, t.id desc
      limit ${bind(limit)}`,
    values,
  })
  return await readRows(instruments, rows, storedTradeOf)
}
