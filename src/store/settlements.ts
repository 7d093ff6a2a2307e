import { type Connection, type Database, plainArrayOf, transaction } from '../db.ts'
import { addCounts } from './counts.ts'
import { type InstrumentStore, readableRows } from './instruments.ts'
import { type ClaimedRow, claimedOf } from './rows.ts'
import type { Claimed, Lease, SettlementRecord } from './store.ts'
import { TRADE_COLUMNS } from './trades.ts'

/** What identifies a settlement in hand. */
export interface Held {
  readonly tradeId: string
  readonly token: number
}

const CLAIM = `
  with due as (
    select trade_id, lease_owner is not null as resumed
    from open_settlements
    where due_at <= $1
      and not (select paused from settlement_switch where only_row)
    order by due_at
    limit $2
    for update skip locked
  ), claimed as (
    update open_settlements o
    set lease_owner = $3, lease_token = o.lease_token + 1, due_at = $4
    from due
    where o.trade_id = due.trade_id
    returning o.trade_id, o.lease_token, o.due_at, due.resumed
  )
  select ${TRADE_COLUMNS}, c.lease_token, c.due_at, c.resumed
  from claimed c
  join trades t on t.id = c.trade_id`

export async function claimDue(
  database: Database,
  instruments: InstrumentStore,
  lease: Lease,
  limit: number,
  nowMs: number,
): Promise<readonly Claimed[]> {
  const { rows } = await database.query<ClaimedRow>({
    name: 'claim-due',
    text: CLAIM,
    values: [new Date(nowMs), limit, lease.owner, new Date(lease.untilMs)],
  })
  return await readableRows(instruments, rows, claimedOf)
}

/** The good end, which is nearly all of them: nothing but what can't be derived. */
const SETTLE = `
  with ended as (
    delete from open_settlements o
    using unnest($1::uuid[], $2::integer[]) as d (trade_id, token)
    where o.trade_id = d.trade_id
      and o.lease_token = d.token
      and o.lease_owner = $3
    returning o.trade_id, o.lease_token
  ), settled as (
    update trades t
    set settlement_status = 'SETTLED', settled_at = coalesce(t.settled_at, $4), settlement_retry_count = 0,
      settlement = null, failure_reason = null
    from ended
    where t.id = ended.trade_id
    returning t.id, ended.lease_token as token, t.settled_at = $4 as is_first
  ), counted as (
    ${addCounts('settled', 'select count(*) filter (where is_first) from settled')}
  )
  select id, token
  from settled`

/** One that is at its good end after all is no longer open. */
const RECORD = `
  with d as (
    select *
    from json_to_recordset($1::json) as d (
      id uuid, token integer, status text, at timestamptz, retry_count integer, failure_reason text, settlement jsonb,
      due_at timestamptz, keeps_lease boolean, is_ended boolean
    )
  ), ended as (
    delete from open_settlements o
    using d
    where d.is_ended
      and o.trade_id = d.id
      and o.lease_token = d.token
      and o.lease_owner = $2
    returning o.trade_id, o.lease_token
  ), left_open as (
    update open_settlements o
    -- Who keeps the lease keeps it as it stands: it may have been renewed meanwhile.
    set due_at = case when d.keeps_lease then o.due_at else d.due_at end,
      lease_owner = case when d.keeps_lease then o.lease_owner end,
      owes_fee = coalesce(d.settlement ->> 'fee' in ('owed', 'parked'), false)
    from d
    where not d.is_ended
      and o.trade_id = d.id
      and o.lease_token = d.token
      and o.lease_owner = $2
    returning o.trade_id, o.lease_token
  ), ours as (
    select trade_id, lease_token from ended
    union all
    select trade_id, lease_token from left_open
  ), before as (
    select t.id, t.settlement_status as status, t.settlement_retry_count as retry_count
    from trades t
    join d on d.id = t.id
  ), changed as (
    update trades t
    set settlement_status = d.status,
      settled_at = case when d.status = 'SETTLED' then coalesce(t.settled_at, d.at) end,
      settlement_retry_count = d.retry_count,
      failure_reason = d.failure_reason,
      settlement = d.settlement
    from d
    -- A process that took its own expired lease over may bring a stale record beside the one that counts.
    join ours on ours.trade_id = d.id and ours.lease_token = d.token
    where t.id = d.id
    returning t.id, ours.lease_token as token, d.status, d.retry_count
  ), counted as (
    ${addCounts(
      'settled, failed, retries',
      `
      select count(*) filter (where c.status = 'SETTLED') - count(*) filter (where b.status = 'SETTLED'),
        count(*) filter (where c.status = 'SETTLEMENT_FAILED') - count(*) filter (where b.status = 'SETTLEMENT_FAILED'),
        coalesce(sum(greatest(c.retry_count - b.retry_count, 0)), 0)
      from changed c
      join (select distinct * from before) b on b.id = c.id`,
    )}
  )
  select id, token
  from changed`

