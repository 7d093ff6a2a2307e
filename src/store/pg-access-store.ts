import { type Database, plainArrayOf } from '../db.ts'
import type {
  AccessStore,
  KeyChange,
  KeyCreation,
  KeyHolder,
  KeyQuery,
  KeyRole,
  NewKey,
  StoredKey,
} from './access-store.ts'
import type { AuditEntry, AuditQuery, Changed, KeyAction } from './operator-store.ts'

/** Keys and the log of them, on PostgreSQL (migrations/access). */
export function createAccessStore(database: Database): AccessStore {
  return {
    create: (key, creation) => insertKey(database, key, creation),
    revoke: (id, change) => revokeKey(database, id, change),
    keys: query => selectKeys(database, query),
    holdersOf: hashes => selectHolders(database, hashes),
    auditLog: query => selectAccessLog(database, query),
  }
}

interface KeyRow {
  readonly id: string
  readonly role: KeyRole
  readonly user_id: string | null
  readonly last_four: string
  readonly created_at: Date
  readonly created_by: string
  readonly revoked_at: Date | null
  readonly revoked_by: string | null
}

const COLUMNS = 'id, role, user_id, last_four, created_at, created_by, revoked_at, revoked_by'

function keyOf(row: KeyRow): StoredKey {
  return {
    id: row.id,
    role: row.role,
    userId: row.user_id,
    lastFour: row.last_four,
    createdAtMs: row.created_at.getTime(),
    createdBy: row.created_by,
    revokedAtMs: row.revoked_at?.getTime() ?? null,
    revokedBy: row.revoked_by,
  }
}

/** One statement: the key is there with its entry, or neither. A second call under the same key waits for the first. */
async function insertKey(database: Database, key: NewKey, creation: KeyCreation): Promise<Changed<string, never>> {
  const { actor, idempotencyKey, content } = creation
  const { rowCount } = await database.query(
    `
    with logged as (
      insert into access_log (id, at, actor, action, key_id, reason, idempotency_key, content)
      values ($1, $2, $3, 'key-create', $4, $5, $6, $7)
      on conflict (actor, idempotency_key) where idempotency_key is not null do nothing
      returning key_id
    )
    insert into access_keys (id, hash, role, user_id, last_four, created_at, created_by)
    select key_id, decode($8, 'hex'), $9, $10, $11, $2, $3
    from logged`,
    [
      ...[creation.id, new Date(creation.atMs), actor, key.id, creation.reason, idempotencyKey, content],
      ...[key.hash, key.role, key.userId, key.lastFour],
    ],
  )
  if (rowCount === 1) return { outcome: 'done', answer: key.id }
  const { rows } = await database.query<{ readonly content: string; readonly key_id: string }>(
    'select content, key_id from access_log where actor = $1 and idempotency_key = $2',
    [actor, idempotencyKey],
  )
  const [first] = rows
  return first?.content === content ? { outcome: 'replayed', answer: first.key_id } : { outcome: 'key-reused' }
}

type RevokedRow = KeyRow & { readonly hash: string }

/** Of two at once the second finds the key revoked, and logs nothing. */
async function revokeKey(
  database: Database,
  id: string,
  { id: entryId, atMs, actor, reason }: KeyChange,
): ReturnType<AccessStore['revoke']> {
  const revoked = await database.query<RevokedRow>(
    `
    with revoked as (
      update access_keys
      set revoked_at = $2, revoked_by = $3
      where id = $1
        and revoked_at is null
      returning ${COLUMNS}, encode(hash, 'hex') as hash
    ), logged as (
      insert into access_log (id, at, actor, action, key_id, reason)
      select $4, $2, $3, 'key-revoke', id, $5
      from revoked
    )
    select * from revoked`,
    [id, new Date(atMs), actor, entryId, reason],
  )
  const [row] = revoked.rows[0] === undefined ? (await selectKey(database, id)).rows : revoked.rows
  return row === undefined ? null : { key: keyOf(row), hash: row.hash }
}

function selectKey(database: Database, id: string) {
  const text = `select ${COLUMNS}, encode(hash, 'hex') as hash from access_keys where id = $1`
  return database.query<RevokedRow>(text, [id])
}

async function selectKeys(
  database: Database,
  { roles, isRevoked, before, limit }: KeyQuery,
): Promise<readonly StoredKey[]> {
  const { rows } = await database.query<KeyRow>(
    `
    select ${COLUMNS}
    from access_keys
    where ($1::timestamptz is null or (created_at, id) < ($1, $2::uuid))
      and (cardinality($3::text[]) = 0 or role = any($3))
      and ($4::boolean is null or (revoked_at is not null) = $4)
    order by created_at desc, id desc
    limit $5`,
    [before === null ? null : new Date(before.createdAtMs), before?.id ?? null, roles, isRevoked, limit],
  )
  return rows.map(keyOf)
}

async function selectHolders(database: Database, hashes: readonly string[]): Promise<readonly (KeyHolder | null)[]> {
  const { rows } = await database.query<Pick<KeyRow, 'id' | 'role' | 'user_id'> & { readonly hash: string }>({
    name: 'select-key-holders',
    text: `
      select encode(k.hash, 'hex') as hash, k.id, k.role, k.user_id
      from unnest($1::text[]) as asked
      join access_keys k on k.hash = decode(asked, 'hex')
      where k.revoked_at is null`,
    values: [plainArrayOf(hashes)],
  })
  const found = new Map(rows.map(({ hash, id, role, user_id }) => [hash, { id, role, userId: user_id }]))
  return hashes.map(hash => found.get(hash) ?? null)
}

interface LogRow {
  readonly id: string
  readonly at: Date
  readonly actor: string
  readonly action: KeyAction
  readonly reason: string | null
  readonly key_id: string
  readonly role: KeyRole
  readonly user_id: string | null
}

/** None of it is about a trade. */
async function selectAccessLog(
  database: Database,
  { tradeIds, before, limit }: AuditQuery,
): Promise<readonly AuditEntry[]> {
  if (tradeIds.length > 0) return []
  const { rows } = await database.query<LogRow>(
    `
    select a.id, a.at, a.actor, a.action, a.reason, a.key_id, k.role, k.user_id
    from access_log a
    join access_keys k on k.id = a.key_id
    where ($1::timestamptz is null or (a.at, a.id) < ($1, $2::uuid))
    order by a.at desc, a.id desc
    limit $3`,
    [before === null ? null : new Date(before.atMs), before?.id ?? null, limit],
  )
  return rows.map(({ id, at, actor, action, reason, key_id, role, user_id }) => {
    const detail = { key_id, role, ...(user_id === null ? {} : { user_id }) }
    return { id, atMs: at.getTime(), actor, action, reason, detail, trades: 0 }
  })
}
