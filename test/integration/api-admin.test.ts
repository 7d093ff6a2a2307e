import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, bearer, call, createTestApi, type TestApi } from '../support/api.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'

type Body = Readonly<Record<'leg' | 'state' | 'trade_id', unknown>>

const LETTERS = '/v1/admin/dead-letters'
const DEADLINE_MS = 20_000

let db: TestDatabase
let api: TestApi

beforeAll(async () => {
  db = await createTestDatabase()
  api = await createTestApi(db.database, 'saga')
})
afterAll(async () => {
  await api?.close()
  await db?.drop()
})

async function deposit(userId: string, currency: string, amount: string): Promise<void> {
  const body = { user_id: userId, currency, amount, reason: 'DEPOSIT' }
  expect((await api.post('/v1/credits', body, { 'idempotency-key': randomUUID() })).status).toBe(201)
}

async function until<Found>(find: () => Promise<Found | null>): Promise<Found> {
  const untilMs = Date.now() + DEADLINE_MS
  for (;;) {
    const found = await find()
    if (found !== null) return found
    if (Date.now() > untilMs) throw new Error('waited in vain')
    await sleep(5)
  }
}

const statusOf = async (id: string): Promise<string> => (await api.get(`/v1/trades/${id}`)).body.trade.settlement_status
const ended = (id: string): Promise<string> =>
  until(async () => {
    const status = await statusOf(id)
    return status === 'PENDING' ? null : status
  })

async function take(ids: readonly string[], buyer: string, seller: string): Promise<void> {
  const trades = ids.map(id => ({
    id,
    symbol: 'BTC/USDT',
    buyer_user_id: buyer,
    seller_user_id: seller,
    price: '50000',
    quantity: '1',
    buyer_fee: '25',
    seller_fee: '50',
  }))
  expect((await api.post('/v1/trades', { trades })).status).toBe(202)
}

/** A trade whose buyer has nothing. */
async function failedTrade(): Promise<{ readonly id: string; readonly buyer: string }> {
  const [id, buyer, seller] = [randomUUID(), randomUUID(), randomUUID()]
  await deposit(seller, 'BTC', '1')
  await take([id], buyer, seller)
  expect(await ended(id)).toBe('SETTLEMENT_FAILED')
  return { id, buyer }
}

const codeOf = ({ status, body }: Answer): unknown => [status, body.code]