const OPEN_LETTERS = `
  insert into dead_letters as l (
    trade_id, kind, code, last_error, attempts, rollback, first_failed_at, last_failed_at
  )
  select d.trade_id, d.kind, d.code, d.last_error, d.attempts, d.rollback, d.at, d.at
  from json_to_recordset($1::json) as d (
    trade_id uuid, kind text, code text, last_error text, attempts integer, rollback text, at timestamptz
  )
  on conflict (trade_id) do update
  set kind = excluded.kind, code = excluded.code, last_error = excluded.last_error, attempts = excluded.attempts,
    rollback = excluded.rollback, status = 'open', last_failed_at = excluded.last_failed_at,
    first_failed_at = case
      when l.status <> 'resolved' and l.kind = excluded.kind then l.first_failed_at
      else excluded.first_failed_at
    end,
    resolution = null, resolved_by = null, resolved_at = null, note = null`

/** A letter of the fee stays until nothing is left to do; that of the settlement ends with it, also where the fee is owed. */
const CLOSE_LETTERS = `
  update dead_letters l
  set status = 'resolved', resolution = 'retried', resolved_by = coalesce(l.retried_by, 'legwork'), resolved_at = d.at
  from json_to_recordset($1::json) as d (trade_id uuid, at timestamptz, is_ended boolean)
  where l.trade_id = d.trade_id
    and l.status <> 'resolved'
    and (l.kind = 'settlement' or d.is_ended)`

/** Stores the records whose lease is still held, with their letters, in one transaction; answers one for one. */
export async function recordSettlements(
  database: Database,
  owner: string,
  records: readonly SettlementRecord[],
): Promise<readonly boolean[]> {
  const [plain, others] = partition(records)
  const stored = new Set<string>()
  if (others.length === 0) {
    for (const name of await settlePlain(database, owner, plain)) stored.add(name)
  } else {
    await transaction(database, async connection => {
      stored.clear()
      if (plain.length > 0) for (const name of await settlePlain(connection, owner, plain)) stored.add(name)
      for (const name of await recordOthers(connection, owner, others)) stored.add(name)
    })
  }
  return records.map(record => stored.has(nameOf(record.tradeId, record.token)))
}

/** One record of one lease. */
function nameOf(tradeId: string, token: number): string {
  return `${tradeId} ${token}`
}

interface StoredRecord {
  readonly id: string
  readonly token: number
}

function partition(records: readonly SettlementRecord[]): readonly [SettlementRecord[], SettlementRecord[]] {
  const plain: SettlementRecord[] = []
  const others: SettlementRecord[] = []
  for (const record of records) {
    const isPlain = record.isEnded && record.settlement === null && record.letter === null
    ;(isPlain ? plain : others).push(record)
  }
  return [plain, others]
}

async function settlePlain(
  connection: Database | Connection,
  owner: string,
  records: readonly SettlementRecord[],
): Promise<readonly string[]> {
  // One time for the batch: the moment it is stored, within milliseconds of each one's own end.
  const at = new Date(Math.max(...records.map(record => record.atMs)))
  const { rows } = await connection.query<StoredRecord>({
    name: 'settle-plain',
    text: SETTLE,
    values: [
      plainArrayOf(records.map(record => record.tradeId)),
      plainArrayOf(records.map(record => record.token)),
      owner,
      at,
    ],
  })
  return rows.map(({ id, token }) => nameOf(id, token))
}

