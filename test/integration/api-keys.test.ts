import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { App } from '../../src/api/app.ts'
import { createKeyServices } from '../../src/api/keys/plugin.ts'
import { createServer } from '../../src/api/server.ts'
import { createAccessStore } from '../../src/store/pg-access-store.ts'
import { type Answer, authenticate, bearer, call, createTestApi, type TestApi } from '../support/api.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { createVirtualClock } from '../support/virtual-clock.ts'

const KEYS = '/v1/admin/keys'

let db: TestDatabase
let api: TestApi

beforeAll(async () => {
  db = await createTestDatabase()
  api = await createTestApi(db.database, 'atomic')
})
afterAll(async () => {
  await api?.close()
  await db?.drop()
})

interface Made {
  readonly key: string
  readonly id: string
}

async function make(body: object): Promise<Made> {
  const { status, body: made } = await api.post(KEYS, body, bearer('admin'))
  expect(status).toBe(201)
  return made
}

const withKey = (key: string) => ({ authorization: `Bearer ${key}` })

function get(url: string, key: string, app: App = api.app): Promise<Answer> {
  return call(app, { method: 'GET', url, headers: withKey(key) })
}

const revoke = (id: string, body: object = {}, headers: object = bearer('admin')): Promise<Answer> =>
  api.post(`${KEYS}/${id}/revoke`, body, headers as Readonly<Record<string, string>>)

describe('a key', () => {
  test('is shown once: the answer that makes it has it, nothing else does, and only its hash is kept', async () => {
    const made = await api.post(KEYS, { role: 'operator', reason: 'for Ann' }, bearer('admin'))
    expect(made).toMatchObject({ status: 201, body: { key: expect.stringMatching(/^lw_[\w-]{43}$/) } })
    expect(made.headers['cache-control']).toBe('no-store')
    expect(Object.keys(made.body)).toEqual(['key', 'id'])
    const { key, id } = made.body
    expect((await get('/v1/admin/status', key)).status).toBe(200)
    const listed = await get(`${KEYS}?role=operator`, 'admin-key')
    expect(listed.body.keys[0]).toEqual({
      id,
      role: 'operator',
      user_id: null,
      last_four: key.slice(-4),
      status: 'active',
      created_at: expect.stringMatching(/^20.*Z$/),
      created_by: 'admin',
      revoked_at: null,
      revoked_by: null,
    })
    expect(JSON.stringify(listed.body)).not.toContain(key.slice(3, -4))
    const log = await get('/v1/admin/audit-log', 'admin-key')
    expect(log.body.entries[0]).toMatchObject({
      actor: 'admin',
      action: 'key-create',
      reason: 'for Ann',
      detail: { key_id: id, role: 'operator' },
      trades: 0,
    })
    const { rows } = await db.database.query(
      'select k::text from access_keys k union all select l::text from access_log l',
    )
    expect(rows.length).toBeGreaterThan(1)
    expect(JSON.stringify([rows, log.body])).not.toContain(key.slice(3, -4))
  })

  test.each([
    [{}, '/role'],
    [{ role: 'root' }, '/role'],
    [{ role: 'trader' }, '/user_id'],
    [{ role: 'trader', user_id: 'me' }, '/user_id'],
    [{ role: 'viewer', user_id: randomUUID() }, '/user_id'],
    [{ role: 'viewer', key: 'mine' }, '/key'],
    [{ role: 'viewer', reason: '' }, '/reason'],
  ])('of %j is none', async (body, pointer) => {
    const answer = await api.post(KEYS, body, bearer('admin'))
    expect(answer).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST', errors: [{ pointer }] } })
  })

  test('is made once under an Idempotency-Key; the repeat names it, and can’t show it again', async () => {
    const headers = { ...bearer('admin'), 'idempotency-key': randomUUID() }
    const first = await api.post(KEYS, { role: 'viewer' }, headers)
    const again = await api.post(KEYS, { role: 'viewer' }, headers)
    expect([first.status, again.status, again.headers['idempotent-replayed']]).toEqual([201, 200, 'true'])
    expect(again.body).toEqual({ key: null, id: first.body.id })
    const other = await api.post(KEYS, { role: 'operator' }, headers)
    expect(other).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_KEY_REUSED' } })
  })

  test('of an admin makes keys, too, and the log says which key it was', async () => {
    const admin = await make({ role: 'admin' })
    const made = await api.post(KEYS, { role: 'viewer' }, withKey(admin.key))
    expect(made.status).toBe(201)
    expect((await revoke(made.body.id, { reason: 'a test' }, withKey(admin.key))).status).toBe(200)
    const { entries } = (await get('/v1/admin/audit-log?limit=2', 'admin-key')).body
    const by = { actor: `admin:${admin.id}`, detail: { key_id: made.body.id, role: 'viewer' } }
    expect(entries).toMatchObject([
      { ...by, action: 'key-revoke', reason: 'a test' },
      { ...by, action: 'key-create', reason: null },
    ])
  })

  test('of an operator is named where it changed something', async () => {
    const { key, id } = await make({ role: 'operator' })
    for (const what of ['pause', 'resume']) await api.post(`/v1/admin/settlement/${what}`, {}, withKey(key))
    const { entries } = (await get('/v1/admin/audit-log?limit=3', 'admin-key')).body
    expect(entries.map(({ action, actor }: Record<string, string>) => [action, actor])).toEqual([
      ['resume', `operator:${id}`],
      ['pause', `operator:${id}`],
      ['key-create', 'admin'],
    ])
    // Both parts of the log, one entry a page, are the same as all at once.
    const all = (await get('/v1/admin/audit-log?limit=1000', 'admin-key')).body.entries
    const paged: unknown[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: Answer = await get(`/v1/admin/audit-log?limit=1${cursor && `&cursor=${cursor}`}`, 'admin-key')
      paged.push(...page.body.entries)
      cursor = page.body.next_cursor
    }
    expect(paged).toEqual(all)
    expect((await get(`/v1/admin/audit-log?trade_id=${randomUUID()}`, 'admin-key')).body.entries).toEqual([])
  })

  test('lists in pages, by role and by status', async () => {
    const made = [await make({ role: 'viewer' }), await make({ role: 'viewer' }), await make({ role: 'admin' })]
    await revoke(made[1]?.id ?? '')
    const ids = async (query: string): Promise<readonly string[]> =>
      (await get(`${KEYS}?${query}`, 'admin-key')).body.keys.map(({ id }: Made) => id)
    expect((await ids('role=viewer,admin')).slice(0, 3)).toEqual(made.map(({ id }) => id).toReversed())
    expect((await ids('role=viewer&status=active'))[0]).toBe(made[0]?.id)
    expect((await ids('status=revoked'))[0]).toBe(made[1]?.id)
    expect((await ids('status=active,revoked'))[0]).toBe(made[2]?.id)
    const page = await get(`${KEYS}?limit=1`, 'admin-key')
    expect(await ids(`limit=2&cursor=${page.body.next_cursor}`)).toEqual([made[1]?.id, made[0]?.id])
    for (const query of ['role=root', 'status=lost', 'cursor=nonsense', 'limit=0']) {
      expect((await get(`${KEYS}?${query}`, 'admin-key')).status, query).toBe(400)
    }
  })
})

