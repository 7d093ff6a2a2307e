/** Changes of operators: each one transaction, with its idempotency key and its entry in the audit log. */
import { type Connection, type Database, transaction } from '../db.ts'
import type {
  AdminAction,
  AdminChange,
  AuditEntry,
  AuditQuery,
  BulkRetry,
  Changed,
  ChangeInHand,
  Decision,
  RetryItem,
} from './operator-store.ts'

/** Thrown inside the transaction so that nothing of the change stays. */
class Refused<Refusal> extends Error {
  readonly refusal: Refusal
  constructor(refusal: Refusal) {
    super('the change was refused')
    this.refusal = refusal
  }
}

export async function performChange<Answer, Refusal>(
  database: Database,
  change: AdminChange,
  inHandOf: (connection: Connection) => ChangeInHand,
  work: (inHand: ChangeInHand) => Promise<Decision<Answer, Refusal>>,
): Promise<Changed<Answer, Refusal>> {
  try {
    return await transaction(database, async connection => {
      const earlier = await takeKey<Answer>(connection, change)
      if (earlier !== null) return earlier
      // First: what is done elsewhere (a market's halt is the order desk's) is not done where it can't be entered.
      await insertAudit(connection, change)
      const decision = await work(inHandOf(connection))
      if ('refusal' in decision) throw new Refused(decision.refusal)
      await insertAuditTrades(connection, change, decision.tradeIds)
      await keepAnswer(connection, change, decision.answer)
      return { outcome: 'done', answer: decision.answer }
    })
  } catch (error) {
    if (error instanceof Refused) return { outcome: 'refused', refusal: error.refusal as Refusal }
    throw error
  }
}

/** Null: the key is ours, until the end of the transaction alone. A second call under it waits here for the first. */
async function takeKey<Answer>(
  connection: Connection,
  { actor, idempotencyKey, content, atMs }: AdminChange,
): Promise<Changed<Answer, never> | null> {
  if (idempotencyKey === null) return null
  const { rowCount } = await connection.query(
    `
    insert into admin_requests (actor, idempotency_key, content, answer, at)
    values ($1, $2, $3, 'null', $4)
    on conflict do nothing`,
    [actor, idempotencyKey, content, new Date(atMs)],
  )
  if (rowCount === 1) return null
  const { rows } = await connection.query<{ readonly content: string; readonly answer: Answer }>(
    'select content, answer from admin_requests where actor = $1 and idempotency_key = $2',
    [actor, idempotencyKey],
  )
  const [first] = rows
  return first?.content === content ? { outcome: 'replayed', answer: first.answer } : { outcome: 'key-reused' }
}

async function keepAnswer(
  connection: Connection,
  { actor, idempotencyKey }: AdminChange,
  answer: unknown,
): Promise<void> {
  if (idempotencyKey === null) return
  await connection.query('update admin_requests set answer = $3 where actor = $1 and idempotency_key = $2', [
    actor,
    idempotencyKey,
    JSON.stringify(answer),
  ])
}

async function insertAudit(
  connection: Connection,
  { id, atMs, actor, action, reason, detail }: AdminChange,
): Promise<void> {
  await connection.query(
    'insert into audit_log (id, at, actor, action, reason, detail) values ($1, $2, $3, $4, $5, $6)',
    [id, new Date(atMs), actor, action, reason, JSON.stringify(detail)],
  )
}

/** A retry has no result yet; the table notes it when the letter says so. */
async function insertAuditTrades(
  connection: Connection,
  { id, atMs, action }: AdminChange,
  tradeIds: readonly string[],
): Promise<void> {
  if (tradeIds.length === 0) return
  const result = action === 'resolve' ? 'resolved' : null
  await connection.query(
    `
    insert into audit_log_trades (action_id, trade_id, result, ended_at)
    select $1, trade_id, $3, $4
    from unnest($2::uuid[]) as trade_id`,
    [id, tradeIds, result, result === null ? null : new Date(atMs)],
  )
}

interface AuditRow {
  readonly id: string
  readonly at: Date
  readonly actor: string
  readonly action: AdminAction
  readonly reason: string | null
  readonly detail: Readonly<Record<string, unknown>>
}

function entryOf({ id, at, actor, action, reason, detail }: AuditRow) {
  return { id, atMs: at.getTime(), actor, action, reason, detail }
}

interface BulkRow extends AuditRow {
  readonly count: bigint
  readonly settled: bigint
  readonly collected: bigint
  readonly failed: bigint
}

export async function selectBulkRetry(database: Database, id: string): Promise<BulkRetry | null> {
  const { rows } = await database.query<BulkRow>({
    name: 'select-bulk-retry',
    text: `
      select a.id, a.at, a.actor, a.action, a.reason, a.detail, i.*
      from audit_log a
      cross join lateral (
        select count(*), count(*) filter (where result = 'settled') as settled,
          count(*) filter (where result = 'collected') as collected, count(*) filter (where result = 'failed') as failed
        from audit_log_trades i
        where i.action_id = a.id
      ) i
      where a.id = $1
        and a.action = 'bulk-retry'`,
    values: [id],
  })
  const [row] = rows
  if (row === undefined) return null
  const { action: _action, ...entry } = entryOf(row)
  const [count, settled, collected, failed] = [row.count, row.settled, row.collected, row.failed].map(Number) as [
    number,
    number,
    number,
    number,
  ]
  return { ...entry, count, settled, collected, failed, retrying: count - settled - collected - failed }
}

interface ItemRow {
  readonly trade_id: string
  readonly result: RetryItem['result']
  readonly code: string | null
  readonly last_error: string | null
  readonly ended_at: Date | null
}

export async function selectRetryItems(
  database: Database,
  id: string,
  {
    results,
    after,
    limit,
  }: { readonly results: readonly string[]; readonly after: string | null; readonly limit: number },
): Promise<readonly RetryItem[]> {
  const { rows } = await database.query<ItemRow>({
    name: 'select-retry-items',
    text: `
      select trade_id, coalesce(result, 'retrying') as result, code, last_error, ended_at
      from audit_log_trades
      where action_id = $1
        and ($2::uuid is null or trade_id > $2)
        and (cardinality($3::text[]) = 0 or coalesce(result, 'retrying') = any($3))
      order by trade_id
      limit $4`,
    values: [id, after, results, limit],
  })
  return rows.map(row => ({
    tradeId: row.trade_id,
    result: row.result,
    code: row.code,
    lastError: row.last_error,
    endedAtMs: row.ended_at?.getTime() ?? null,
  }))
}

/** Newest first. */
export async function selectAuditLog(
  database: Database,
  { tradeIds, before, limit }: AuditQuery,
): Promise<readonly AuditEntry[]> {
  const values: unknown[] = []
  const conditions: string[] = []
  if (before !== null) {
    const time = values.push(new Date(before.atMs))
    conditions.push(`(a.at, a.id) < ($${time}, $${values.push(before.id)}::uuid)`)
  }
  if (tradeIds.length > 0) {
    conditions.push(
      `a.id in (select action_id from audit_log_trades where trade_id = any($${values.push(tradeIds)}::uuid[]))`,
    )
  }
  const { rows } = await database.query<AuditRow & { readonly trades: bigint }>(
    `
    select a.id, a.at, a.actor, a.action, a.reason, a.detail,
      (select count(*) from audit_log_trades i where i.action_id = a.id) as trades
    from audit_log a
    ${conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`}
    order by a.at desc, a.id desc
    limit $${values.push(limit)}`,
    values,
  )
  return rows.map(row => ({ ...entryOf(row), trades: Number(row.trades) }))
}
