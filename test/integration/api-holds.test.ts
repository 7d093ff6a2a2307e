import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createServer } from '../../src/api/server.ts'
import { systemClock } from '../../src/clock.ts'
import { createLogger } from '../../src/log.ts'
import { createMemoryWallet } from '../../src/wallet/memory-wallet.ts'
import { type Answer, authenticate, bearer, call, createTestApi, type TestApi } from '../support/api.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { ASSETS, FEES } from '../support/trades.ts'

type Body = Record<string, unknown>

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

async function funded(amount = '100', currency = 'USDT'): Promise<string> {
  const user_id = randomUUID()
  const body = { user_id, currency, amount, reason: 'DEPOSIT' }
  expect((await api.post('/v1/credits', body, { 'idempotency-key': randomUUID() })).status).toBe(201)
  return user_id
}

function place(user_id: string, amount: string, key: string = randomUUID(), more: Body = {}): Promise<Answer> {
  return api.post('/v1/holds', { user_id, currency: 'USDT', amount, ...more }, { 'idempotency-key': key })
}

async function held(user_id: string, amount: string): Promise<string> {
  const answer = await place(user_id, amount)
  expect(answer.status).toBe(201)
  return answer.body.key
}

function release(body: Body, key: string = randomUUID()): Promise<Answer> {
  return api.post('/v1/holds/release', body, { 'idempotency-key': key })
}

function debit(user_id: string, amount: string, hold: string): Promise<Answer> {
  const body = { user_id, currency: 'USDT', amount, reason: 'TRADE_SETTLEMENT', trade_id: randomUUID(), hold }
  return api.post('/v1/debits', body, { 'idempotency-key': randomUUID() })
}

/** Available, held and total. */
async function balances(user: string): Promise<readonly string[]> {
  const { body } = await api.get(`/v1/balances/${user}/USDT`)
  return [body.available, body.held, body.total]
}

test('a hold is answered to the letter, and again as a replay', async () => {
  const user = await funded()
  const key = `order 7 ${randomUUID()}`
  const first = await place(user.toUpperCase(), '030.50', key)
  expect(first).toMatchObject({ status: 201 })
  const hold = { key, user_id: user, currency: 'USDT', amount: '30.5', remaining: '30.5', status: 'open' }
  expect(first.body).toEqual({ ...hold, replayed: false })
  const again = await place(user, '30.5', key)
  expect(again).toMatchObject({ status: 200, headers: { 'idempotent-replayed': 'true' } })
  expect(again.body).toEqual({ ...hold, replayed: true })
  expect(await balances(user)).toEqual(['69.5', '30.5', '100'])
  expect(await place(user, '30.6', key)).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_KEY_REUSED' } })
})

test('a hundred holds at once on a balance that covers three: three are taken, 97 say what there is', async () => {
  const user = await funded()
  const answers = await Promise.all(Array.from({ length: 100 }, () => place(user, '30.5')))
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(3)
  const refused = answers.filter(({ status }) => status !== 201)
  expect(refused).toHaveLength(97)
  for (const answer of refused) {
    expect(answer).toMatchObject({
      status: 422,
      body: { code: 'INSUFFICIENT_BALANCE', available: '8.5', required: '30.5', currency: 'USDT' },
    })
  }
  expect(await balances(user)).toEqual(['8.5', '91.5', '100'])
})

test('a release gives back a part, then the rest; its key is the one in the header', async () => {
  const user = await funded()
  const hold = await held(user, '30')
  const key = randomUUID()
  const state = { key: hold, user_id: user, currency: 'USDT', amount: '30' }
  const part = await release({ key: hold, amount: '12.00' }, key)
  expect(part).toMatchObject({ status: 200 })
  expect(part.body).toEqual({ ...state, remaining: '18', status: 'open', replayed: false })
  expect((await release({ key: hold })).body).toEqual({ ...state, remaining: '0', status: 'closed', replayed: false })
  const again = await release({ key: hold, amount: '12' }, key)
  expect(again).toMatchObject({ status: 200, headers: { 'idempotent-replayed': 'true' } })
  expect(again.body).toEqual({ ...state, remaining: '18', status: 'open', replayed: true })
  expect(await release({ key: hold }, key)).toMatchObject({ body: { code: 'IDEMPOTENCY_KEY_REUSED' } })
  expect(await balances(user)).toEqual(['100', '0', '100'])
})