describe('a key that is revoked', () => {
  test('is refused at once here, and within five seconds at another server on the same database', async () => {
    const clock = createVirtualClock(Date.now())
    const store = createAccessStore(db.database)
    const keys = createKeyServices(store, clock)
    const log = pino({ level: 'silent' })
    const other = createServer({
      authenticate,
      keys,
      log,
      notReady: async () => [],
      version: '0',
      trades: null,
      wallet: null,
    })
    const { key, id } = await make({ role: 'admin' })
    expect((await get(KEYS, key)).status).toBe(200)
    expect((await get(KEYS, key, other)).status).toBe(200)

    expect((await revoke(id)).body.key).toMatchObject({ id, status: 'revoked', revoked_by: 'admin' })
    expect(await get(KEYS, key)).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } })
    await clock.advance(5000)
    expect(await get(KEYS, key, other)).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } })
    await other.close()
  })

  test('stays listed; again it changes nothing, and what is no key is not there', async () => {
    const { id } = await make({ role: 'viewer' })
    const first = await revoke(id, { reason: 'lost' })
    const again = await revoke(id.toUpperCase(), { reason: 'lost again' })
    expect(again).toMatchObject({ status: 200, body: first.body })
    const listed = await get(`${KEYS}?status=revoked&limit=1`, 'admin-key')
    expect(listed.body.keys).toEqual([first.body.key])
    for (const unknown of [randomUUID(), 'nothing']) {
      expect(await revoke(unknown)).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } })
    }
  })
})