async function recordOthers(
  connection: Connection,
  owner: string,
  records: readonly SettlementRecord[],
): Promise<readonly string[]> {
  const { rows } = await connection.query<StoredRecord>({
    name: 'record-settlements',
    text: RECORD,
    values: [JSON.stringify(records.map(recordRow)), owner],
  })
  const stored = new Set(rows.map(({ id, token }) => nameOf(id, token)))
  const ours = records.filter(record => stored.has(nameOf(record.tradeId, record.token)))
  const opened = ours.flatMap(letterRow)
  const closed = ours
    .filter(record => record.letter === 'close')
    .map(record => ({ trade_id: record.tradeId, at: new Date(record.atMs), is_ended: record.isEnded }))
  if (opened.length > 0)
    await connection.query({ name: 'open-letters', text: OPEN_LETTERS, values: [JSON.stringify(opened)] })
  if (closed.length > 0)
    await connection.query({ name: 'close-letters', text: CLOSE_LETTERS, values: [JSON.stringify(closed)] })
  return [...stored]
}

function recordRow(record: SettlementRecord): Readonly<Record<string, unknown>> {
  return {
    id: record.tradeId,
    token: record.token,
    status: record.status,
    at: new Date(record.atMs),
    retry_count: record.retryCount,
    failure_reason: record.failureReason,
    settlement: record.settlement,
    due_at: record.dueAtMs === null ? null : new Date(record.dueAtMs),
    keeps_lease: record.keepsLease,
    is_ended: record.isEnded,
  }
}

function letterRow({ tradeId, letter, atMs }: SettlementRecord): readonly Readonly<Record<string, unknown>>[] {
  if (letter === null || letter === 'close') return []
  const { kind, code, lastError, attempts, rollback } = letter
  return [{ trade_id: tradeId, kind, code, last_error: lastError, attempts, rollback, at: new Date(atMs) }]
}

export async function renewLeases(
  database: Database,
  lease: Lease,
  held: readonly Held[],
): Promise<ReadonlySet<string>> {
  const { rows } = await database.query<{ id: string }>({
    name: 'renew-leases',
    text: `
      update open_settlements o
      set due_at = $4
      from unnest($1::uuid[], $2::integer[]) as d (trade_id, token)
      where o.trade_id = d.trade_id
        and o.lease_token = d.token
        and o.lease_owner = $3
      returning o.trade_id as id`,
    values: [
      plainArrayOf(held.map(entry => entry.tradeId)),
      plainArrayOf(held.map(entry => entry.token)),
      lease.owner,
      new Date(lease.untilMs),
    ],
  })
  return new Set(rows.map(row => row.id))
}

export async function releaseLeases(
  database: Database,
  owner: string,
  held: readonly Held[],
  nowMs: number,
): Promise<void> {
  await database.query({
    name: 'release-leases',
    text: `
      update open_settlements o
      set due_at = $4, lease_owner = null
      from unnest($1::uuid[], $2::integer[]) as d (trade_id, token)
      where o.trade_id = d.trade_id
        and o.lease_token = d.token
        and o.lease_owner = $3`,
    values: [
      plainArrayOf(held.map(entry => entry.tradeId)),
      plainArrayOf(held.map(entry => entry.token)),
      owner,
      new Date(nowMs),
    ],
  })
}

/** The owner stays on the row, so that whoever claims it next knows that it was not given back. */
export async function expireLeases(database: Database, nowMs: number): Promise<number> {
  const { rowCount } = await database.query(
    'update open_settlements set due_at = $1 where due_at is not null and lease_owner is not null',
    [new Date(nowMs)],
  )
  return rowCount ?? 0
}

export async function nextDueMs(database: Database): Promise<number | null> {
  const { rows } = await database.query<{ due_at: Date | null }>({
    name: 'next-due',
    text: 'select min(due_at) as due_at from open_settlements where due_at is not null',
  })
  return rows[0]?.due_at?.getTime() ?? null
}