test('a release of more than remains says how much does; of what is not there, that', async () => {
  const user = await funded()
  const hold = await held(user, '30')
  await debit(user, '10', hold)
  expect(await release({ key: hold, amount: '20.00000001' })).toMatchObject({
    status: 422,
    body: { code: 'HOLD_EXCEEDED', available: '20', required: '20.00000001', currency: 'USDT' },
  })
  expect(await release({ key: randomUUID() })).toMatchObject({ status: 422, body: { code: 'HOLD_NOT_FOUND' } })
  expect(await release({ key: randomUUID(), amount: '0.000000000000000001' })).toMatchObject({
    body: { code: 'HOLD_NOT_FOUND' },
  })
})

test('debits draw on their hold: single, in a batch, in a settlement', async () => {
  const [user, other] = [await funded(), await funded()]
  const hold = await held(user, '60')
  expect(await debit(user, '10', hold)).toMatchObject({ status: 201, body: { balance_after: '90' } })
  expect(await balances(user)).toEqual(['40', '50', '90'])
  expect(await debit(other, '1', hold)).toMatchObject({ status: 422, body: { code: 'HOLD_NOT_FOUND' } })
  expect(await debit(user, '90.5', hold)).toMatchObject({
    body: { code: 'INSUFFICIENT_BALANCE', available: '40', required: '40.5' },
  })

  const trade_id = randomUUID()
  const moved = { user_id: user, currency: 'USDT', reason: 'TRADE_SETTLEMENT' }
  const [one, two] = [randomUUID(), randomUUID()]
  const batch = await api.post('/v1/batch', {
    operations: [
      { ...moved, type: 'debit', key: one, amount: '10', trade_id, hold },
      { ...moved, type: 'debit', key: two, amount: '10', trade_id, hold: 'nowhere' },
      { ...moved, type: 'credit', key: randomUUID(), amount: '10', trade_id, hold },
      { ...moved, type: 'debit', key: randomUUID(), amount: '10', trade_id, hold: 7 },
      { type: 'reversal', key: one },
    ],
  })
  expect(
    batch.body.results.map((each: { status: string; problem?: Body }) => each.problem?.['code'] ?? each.status),
  ).toEqual(['applied', 'HOLD_NOT_FOUND', 'INVALID_REQUEST', 'INVALID_REQUEST', 'reversed'])
  expect(await balances(user)).toEqual(['50', '40', '90'])

  const legs = (named: string): Body[] => [
    { ...moved, type: 'debit', amount: '45', hold: named },
    { ...moved, type: 'credit', amount: '45', user_id: other },
  ]
  const settled = await api.post('/v1/settlements', {
    settlements: [
      { key: randomUUID(), trade_id, legs: legs('nowhere') },
      { key: randomUUID(), trade_id, legs: legs(hold) },
    ],
  })
  expect(settled.body.results).toMatchObject([
    { status: 'refused', problem: { code: 'HOLD_NOT_FOUND', status: 422 } },
    { status: 'settled' },
  ])
  expect(await balances(user)).toEqual(['45', '0', '45'])
})

test('a hold is reversed by its key: what remains is available, and the key is refused from then on', async () => {
  const user = await funded()
  const hold = await held(user, '30')
  await debit(user, '10', hold)
  expect((await api.post('/v1/reversals', { key: hold })).body).toEqual({
    key: hold,
    status: 'reversed',
    replayed: false,
  })
  expect(await balances(user)).toEqual(['90', '0', '90'])
  expect(await place(user, '30', hold)).toMatchObject({ status: 409, body: { code: 'REVERSED' } })
  const late = randomUUID()
  expect((await api.post('/v1/reversals', { key: late })).body).toMatchObject({ status: 'cancelled' })
  expect(await place(user, '30', late)).toMatchObject({ status: 409, body: { code: 'REVERSED' } })
})

test('holds and releases are looked up by their keys', async () => {
  const user = await funded()
  const hold = await held(user, '30')
  const key = randomUUID()
  await release({ key: hold, amount: '5' }, key)
  await debit(user, '10', hold)
  const at = expect.stringMatching(/Z$/)
  const state = { trade_id: null, user_id: user, currency: 'USDT', amount: '30', replayed: false }
  expect((await api.get(`/v1/operations/${hold}`)).body).toEqual({
    ...state,
    ...{ key: hold, type: 'hold', remaining: '15', status: 'applied', applied_at: at },
  })
  expect((await api.get(`/v1/operations/${key}`)).body).toEqual({
    ...state,
    ...{ key, type: 'release', hold, remaining: '25', status: 'applied', applied_at: at },
  })
  const poor = randomUUID()
  const { body: problem } = await place(user, '300', poor)
  expect((await api.get(`/v1/operations/${poor}`)).body).toEqual({
    ...{ ...state, amount: '300' },
    ...{ key: poor, type: 'hold', remaining: '0', status: 'refused', problem },
  })
})