describe('F-4 dead letters over HTTP', () => {
  test('a letter for want of funds is listed and shown; after a deposit its retry settles the trade', async () => {
    const { id, buyer } = await failedTrade()
    const { body } = await api.get(`${LETTERS}/${id}`, 'viewer')
    expect(body.dead_letter).toMatchObject({
      trade_id: id,
      symbol: 'BTC/USDT',
      kind: 'settlement',
      code: 'INSUFFICIENT_BALANCE',
      attempts: 1,
      rollback: 'not_needed',
      owed: [],
      status: 'open',
      resolution: null,
      resolved_by: null,
      note: null,
      epoch: 0,
    })
    expect(body.dead_letter.legs.map(({ leg, state }: Body) => [leg, state])).toEqual([
      ['buyer-debit', 'refused'],
      ['buyer-credit', 'waiting'],
      ['seller-debit', 'waiting'],
      ['seller-credit', 'waiting'],
      ['fee', 'waiting'],
    ])
    const listed = await api.get(`${LETTERS}?kind=settlement&code=INSUFFICIENT_BALANCE&status=open&rollback=not_needed`)
    expect(listed.body.dead_letters.map((letter: Body) => letter.trade_id)).toContain(id)

    await deposit(buyer, 'USDT', '50025')
    const retried = await api.post(`${LETTERS}/${id}/retry`, { reason: 'the deposit has come' })
    expect(retried.status).toBe(202)
    expect(retried.body.dead_letter).toMatchObject({ trade_id: id, status: 'retrying', epoch: 1 })
    expect(await ended(id)).toBe('SETTLED')
    const after = await api.get(`${LETTERS}/${id}`)
    expect(after.body.dead_letter).toMatchObject({ status: 'resolved', resolution: 'retried', resolved_by: 'operator' })
    expect(codeOf(await api.post(`${LETTERS}/${id}/retry`, {}))).toEqual([409, 'NOT_RETRYABLE'])
    const log = await api.get(`/v1/admin/audit-log?trade_id=${id}`)
    expect(log.body.entries).toMatchObject([
      { actor: 'operator', action: 'retry', reason: 'the deposit has come', trades: 1, at: expect.any(String) },
    ])
  })

  test('a retry needs no body, an id in capitals is the same, and what is settled is NOT_RETRYABLE', async () => {
    const { id } = await failedTrade()
    const headers = bearer('operator')
    const answer = await call(api.app, { method: 'POST', url: `${LETTERS}/${id.toUpperCase()}/retry`, headers })
    expect(answer.status).toBe(202)
    await ended(id)

    const [settled, buyer, seller] = [randomUUID(), randomUUID(), randomUUID()]
    await deposit(seller, 'BTC', '1')
    await deposit(buyer, 'USDT', '60000')
    await take([settled], buyer, seller)
    expect(await ended(settled)).toBe('SETTLED')
    expect(codeOf(await api.post(`${LETTERS}/${settled}/retry`, {}))).toEqual([409, 'NOT_RETRYABLE'])
    expect(codeOf(await api.get(`${LETTERS}/${settled}`))).toEqual([404, 'NOT_FOUND'])
    for (const unknown of [randomUUID(), 'not-an-id']) {
      expect(codeOf(await api.get(`${LETTERS}/${unknown}`))).toEqual([404, 'NOT_FOUND'])
      expect(codeOf(await api.post(`${LETTERS}/${unknown}/retry`, {}))).toEqual([404, 'NOT_FOUND'])
    }
  })

  test('resolving needs a resolution, a note and a reason, and is told in the letter for ever', async () => {
    const { id } = await failedTrade()
    const whole = { resolution: 'settled_elsewhere', note: 'by hand, ticket 7', reason: 'ticket 7' }
    for (const field of ['resolution', 'note', 'reason']) {
      const answer = await api.post(`${LETTERS}/${id}/resolve`, { ...whole, [field]: undefined })
      expect(codeOf(answer)).toEqual([400, 'INVALID_REQUEST'])
      expect(answer.body.errors).toMatchObject([{ pointer: `/${field}` }])
    }
    expect(codeOf(await api.post(`${LETTERS}/${id}/resolve`, { ...whole, resolution: 'retried' }))).toEqual([
      400,
      'INVALID_REQUEST',
    ])
    const resolved = await api.post(`${LETTERS}/${id}/resolve`, whole)
    expect(resolved.status).toBe(200)
    const { reason: _reason, ...kept } = whole
    expect(resolved.body.dead_letter).toMatchObject({ status: 'resolved', ...kept, resolved_by: 'operator' })
    expect((await api.get(`${LETTERS}/${id}`)).body).toEqual(resolved.body)
    expect(await statusOf(id)).toBe('SETTLEMENT_FAILED')
    expect(codeOf(await api.post(`${LETTERS}/${id}/resolve`, whole))).toEqual([409, 'NOT_RESOLVABLE'])
    expect(codeOf(await api.post(`${LETTERS}/${id}/retry`, {}))).toEqual([409, 'NOT_RETRYABLE'])
  })

  test('a text that no database keeps is 400, and a call that says JSON and brings none is a call without', async () => {
    const { id } = await failedTrade()
    for (const text of ['\u0000', 'a\u0000b', '\ud800', 'x'.repeat(1001), '']) {
      const resolve = { resolution: 'written_off', note: text, reason: 'why' }
      for (const answer of [
        await api.post(`${LETTERS}/${id}/resolve`, resolve),
        await api.post(`${LETTERS}/${id}/retry`, { reason: text }),
        await api.post(`${LETTERS}/retry`, { dry_run: true, code: text }),
        await api.post('/v1/admin/settlement/pause', { reason: text }),
      ]) {
        expect(codeOf(answer), JSON.stringify(text)).toEqual([400, 'INVALID_REQUEST'])
      }
    }
    expect(codeOf(await api.get(`${LETTERS}?code=%00`))).toEqual([400, 'INVALID_REQUEST'])
    const headers = { ...bearer('operator'), 'content-type': 'application/json' }
    const url = `${LETTERS}/${id}/retry`
    expect((await call(api.app, { method: 'POST', url, headers, payload: '' })).status).toBe(202)
    const body = await call(api.app, { method: 'POST', url: `${LETTERS}/${id}/resolve`, headers, payload: '' })
    expect(codeOf(body)).toEqual([400, 'INVALID_REQUEST'])
  })

  test('the same Idempotency-Key is answered as the first time; with another content it is refused', async () => {
    const { id } = await failedTrade()
    const key = { 'idempotency-key': randomUUID() }
    const first = await api.post(`${LETTERS}/${id}/retry`, { reason: 'again' }, key)
    expect(first.status).toBe(202)
    await ended(id)
    const again = await api.post(`${LETTERS}/${id}/retry`, { reason: 'again' }, key)
    expect(again.body).toEqual(first.body)
    expect([again.status, again.headers['idempotent-replayed']]).toEqual([202, 'true'])
    const other = await api.post(`${LETTERS}/${id}/retry`, { reason: 'other' }, key)
    expect(codeOf(other)).toEqual([422, 'IDEMPOTENCY_KEY_REUSED'])
  })

  test('viewers read and operators change; traders do neither', async () => {
    const { id } = await failedTrade()
    const post = (url: string, role: 'viewer' | 'trader') =>
      call(api.app, { method: 'POST', url, headers: bearer(role), payload: { reason: 'x' } })
    for (const path of [LETTERS, `${LETTERS}/${id}`, '/v1/admin/status', '/v1/admin/audit-log']) {
      expect((await api.get(path, 'viewer')).status).toBe(200)
      expect(codeOf(await api.get(path, 'trader'))).toEqual([403, 'FORBIDDEN'])
    }
    for (const path of [`${LETTERS}/${id}/retry`, `${LETTERS}/retry`, '/v1/admin/settlement/pause']) {
      expect((await post(path, 'viewer')).status).toBe(403)
      expect((await post(path, 'trader')).status).toBe(403)
    }
  })

  test.each([
    ['kind=money', '/kind'],
    ['status=closed', '/status'],
    ['rollback=running', '/rollback'],
    ['cursor=nonsense', '/cursor'],
    ['color=red', '/color'],
  ])('a list of %s is refused with a pointer', async (query, pointer) => {
    const answer = await api.get(`${LETTERS}?${query}`)
    expect(codeOf(answer)).toEqual([400, 'INVALID_REQUEST'])
    expect(answer.body.errors).toMatchObject([{ pointer }])
  })
})

