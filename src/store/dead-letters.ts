/** All SQL about dead letters that is not part of recording settlements (settlements.ts). */
import type { Instruments } from '../core/instruments.ts'
import type { Connection, Database } from '../db.ts'
import { runStatements } from '../statements.ts'
import { addCounts } from './counts.ts'
import { insertReleases, releaseRests } from './hold-releases.ts'
import { type InstrumentStore, readRows } from './instruments.ts'
import type {
  DeadLetter,
  LetterFilter,
  LetterPosition,
  LetterQuery,
  LetterStatus,
  LockedLetter,
  Requeued,
  Resolved,
} from './operator-store.ts'
import { storedTradeOf, type TradeRow } from './rows.ts'
import type { Letter } from './store.ts'
import { TRADE_COLUMNS } from './trades.ts'

interface LetterRow extends TradeRow {
  readonly letter_kind: Letter['kind']
  readonly letter_code: string
  readonly letter_last_error: string
  readonly letter_attempts: number
  readonly letter_rollback: Letter['rollback']
  readonly letter_status: LetterStatus
  readonly first_failed_at: Date
  readonly last_failed_at: Date
  readonly resolution: DeadLetter['resolution']
  readonly resolved_by: string | null
  readonly resolved_at: Date | null
  readonly note: string | null
  readonly is_leased: boolean
}

const LETTER_COLUMNS = `
  ${TRADE_COLUMNS}, l.kind as letter_kind, l.code as letter_code, l.last_error as letter_last_error,
  l.attempts as letter_attempts, l.rollback as letter_rollback, l.status as letter_status, l.first_failed_at,
  l.last_failed_at, l.resolution, l.resolved_by, l.resolved_at, l.note`

function letterOf(row: LetterRow, instruments: Instruments): DeadLetter {
  return {
    stored: storedTradeOf(row, instruments),
    kind: row.letter_kind,
    code: row.letter_code,
    lastError: row.letter_last_error,
    attempts: row.letter_attempts,
    rollback: row.letter_rollback,
    status: row.letter_status,
    firstFailedAtMs: row.first_failed_at.getTime(),
    lastFailedAtMs: row.last_failed_at.getTime(),
    resolution: row.resolution,
    resolvedBy: row.resolved_by,
    resolvedAtMs: row.resolved_at?.getTime() ?? null,
    note: row.note,
  }
}

/** The conditions of a filter, as far as it has any; `values` takes what they bind. */
function conditionsOf({ kinds, codes, statuses, rollbacks }: LetterFilter, values: unknown[]): string[] {
  const columns = { kind: kinds, code: codes, status: statuses, rollback: rollbacks }
  const conditions = Object.entries(columns).flatMap(([column, wanted]) =>
    wanted.length === 0 ? [] : [`l.${column} = any($${values.push(wanted)})`],
  )
  // In words, so that the index of the few that are not resolved can be taken.
  if (statuses.length > 0 && !statuses.includes('resolved')) conditions.push(`l.status <> 'resolved'`)
  return conditions
}