describe('a trader', () => {
  const [me, other] = [randomUUID(), randomUUID()]
  let key = ''
  let mine = ''
  let theirs = ''

  beforeAll(async () => {
    key = (await make({ role: 'trader', user_id: me.toUpperCase() })).key
    for (const [user, currency] of [me, other].flatMap(
      user =>
        [
          [user, 'USDT'],
          [user, 'BTC'],
        ] as const,
    )) {
      const body = { user_id: user, currency, amount: '100', reason: 'DEPOSIT' }
      expect((await api.post('/v1/credits', body, { 'idempotency-key': randomUUID() })).status).toBe(201)
    }
    mine = await settled(me, other)
    theirs = await settled(other, randomUUID())
  })

  async function settled(buyer: string, seller: string): Promise<string> {
    const id = randomUUID()
    const sides = { buyer_user_id: buyer, seller_user_id: seller }
    await api.post('/v1/trades', { trades: [{ id, symbol: 'BTC/USDT', ...sides, price: '1', quantity: '1' }] })
    await vi.waitFor(async () => {
      expect((await api.get(`/v1/trades/${id}`)).body.trade.settlement_status).not.toBe('PENDING')
    })
    return id
  }

  const idsIn = ({ body }: Answer): readonly string[] => body.trades.map(({ id }: { readonly id: string }) => id)

  test('sees its own trades, and no other', async () => {
    expect(idsIn(await get('/v1/trades', key))).toEqual([mine])
    expect(idsIn(await get(`/v1/trades?user_id=${other}`, key))).toEqual([])
    expect(idsIn(await get(`/v1/trades?user_id=${other},${me}`, key))).toEqual([mine])
    expect((await get(`/v1/trades/${mine}`, key)).status).toBe(200)
    const hidden = await get(`/v1/trades/${theirs}`, key)
    const unknown = await get(`/v1/trades/${randomUUID()}`, key)
    expect([hidden.status, hidden.body]).toEqual([404, unknown.body])
  })

  test('sees its own balance and entries, and no other', async () => {
    expect(await get(`/v1/balances/${me}/BTC`, key)).toMatchObject({ status: 200, body: { total: '101' } })
    expect((await get(`/v1/balances/${me.toUpperCase()}/BTC`, key)).status).toBe(200)
    const hidden = await get(`/v1/balances/${other}/BTC`, key)
    const unknown = await get(`/v1/balances/${randomUUID()}/BTC`, key)
    expect([hidden.status, hidden.body]).toEqual([404, unknown.body])
    const own = await get(`/v1/entries?user_id=${me}&currency=BTC`, key)
    expect(own.body.entries.map(({ amount }: Record<string, string>) => amount)).toEqual(['100', '1'])
    expect((await get(`/v1/entries?user_id=${other}&currency=BTC`, key)).body).toEqual({
      entries: [],
      next_cursor: null,
    })
    const byTrade = await get(`/v1/entries?trade_id=${mine}`, key)
    expect(byTrade).toMatchObject({ status: 403, body: { detail: expect.stringContaining('user_id and currency') } })
  })
})

describe('no secret', () => {
  test('stands in a log or an answer, whatever goes wrong', async () => {
    const lines: string[] = []
    const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) })
    const away = Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' })
    const failing = { ...createAccessStore(db.database), holdersOf: () => Promise.reject(away) }
    const keys = createKeyServices(failing, createVirtualClock())
    const app = createServer({
      authenticate,
      keys,
      log,
      notReady: async () => [],
      version: '0',
      trades: null,
      wallet: null,
    })
    const { key } = await make({ role: 'viewer' })
    const answers = [
      await get('/v1/admin/audit-log', key, app),
      await get(`/v1/${key}`, key, app),
      await get(KEYS, `${key}x`, app),
      await call(app, { method: 'POST', url: KEYS, headers: withKey('admin-key'), payload: { role: key } }),
      await call(app, {
        method: 'POST',
        url: KEYS,
        headers: { ...withKey('admin-key'), 'content-type': 'application/json' },
        payload: `{"role":"${key}`,
      }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([503, 404, 401, 400, 400])
    expect(lines.length).toBeGreaterThan(0)
    for (const secret of [key.slice(3), 'admin-key']) {
      expect(JSON.stringify(answers), 'an answer').not.toContain(secret)
      expect(lines.join('')).not.toContain(secret)
    }
    await app.close()
  })
})