describe('F-4 many at once over HTTP', () => {
  test('all that match are retried; how far it is and what came of each can be read', async () => {
    const [buyer, seller] = [randomUUID(), randomUUID()]
    const ids = Array.from({ length: 30 }, () => randomUUID())
    await take(ids, buyer, seller)
    for (const id of ids) await ended(id)
    await deposit(buyer, 'USDT', String(50_025 * 30))
    await deposit(seller, 'BTC', '29')

    const filter = { code: 'INSUFFICIENT_BALANCE', status: 'open' }
    const open = (await api.get(`${LETTERS}?code=INSUFFICIENT_BALANCE&status=open&limit=1000`)).body.dead_letters.length
    const dry = await api.post(`${LETTERS}/retry`, { ...filter, dry_run: true })
    expect(dry.status).toBe(200)
    expect(dry.body.bulk_retry).toMatchObject({ id: null, dry_run: true, count: open })
    expect(codeOf(await api.post(`${LETTERS}/retry`, filter))).toEqual([400, 'INVALID_REQUEST'])

    const begun = await api.post(`${LETTERS}/retry`, { ...filter, rate: 1000, reason: 'funded' })
    expect(begun.status).toBe(202)
    expect(begun.body.bulk_retry).toMatchObject({ dry_run: false, count: open, retrying: open, status: 'running' })
    const path = `/v1/admin/bulk-retries/${begun.body.bulk_retry.id}`
    const done = await until(async () => {
      const { bulk_retry } = (await api.get(path, 'viewer')).body
      return bulk_retry.status === 'done' ? bulk_retry : null
    })
    // One of the thirty finds the seller without a coin.
    expect(done).toMatchObject({ retrying: 0, settled: 29, failed: open - 29, collected: 0 })
    const settled = await api.get(`${path}/items?result=settled&limit=20`)
    const rest = await api.get(`${path}/items?result=settled&limit=20&cursor=${settled.body.next_cursor}`)
    const shown = [...settled.body.items, ...rest.body.items].map((item: Body) => String(item.trade_id))
    expect(new Set(shown).size).toBe(29)
    expect(ids).toEqual(expect.arrayContaining(shown))
    expect(rest.body.next_cursor).toBeNull()
    const failed = await api.get(`${path}/items?result=failed`)
    expect(failed.body.items[0]).toMatchObject({ result: 'failed', code: 'INSUFFICIENT_BALANCE' })
    const unknown = `/v1/admin/bulk-retries/${randomUUID()}`
    expect(codeOf(await api.get(unknown))).toEqual([404, 'NOT_FOUND'])
    expect(codeOf(await api.get(`${unknown}/items`))).toEqual([404, 'NOT_FOUND'])
  })
})