function where(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`
}

export async function selectLetters(
  database: Database,
  instruments: InstrumentStore,
  { before, limit, ...filter }: LetterQuery,
): Promise<readonly DeadLetter[]> {
  const values: unknown[] = []
  const conditions = conditionsOf(filter, values)
  if (before !== null) {
    const time = values.push(new Date(before.firstFailedAtMs))
    conditions.push(`(l.first_failed_at, l.trade_id) < ($${time}, $${values.push(before.tradeId)}::uuid)`)
  }
  const { rows } = await database.query<LetterRow>({
    text: `
      select ${LETTER_COLUMNS}
      from dead_letters l
      join trades t on t.id = l.trade_id
      ${where(conditions)}
      order by l.first_failed_at desc, l.trade_id desc
      limit $${values.push(limit)}`,
    values,
  })
  return await readRows(instruments, rows, letterOf)
}

export async function selectLetter(
  database: Database,
  instruments: InstrumentStore,
  tradeId: string,
): Promise<DeadLetter | null> {
  const { rows } = await database.query<LetterRow>({
    name: 'select-letter',
    text: `
      select ${LETTER_COLUMNS}
      from dead_letters l
      join trades t on t.id = l.trade_id
      where l.trade_id = $1`,
    values: [tradeId],
  })
  const [letter] = await readRows(instruments, rows, letterOf)
  return letter ?? null
}

export async function countOpenLetters(connection: Database | Connection, filter: LetterFilter): Promise<number> {
  const values: unknown[] = []
  const conditions = conditionsOf(filter, values)
  const { rows } = await connection.query<{ readonly count: bigint }>(
    `
    select count(*)
    from dead_letters l
    ${where([...conditions, `l.status = 'open'`, `l.status <> 'resolved'`])}`,
    values,
  )
  return Number(rows[0]?.count ?? 0)
}

/** The row of the queue is locked first, as whoever records a settlement does. */
export async function lockLetter(
  connection: Connection,
  instruments: InstrumentStore,
  tradeId: string,
): Promise<LockedLetter | null> {
  await connection.query({
    name: 'lock-open-settlement',
    text: 'select from open_settlements where trade_id = $1 for update',
    values: [tradeId],
  })
  const { rows } = await connection.query<LetterRow>({
    name: 'lock-letter',
    text: `
      select ${LETTER_COLUMNS}, coalesce(o.lease_owner is not null, false) as is_leased
      from dead_letters l
      join trades t on t.id = l.trade_id
      left join open_settlements o on o.trade_id = l.trade_id
      where l.trade_id = $1
      for update of l`,
    values: [tradeId],
  })
  const [letter] = await readRows(instruments, rows, letterOf)
  return letter === undefined ? null : { letter, isLeased: rows[0]?.is_leased === true }
}

export async function lockOpenLetters(
  connection: Connection,
  instruments: InstrumentStore,
  filter: LetterFilter,
  after: LetterPosition | null,
  limit: number,
): Promise<readonly DeadLetter[]> {
  const values: unknown[] = []
  const conditions = conditionsOf(filter, values)
  if (after !== null) {
    const time = values.push(new Date(after.firstFailedAtMs))
    conditions.push(`(l.first_failed_at, l.trade_id) > ($${time}, $${values.push(after.tradeId)}::uuid)`)
  }
  const { rows } = await connection.query<LetterRow>(
    `
    select ${LETTER_COLUMNS}
    from dead_letters l
    join open_settlements o on o.trade_id = l.trade_id and o.lease_owner is null
    join trades t on t.id = l.trade_id
    ${where([...conditions, `l.status = 'open'`, `l.status <> 'resolved'`])}
    order by l.first_failed_at, l.trade_id
    limit $${values.push(limit)}
    for update of l, o skip locked`,
    values,
  )
  return await readRows(instruments, rows, letterOf)
}

const REQUEUE = `
  with d as (
    select *
    from json_to_recordset($1::json) as d (
      id uuid, status text, retry_count integer, failure_reason text, settlement jsonb, due_at timestamptz,
      drops_buyer_hold boolean, drops_seller_hold boolean
    )
  ), retried as (
    update dead_letters l
    set status = 'retrying', retried_by = $2
    from d
    where l.trade_id = d.id
      and l.status = 'open'
    returning l.trade_id
  ), queued as (
    update open_settlements o
    set due_at = d.due_at
    from d
    join retried on retried.trade_id = d.id
    where o.trade_id = d.id
      and o.lease_owner is null
    returning o.trade_id
  ), before as (
    select t.id, t.settlement_status as status
    from trades t
    join d on d.id = t.id
  ), changed as (
    update trades t
    set settlement_status = d.status, settlement_retry_count = d.retry_count, failure_reason = d.failure_reason,
      settlement = d.settlement,
      buyer_hold = case when d.drops_buyer_hold then null else t.buyer_hold end,
      seller_hold = case when d.drops_seller_hold then null else t.seller_hold end
    from d
    join queued on queued.trade_id = d.id
    where t.id = d.id
    returning t.id, d.status
  ), counted as (
    ${addCounts(
      'failed',
      `
      select -count(*)
      from changed c
      join before b on b.id = c.id
      where b.status = 'SETTLEMENT_FAILED'
        and c.status <> 'SETTLEMENT_FAILED'`,
    )}
  )
  select id
  from changed`

export async function requeueLetters(
  connection: Connection,
  requeued: readonly Requeued[],
  actor: string,
  atMs: number,
): Promise<void> {
  const rows = requeued.map(each => ({
    id: each.tradeId,
    status: each.status,
    retry_count: each.retryCount,
    failure_reason: each.failureReason,
    settlement: each.settlement,
    due_at: new Date(each.dueAtMs),
    drops_buyer_hold: each.dropped?.buyer ?? false,
    drops_seller_hold: each.dropped?.seller ?? false,
  }))
  const { rowCount } = await connection.query({
    name: 'requeue-letters',
    text: REQUEUE,
    values: [JSON.stringify(rows), actor],
  })
  if (rowCount !== requeued.length)
    throw new Error(`${rowCount} of ${requeued.length} letters could be put back to work`)
  const ofDesk = requeued.filter(({ dropped }) => dropped !== null)
  await releaseRests(
    connection,
    ofDesk.map(({ tradeId }) => tradeId),
    atMs,
  )
}

/** What the machine made of it is stored with it: nothing more happens by itself. */
const RESOLVE = `
  with resolved as (
    update dead_letters l
    set status = 'resolved', resolution = $2, resolved_by = $3, resolved_at = $4, note = $5
    from open_settlements o
    where l.trade_id = $1
      and l.status = 'open'
      and o.trade_id = l.trade_id
      and o.lease_owner is null
    returning l.trade_id
  ), stopped as (
    update open_settlements o
    set due_at = null
    from resolved
    where o.trade_id = resolved.trade_id
  )
  update trades t
  set settlement = $6::jsonb
  from resolved
  where t.id = resolved.trade_id
  returning t.id`

export async function resolveLetter(
  connection: Connection,
  instruments: Instruments,
  { tradeId, resolution, note, settlement, free }: Resolved,
  actor: string,
  atMs: number,
): Promise<void> {
  const { rowCount } = await connection.query({
    name: 'resolve-letter',
    text: RESOLVE,
    values: [tradeId, resolution, actor, new Date(atMs), note, JSON.stringify(settlement)],
  })
  if (rowCount !== 1) throw new Error(`the letter of trade ${tradeId} could not be resolved`)
  if (free === null) return
  await runStatements(connection, insertReleases(instruments, free, { atMs, isByOperator: true }))
  await releaseRests(connection, [tradeId], atMs)
}
