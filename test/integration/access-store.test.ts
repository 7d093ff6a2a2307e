import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { migrate } from '../../src/migrate.ts'
import type { AccessStore, KeyChange, KeyCreation, NewKey } from '../../src/store/access-store.ts'
import { createAccessStore } from '../../src/store/pg-access-store.ts'
import { uuidV7 } from '../../src/uuid.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'

let db: TestDatabase
let store: AccessStore
let nowMs = 1_700_000_000_000

beforeAll(async () => {
  db = await createTestDatabase()
  await migrate(db.database, 'access')
  store = createAccessStore(db.database)
})
afterAll(() => db?.drop())

function newKey(change: Partial<NewKey> = {}): NewKey {
  const id = uuidV7(++nowMs)
  return { id, role: 'operator', userId: null, hash: randomBytes(32).toString('hex'), lastFour: 'abcd', ...change }
}

function change(reason: string | null = null): KeyChange {
  return { id: uuidV7(++nowMs), atMs: nowMs, actor: 'ann', reason }
}

function creation(fields: Partial<KeyCreation> = {}): KeyCreation {
  return { ...change(), idempotencyKey: null, content: 'operator', ...fields }
}

const NEWEST = { tradeIds: [], before: null, limit: 100 } as const
const ALL = { roles: [], isRevoked: null, before: null, limit: 1000 } as const

test('a key is found by its hash, until it is revoked', async () => {
  const key = newKey({ role: 'trader', userId: randomUUID() })
  const other = newKey()
  expect(await store.create(key, creation())).toEqual({ outcome: 'done', answer: key.id })
  await store.create(other, creation())
  const nobodys = randomBytes(32).toString('hex')
  const holder = { id: key.id, role: 'trader', userId: key.userId }
  const holders = [holder, null, { id: other.id, role: 'operator', userId: null }, holder]
  expect(await store.holdersOf([key.hash, nobodys, other.hash, key.hash])).toEqual(holders)
  const revoked = await store.revoke(key.id, change('lost'))
  expect(revoked).toMatchObject({ hash: key.hash, key: { revokedBy: 'ann', revokedAtMs: nowMs } })
  expect(await store.holdersOf([key.hash, other.hash])).toEqual([null, holders[2]])
  expect(await store.holdersOf([])).toEqual([])
})

test('revoking again changes nothing, and is not logged; what is not there is not revoked', async () => {
  const key = newKey()
  await store.create(key, creation())
  const [one, other] = await Promise.all([store.revoke(key.id, change('a')), store.revoke(key.id, change('b'))])
  expect(one).toEqual(other)
  expect(await store.revoke(key.id, change('c'))).toEqual(one)
  const log = (await store.auditLog(NEWEST)).filter(({ detail }) => detail['key_id'] === key.id)
  expect(log.map(({ action }) => action)).toEqual(['key-revoke', 'key-create'])
  expect(await store.revoke(randomUUID(), change())).toBeNull()
})

test('the same idempotency key makes one key, also at the same moment; other content is refused', async () => {
  const idempotencyKey = randomUUID()
  const keys = Array.from({ length: 8 }, () => newKey())
  const made = await Promise.all(keys.map(key => store.create(key, creation({ idempotencyKey }))))
  const done = made.find(({ outcome }) => outcome === 'done')
  expect(made.filter(({ outcome }) => outcome === 'done')).toHaveLength(1)
  expect(made.filter(({ outcome }) => outcome === 'replayed')).toEqual(
    Array.from({ length: 7 }, () => ({ ...done, outcome: 'replayed' })),
  )
  expect((await store.keys(ALL)).filter(({ id }) => keys.some(key => key.id === id))).toHaveLength(1)
  const other = newKey({ role: 'admin' })
  expect(await store.create(other, creation({ idempotencyKey, content: 'admin' }))).toEqual({ outcome: 'key-reused' })
  expect(await store.holdersOf([other.hash])).toEqual([null])
  expect(await store.create(other, creation({ idempotencyKey, actor: 'bob' }))).toMatchObject({ outcome: 'done' })
})

test('listed newest first, by role, by whether it was revoked, page by page', async () => {
  const [one, two, three] = [newKey({ role: 'admin' }), newKey({ role: 'viewer' }), newKey({ role: 'viewer' })]
  for (const key of [one, two, three]) await store.create(key, creation())
  await store.revoke(two.id, change())
  const ids = async (query: Partial<Parameters<AccessStore['keys']>[0]>): Promise<readonly string[]> =>
    (await store.keys({ ...ALL, ...query })).map(({ id }) => id)
  expect((await ids({})).slice(0, 3)).toEqual([three.id, two.id, one.id])
  expect(await ids({ roles: ['viewer'] })).toEqual([three.id, two.id])
  expect(await ids({ roles: ['viewer'], isRevoked: false })).toEqual([three.id])
  expect((await ids({ roles: ['viewer', 'admin'], isRevoked: true }))[0]).toBe(two.id)
  const [first] = await store.keys({ ...ALL, limit: 1 })
  const before = { createdAtMs: first?.createdAtMs ?? 0, id: first?.id ?? '' }
  expect((await ids({ before, limit: 2 })).slice(0, 2)).toEqual([two.id, one.id])
})

test('the log says who, when, what and why, and has nothing about trades', async () => {
  const key = newKey({ role: 'trader', userId: randomUUID() })
  const asked = creation({ reason: 'a new bot' })
  await store.create(key, asked)
  expect((await store.auditLog({ ...NEWEST, limit: 1 }))[0]).toEqual({
    id: asked.id,
    atMs: asked.atMs,
    actor: 'ann',
    action: 'key-create',
    reason: 'a new bot',
    detail: { key_id: key.id, role: 'trader', user_id: key.userId },
    trades: 0,
  })
  expect(await store.auditLog({ ...NEWEST, before: { atMs: asked.atMs, id: asked.id }, limit: 1 })).not.toEqual([])
  expect(await store.auditLog({ ...NEWEST, tradeIds: [randomUUID()] })).toEqual([])
})

test('the database refuses what the code may forget', async () => {
  const key = newKey()
  await store.create(key, creation())
  await store.revoke(key.id, change())
  const never = 'restrict_violation|never changed|only ever revoked'
  for (const statement of [
    `update access_keys set revoked_at = null, revoked_by = null where id = '${key.id}'`,
    `update access_keys set role = 'admin'`,
    'delete from access_keys',
    `update access_log set actor = 'nobody'`,
    'delete from access_log',
    'truncate access_log',
  ]) {
    await expect(db.database.query(statement), statement).rejects.toThrow(new RegExp(never))
  }
  await expect(store.create(newKey({ role: 'trader' }), creation())).rejects.toThrow('check')
  await expect(store.create(newKey({ userId: randomUUID() }), creation())).rejects.toThrow('check')
  await expect(store.create(newKey({ hash: 'abcd' }), creation())).rejects.toThrow('check')
  await expect(store.create(newKey({ hash: key.hash }), creation())).rejects.toThrow('unique')
})

test('holders are found through the index, however many keys there are', async () => {
  const { rows } = await db.database.query(
    `explain select 1 from unnest(array['00']::text[]) as asked join access_keys k on k.hash = decode(asked, 'hex')`,
  )
  expect(JSON.stringify(rows)).toContain('access_keys_hash_key')
})