test('bad input changes nothing and says what is wrong with it', async () => {
  const user = await funded()
  const hold = await held(user, '30')
  const cases: readonly (readonly [string, Body, string])[] = [
    ['/v1/holds', { user_id: user, currency: 'USDT' }, 'INVALID_REQUEST'],
    ['/v1/holds', { user_id: 'me', currency: 'USDT', amount: '1' }, 'INVALID_REQUEST'],
    ['/v1/holds', { user_id: user, currency: 'usdt', amount: '1' }, 'INVALID_REQUEST'],
    ['/v1/holds', { user_id: user, currency: 'USDT', amount: '1', reason: 'DEPOSIT' }, 'INVALID_REQUEST'],
    ['/v1/holds', { user_id: user, currency: 'DOGE', amount: '1' }, 'UNKNOWN_CURRENCY'],
    ['/v1/holds/release', {}, 'INVALID_REQUEST'],
    ['/v1/holds/release', { key: '' }, 'INVALID_REQUEST'],
    ['/v1/holds/release', { key: 'a\0' }, 'INVALID_REQUEST'],
    ['/v1/holds/release', { key: hold, currency: 'USDT' }, 'INVALID_REQUEST'],
  ]
  for (const [path, body, code] of cases) {
    const answer = await api.post(path, body, { 'idempotency-key': randomUUID() })
    expect(answer, JSON.stringify(body)).toMatchObject({
      status: code === 'UNKNOWN_CURRENCY' ? 422 : 400,
      body: { code },
    })
  }
  const key = randomUUID()
  for (const amount of ['0', '-1', '1e3', '.5', '', '٣', '0.000000001', '9'.repeat(39), 5, null, []]) {
    for (const [path, body] of [
      ['/v1/holds', { user_id: user, currency: 'USDT', amount }],
      ['/v1/holds/release', { key: hold, amount }],
    ] as const) {
      const answer = await api.post(path, body, { 'idempotency-key': key })
      expect(answer, `${path} ${JSON.stringify(amount)}`).toMatchObject({
        status: 400,
        body: { code: 'INVALID_AMOUNT' },
      })
    }
  }
  expect((await api.get(`/v1/operations/${key}`)).status).toBe(404)
  for (const [path, body] of [
    ['/v1/holds', { user_id: user, currency: 'USDT', amount: '1' }],
    ['/v1/holds/release', { key: hold }],
  ] as const) {
    expect(await api.post(path, body)).toMatchObject({ status: 400, body: { code: 'IDEMPOTENCY_KEY_MISSING' } })
    expect((await api.post(path, body, { 'idempotency-key': 'x'.repeat(129) })).status).toBe(400)
    expect((await api.get(path)).status).toBe(404)
  }
  expect(await balances(user)).toEqual(['70', '30', '100'])
})

test('an amount released has no more places than the currency of the hold', async () => {
  const user = await funded('100', 'JPY')
  const key = randomUUID()
  expect((await place(user, '30', key, { currency: 'JPY' })).status).toBe(201)
  expect(await release({ key, amount: '0.5' })).toMatchObject({ status: 400, body: { code: 'INVALID_AMOUNT' } })
  expect((await release({ key, amount: '5.0' })).body).toMatchObject({ remaining: '25' })
})

test('a wallet without holds has no such calls, says so, and takes no debit that names one', async () => {
  const wallet = createMemoryWallet({ assets: ASSETS, clock: systemClock(), feeUserId: FEES, holds: false })
  const services = { wallet, assets: ASSETS }
  const log = createLogger('silent')
  const app = createServer({
    authenticate,
    notReady: async () => [],
    log,
    version: '0',
    trades: null,
    wallet: services,
  })
  const headers = { ...bearer('admin'), 'idempotency-key': 'key' }
  const post = (url: string, payload: object) => call(app, { method: 'POST', url, headers, payload })
  const account = { user_id: randomUUID(), currency: 'USDT', amount: '1' }
  expect((await call(app, { method: 'GET', url: '/v1/capabilities', headers })).body).toMatchObject({ holds: false })
  expect((await post('/v1/holds', account)).status).toBe(404)
  expect((await post('/v1/holds/release', { key: 'hold' })).status).toBe(404)
  expect(await post('/v1/debits', { ...account, reason: 'WITHDRAWAL', hold: 'hold' })).toMatchObject({
    status: 400,
    body: { code: 'INVALID_REQUEST' },
  })
  await app.close()
})

test('holds stand in the description of the API', async () => {
  const { body } = await api.get('/openapi.json')
  expect(Object.keys(body.paths)).toEqual(expect.arrayContaining(['/v1/holds', '/v1/holds/release']))
})