describe('S-6 the switch and the status', () => {
  test('paused, trades are taken and wait; resumed, they settle', async () => {
    const pause = await api.post('/v1/admin/settlement/pause', { reason: 'maintenance' })
    expect([pause.status, pause.body]).toEqual([200, { settlement: { paused: true } }])
    const before = (await api.get('/v1/admin/status')).body
    const [id, buyer, seller] = [randomUUID(), randomUUID(), randomUUID()]
    await deposit(seller, 'BTC', '1')
    await deposit(buyer, 'USDT', '60000')
    await take([id], buyer, seller)
    await sleep(100)
    expect(await statusOf(id)).toBe('PENDING')
    const during = (await api.get('/v1/admin/status')).body
    expect(during).toMatchObject({ paused: true, pending: before.pending + 1, in_flight: 0 })
    expect(during.oldest_pending_seconds).toBeGreaterThan(0.05)
    expect((await api.post('/v1/admin/settlement/resume', {})).body).toEqual({ settlement: { paused: false } })
    expect(await ended(id)).toBe('SETTLED')
  })

  test('what another process pauses is paused here within a poll', async () => {
    await db.database.query('update settlement_switch set paused = true')
    await sleep(200)
    const { id } = { id: randomUUID() }
    await take([id], randomUUID(), randomUUID())
    await sleep(100)
    expect(await statusOf(id)).toBe('PENDING')
    await db.database.query('update settlement_switch set paused = false')
    expect(await ended(id)).toBe('SETTLEMENT_FAILED')
  })

  test('the status has everything, and its counts are those of the trades', async () => {
    const { body } = await api.get('/v1/admin/status', 'viewer')
    expect(body).toEqual({
      queue: { depth: 0, capacity: 1000 },
      workers: { busy: 0, total: 10, utilization: 0 },
      in_flight: 0,
      pending: 0,
      oldest_pending_seconds: null,
      settled: expect.any(Number),
      failed: expect.any(Number),
      retries: expect.any(Number),
      dead_letters: expect.any(Number),
      incomplete_rollbacks: 0,
      owed_fees: [],
      paused: false,
      wallet: { url: null, level: 'settlements', circuit: 'closed' },
      orders: { has_books: true, refused_for_funds: 0 },
      per_second: { settled: expect.any(Number), failed: expect.any(Number) },
      latency_ms: { p50: expect.any(Number), p99: expect.any(Number) },
    })
    const { rows } = await db.database.query(`
      select count(*) filter (where settlement_status = 'SETTLED') as settled,
        count(*) filter (where settlement_status = 'SETTLEMENT_FAILED') as failed,
        (select count(*) from dead_letters where status = 'open') as dead_letters
      from trades`)
    const counted = Object.entries(rows[0]).map(([name, count]) => [name, Number(count)])
    expect(body).toMatchObject(Object.fromEntries(counted))
  })
})
