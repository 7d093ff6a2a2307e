/** Orders and markets over HTTP, on the real desk, ledger and database. */
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Role } from '../../src/api/auth.ts'
import { verifyBooks } from '../../src/verify/verify.ts'
import { type Answer, bearer, call, createTestApi, type TestApi } from '../support/api.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/process.ts'
import { BUYER, SELLER } from '../support/trades.ts'

type Json = ReturnType<typeof JSON.parse>

let db: TestDatabase
let api: TestApi

beforeEach(async () => {
  db = await createTestDatabase()
  api = await createTestApi(db.database, 'atomic')
  await deposit(BUYER, 'USDT', '1000000')
  await deposit(SELLER, 'BTC', '100')
})
afterEach(async () => {
  await api.close()
  const { breaks, examples } = await verifyBooks(db.database)
  await db.drop()
  expect({ breaks, examples }).toEqual({ breaks: 0, examples: [] })
})

async function deposit(userId: string, currency: string, amount: string): Promise<void> {
  const body = { user_id: userId, currency, amount, reason: 'DEPOSIT' }
  const { status } = await api.post('/v1/credits', body, { 'idempotency-key': `${userId} ${currency}` })
  expect(status).toBe(201)
}

function ask(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', url: string, payload?: unknown, role: Role = 'operator') {
  const body = payload === undefined ? {} : { payload: payload as object }
  return call(api.app, { method, url, headers: bearer(role), ...body })
}

const purchase = (change: object = {}): Json => ({
  ...{ user_id: BUYER, symbol: 'BTC/USDT', side: 'buy', type: 'limit', price: '50000', quantity: '0.5' },
  ...change,
})
const sale = (change: object = {}): Json => purchase({ user_id: SELLER, side: 'sell', ...change })
const place = (order: Json, role: Role = 'operator') => ask('POST', '/v1/orders', order, role)

async function placed(order: Json): Promise<Json> {
  const { status, body } = await place(order)
  expect([status, body]).toEqual([201, expect.anything()])
  return body
}

/** Status, code and pointers of a problem. */
function problemOf({ status, headers, body }: Answer) {
  expect(headers['content-type']).toContain('application/problem+json')
  expect(body).toMatchObject({ status, title: expect.any(String), detail: expect.any(String) })
  return [status, body.code, ...(body.errors ?? []).map((each: Json) => each.pointer)]
}

const UUID = expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/)
const TIME = expect.stringMatching(/^20.*Z$/)

describe('an order that is placed', () => {
  test('is answered with all of it, and with the trades it took', async () => {
    const { order: first } = await placed(sale({ quantity: '0.2', client_order_id: 'sale-1' }))
    const answer = await place(purchase({ quantity: '0.500', price: '50000.00', client_order_id: 'mine-1' }))
    expect(answer.status).toBe(201)
    expect(answer.body).toEqual({
      order: {
        ...{ id: UUID, user_id: BUYER, client_order_id: 'mine-1', symbol: 'BTC/USDT', side: 'buy', type: 'limit' },
        ...{ price: '50000', quantity: '0.5', quote_quantity: null, filled_quantity: '0.2' },
        ...{ filled_quote_quantity: '10000', remaining_quantity: '0.3', fee: '10', time_in_force: 'GTC' },
        ...{ post_only: false, self_trade_prevention: 'expire_taker', status: 'partially_filled' },
        ...{ created_at: TIME, updated_at: TIME },
      },
      trades: [
        {
          ...{ id: UUID, symbol: 'BTC/USDT', price: '50000', quantity: '0.2', notional: '10000' },
          ...{ maker_order_id: first.id, taker_order_id: answer.body.order.id },
          ...{ buyer_order_id: answer.body.order.id, seller_order_id: first.id },
          ...{ buyer_user_id: BUYER, seller_user_id: SELLER, buyer_fee: '10', seller_fee: '5' },
          ...{ buyer_fee_rate: '0.001', seller_fee_rate: '0.0005', is_buyer_maker: false },
          ...{ settlement_status: 'PENDING', settled_at: null, settlement_retry_count: 0, failure_reason: null },
          executed_at: TIME,
        },
      ],
    })
    const [trade] = answer.body.trades
    await until('the trade is settled', async () => {
      const { body } = await api.get(`/v1/trades/${trade.id}`)
      return body.trade.settlement_status === 'SETTLED'
    })
    const { order: sold } = (await ask('GET', `/v1/orders/${first.id.toUpperCase()}`)).body
    expect(sold).toMatchObject({ status: 'filled', filled_quantity: '0.2', remaining_quantity: '0', fee: '5' })
    const balance = await api.get(`/v1/balances/${BUYER}/USDT`)
    expect(balance.body).toMatchObject({ total: '989990', held: '15015' })
  })

  test('as a trader’s needs no user, and may name no other', async () => {
    const { user_id: _, ...own } = purchase()
    expect((await place(own, 'trader')).body).toMatchObject({ order: { user_id: BUYER, status: 'open' } })
    expect((await place(purchase({ user_id: BUYER.toUpperCase() }), 'trader')).status).toBe(201)
    expect(problemOf(await place(sale(), 'trader'))).toEqual([403, 'FORBIDDEN'])
    expect(problemOf(await place(purchase(), 'viewer'))).toEqual([403, 'FORBIDDEN'])
    expect(problemOf(await place(own, 'operator'))).toEqual([400, 'INVALID_REQUEST', '/user_id'])
    expect((await place(sale(), 'admin')).status).toBe(201)
  })

  test('that expires is taken: what is IOC or at the market and finds nothing, and FOK that can not be filled', async () => {
    await placed(sale({ quantity: '0.2' }))
    for (const [change, expected] of [
      [{ time_in_force: 'FOK' }, { status: 'expired', filled_quantity: '0', remaining_quantity: '0.5' }],
      [
        { time_in_force: 'IOC', price: '49999.99' },
        { status: 'expired', filled_quantity: '0' },
      ],
      [{ time_in_force: 'IOC' }, { status: 'expired', filled_quantity: '0.2', remaining_quantity: '0.3' }],
      [
        { type: 'market', price: undefined },
        { status: 'expired', filled_quantity: '0', price: null },
      ],
      [
        { type: 'market', price: undefined, quantity: undefined, quote_quantity: '100', time_in_force: 'IOC' },
        { status: 'expired', quantity: null, remaining_quantity: null, quote_quantity: '100' },
      ],
    ]) {
      const { order, trades } = await placed(purchase(change))
      expect(order).toMatchObject(expected as object)
      expect(trades).toHaveLength(order.filled_quantity === '0' ? 0 : 1)
    }
  })

  test('does not trade with its own user’s', async () => {
    await deposit(BUYER, 'BTC', '1')
    const { order } = await placed(purchase({ side: 'sell' }))
    const taken = await placed(purchase())
    expect(taken).toMatchObject({ order: { status: 'expired', filled_quantity: '0' }, trades: [] })
    expect((await ask('GET', `/v1/orders/${order.id}`)).body.order.status).toBe('open')
    const other = await placed(purchase({ self_trade_prevention: 'expire_maker' }))
    expect(other).toMatchObject({ order: { status: 'open', self_trade_prevention: 'expire_maker' }, trades: [] })
    expect((await ask('GET', `/v1/orders/${order.id}`)).body.order.status).toBe('expired')
  })
})

describe('an order that is refused', () => {
  test('for what is wrong with the request is 400, with a pointer to each fault', async () => {
    const { side: _, ...sideless } = purchase()
    for (const [order, ...pointers] of [
      [purchase({ price: 50_000 }), '/price'],
      [purchase({ price: '5e4', quantity: '.5' }), '/price', '/quantity'],
      [purchase({ quantity: null }), '/quantity'],
      [purchase({ user_id: 'me' }), '/user_id'],
      [purchase({ client_order_id: '' }), '/client_order_id'],
      [purchase({ client_order_id: 'x'.repeat(65) }), '/client_order_id'],
      [purchase({ client_order_id: 'ä' }), '/client_order_id'],
      [purchase({ side: 'BUY' }), '/side'],
      [purchase({ type: 'stop' }), '/type'],
      [purchase({ time_in_force: 'GTD' }), '/time_in_force'],
      [purchase({ post_only: 'yes' }), '/post_only'],
      [purchase({ self_trade_prevention: 'off' }), '/self_trade_prevention'],
      [purchase({ stop_price: '1' }), '/stop_price'],
      [sideless, '/side'],
      [purchase({ price: undefined }), '/price'],
      [purchase({ quantity: undefined }), '/quantity'],
      [purchase({ quote_quantity: '5' }), '/quote_quantity'],
      [purchase({ type: 'market' }), '/price'],
      [purchase({ type: 'market', price: undefined, quantity: undefined }), '/quantity'],
      [purchase({ type: 'market', price: undefined, time_in_force: 'GTC' }), '/time_in_force'],
      [purchase({ type: 'market', price: undefined, post_only: true }), '/post_only'],
      [purchase({ post_only: true, time_in_force: 'IOC' }), '/post_only'],
      [sale({ type: 'market', price: undefined, quantity: undefined, quote_quantity: '5' }), '/quote_quantity'],
      [purchase({ user_id: undefined, price: undefined, quantity: undefined }), '/user_id', '/price', '/quantity'],
      [purchase({ type: 'market', post_only: true, time_in_force: 'FOK' }), '/price', '/post_only', '/time_in_force'],
    ]) {
      expect(problemOf(await place(order)), JSON.stringify(order)).toEqual([400, 'INVALID_REQUEST', ...pointers])
    }
    const text = await call(api.app, {
      ...{ method: 'POST', url: '/v1/orders', payload: '{"side":' },
      headers: { ...bearer('operator'), 'content-type': 'application/json' },
    })
    expect(problemOf(text)).toEqual([400, 'INVALID_REQUEST', ''])
    const orders = [purchase(), purchase({ price: undefined, quantity: undefined }), purchase({ user_id: undefined })]
    const pointers = ['/orders/1/price', '/orders/1/quantity', '/orders/2/user_id']
    const batch = await ask('POST', '/v1/orders/batch', { orders })
    expect(problemOf(batch)).toEqual([400, 'INVALID_REQUEST', ...pointers])
  })

  test('for what is not acceptable is 422 with the code', async () => {
    for (const [change, code, ...pointers] of [
      [{ symbol: 'BTC/EUR' }, 'UNKNOWN_SYMBOL'],
      [{ symbol: 'BTC-USDT' }, 'UNKNOWN_SYMBOL'],
      [{ price: '0' }, 'INVALID_PRICE', '/price'],
      [{ price: '-1' }, 'INVALID_PRICE', '/price'],
      [{ price: '9'.repeat(39) }, 'INVALID_PRICE', '/price'],
      [{ price: '50000.001' }, 'PRICE_TICK', '/price'],
      [{ quantity: '0.000' }, 'INVALID_QUANTITY', '/quantity'],
      [{ quantity: '-0.5' }, 'INVALID_QUANTITY', '/quantity'],
      [{ quantity: '1'.repeat(200) }, 'INVALID_QUANTITY', '/quantity'],
      [{ quantity: '0.000001' }, 'LOT_SIZE', '/quantity'],
      [{ quantity: '0.0000000001' }, 'LOT_SIZE', '/quantity'],
    ]) {
      const answer = await place(purchase(change as object))
      expect(problemOf(answer), JSON.stringify(change)).toEqual([422, code, ...pointers])
    }
  })

  test('F-1 for want of funds says what is available and what is required', async () => {
    const answer = await place(purchase({ quantity: '20' }))
    expect(problemOf(answer)).toEqual([422, 'INSUFFICIENT_BALANCE'])
    expect(answer.body).toMatchObject({ currency: 'USDT', available: '1000000', required: '1001000' })
    const sold = await place(sale({ quantity: '100.5' }))
    expect(sold.body).toMatchObject({ currency: 'BTC', available: '100', required: '100.5' })
    const nobody = await place(purchase({ user_id: randomUUID() }))
    expect(nobody.body).toMatchObject({ currency: 'USDT', available: '0', required: '25025' })
    const { body } = await api.get('/v1/admin/status')
    expect(body.orders).toEqual({ has_books: true, refused_for_funds: 3 })
  })

  test('since it is post-only and would trade at once', async () => {
    await placed(sale())
    expect(problemOf(await place(purchase({ post_only: true })))).toEqual([422, 'POST_ONLY_WOULD_CROSS'])
    expect((await placed(purchase({ post_only: true, price: '49999.99' }))).order).toMatchObject({ post_only: true })
  })
})

describe('a client order id', () => {
  test('however often at once: one order, and each is told of it', async () => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, at) =>
        place(purchase({ client_order_id: 'once ~!', price: at % 2 === 0 ? '50000' : '50000.00' })),
      ),
    )
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(new Set(answers.map(({ body }) => body.order.id)).size).toBe(1)
    for (const { status, headers } of answers)
      expect(headers['idempotent-replayed']).toBe(status === 200 ? 'true' : undefined)
    expect((await ask('GET', '/v1/orders')).body.orders).toHaveLength(1)
  })

  test('known, is answered with the order as it is now and the trades it took', async () => {
    await placed(sale({ quantity: '0.2' }))
    const first = await placed(purchase({ client_order_id: 'mine' }))
    await placed(sale({ quantity: '0.1' }))
    const again = await place(purchase({ client_order_id: 'mine' }))
    expect(again.status).toBe(200)
    expect(again.body.order).toMatchObject({ id: first.order.id, filled_quantity: '0.3', status: 'partially_filled' })
    expect(again.body.trades).toMatchObject([{ id: first.trades[0].id, quantity: '0.2' }])
    const other = await place(purchase({ client_order_id: 'mine', quantity: '0.6' }))
    expect(problemOf(other)).toEqual([422, 'CLIENT_ORDER_ID_REUSED'])
    expect((await place(sale({ client_order_id: 'mine' }))).status).toBe(201)
  })

  test('of an order that was refused is not spent', async () => {
    expect((await place(purchase({ client_order_id: 'again', quantity: '20' }))).status).toBe(422)
    expect((await place(purchase({ client_order_id: 'again', quantity: '2' }))).status).toBe(201)
  })

  test('finds its order, and cancels it', async () => {
    const id = 'a/b c%2F?#'
    const { order } = await placed(purchase({ client_order_id: id }))
    const path = (user: string, text = id) => `/v1/orders/by-client-id/${user}/${encodeURIComponent(text)}`
    for (const role of ['viewer', 'trader', 'operator'] as const) {
      const found = await ask('GET', path(BUYER.toUpperCase()), undefined, role)
      expect([found.status, found.body]).toEqual([200, { order }])
    }
    for (const [user, text] of [[SELLER], [BUYER, 'other'], ['me'], [BUYER, '\u0000'], [BUYER, 'x'.repeat(100)]]) {
      expect(problemOf(await ask('GET', path(user as string, text)))).toEqual([404, 'NOT_FOUND'])
    }
    await placed(sale({ client_order_id: 'theirs', price: '60000' }))
    expect(problemOf(await ask('GET', path(SELLER, 'theirs'), undefined, 'trader'))).toEqual([404, 'NOT_FOUND'])
    expect(problemOf(await ask('DELETE', path(SELLER, 'theirs'), undefined, 'trader'))).toEqual([404, 'NOT_FOUND'])
    for (const role of ['trader', 'operator'] as const) {
      const gone = await ask('DELETE', path(BUYER), undefined, role)
      expect([gone.status, gone.body.order.status]).toEqual([200, 'cancelled'])
    }
  })
})

describe('a batch', () => {
  const batch = (orders: readonly Json[], role: Role = 'operator') => ask('POST', '/v1/orders/batch', { orders }, role)

  test('is answered in order, each order on its own', async () => {
    const { status, body } = await batch([
      sale({ quantity: '0.2' }),
      purchase({ client_order_id: 'first' }),
      purchase({ price: '50000.001' }),
      purchase({ client_order_id: 'first' }),
      purchase({ client_order_id: 'first', price: '1' }),
      purchase({ quantity: '100' }),
      sale({ price: '60000' }),
    ])
    expect(status).toBe(200)
    expect(body.results).toMatchObject([
      { order: { status: 'open', side: 'sell' }, trades: [] },
      { order: { client_order_id: 'first', filled_quantity: '0.2' }, trades: [{ quantity: '0.2' }] },
      { problem: { status: 422, code: 'PRICE_TICK', errors: [{ pointer: '/orders/2/price' }] } },
      { order: { client_order_id: 'first', filled_quantity: '0.2' }, trades: [{ quantity: '0.2' }] },
      { problem: { status: 422, code: 'CLIENT_ORDER_ID_REUSED' } },
      { problem: { status: 422, code: 'INSUFFICIENT_BALANCE', required: '5005000', currency: 'USDT' } },
      { order: { status: 'open', price: '60000' }, trades: [] },
    ])
    for (const result of body.results) expect(Object.keys(result).length).toBe('problem' in result ? 1 : 2)
    expect(body.results[3].order.id).toBe(body.results[1].order.id)
    expect((await batch([])).body).toEqual({ results: [] })
  })

  test('takes up to 500, and where one is malformed none', async () => {
    const small = purchase({ price: '1', quantity: '0.00001' })
    expect(problemOf(await batch(Array(501).fill(small)))).toEqual([413, 'TOO_LARGE'])
    const malformed = await batch([small, { ...small, price: 1 }, { ...small, side: undefined }])
    expect(problemOf(malformed)).toEqual([400, 'INVALID_REQUEST', '/orders/1/price', '/orders/2/side'])
    const shapeless = await batch([small, { ...small, price: undefined }, { ...small, user_id: undefined }])
    expect(problemOf(shapeless)).toEqual([400, 'INVALID_REQUEST', '/orders/1/price', '/orders/2/user_id'])
    expect(problemOf(await ask('POST', '/v1/orders/batch', small))).toContain('/orders')
    expect((await ask('GET', '/v1/orders')).body.orders).toEqual([])
    const { body } = await batch(Array(500).fill(small))
    expect(body.results.filter((result: Json) => result.order.status === 'open')).toHaveLength(500)
  })

  test('of a trader: another user’s order alone is refused', async () => {
    const { body } = await batch([purchase(), sale(), purchase({ user_id: undefined })], 'trader')
    expect(body.results).toMatchObject([
      { order: { user_id: BUYER } },
      { problem: { status: 403, code: 'FORBIDDEN' } },
      { order: { user_id: BUYER } },
    ])
  })
})

describe('an order that is there', () => {
  test('is reduced, and keeps its place', async () => {
    const { order: first } = await placed(sale({ quantity: '1' }))
    const { order: second } = await placed(sale({ quantity: '1' }))
    const reduce = (id: string, quantity: unknown, role: Role = 'operator') =>
      ask('PATCH', `/v1/orders/${id}`, { quantity }, role)
    const reduced = await reduce(first.id, '0.60')
    expect(reduced).toMatchObject({ status: 200, body: { order: { quantity: '0.6', remaining_quantity: '0.6' } } })
    expect((await placed(purchase({ quantity: '0.4' }))).trades).toMatchObject([{ maker_order_id: first.id }])
    expect(problemOf(await reduce(first.id, '0.7'))).toEqual([422, 'INVALID_QUANTITY', '/quantity'])
    expect(problemOf(await reduce(first.id, '-1'))).toEqual([422, 'INVALID_QUANTITY', '/quantity'])
    expect(problemOf(await reduce(first.id, '0.500001'))).toEqual([422, 'LOT_SIZE', '/quantity'])
    expect(problemOf(await reduce(first.id, 0.5))).toEqual([400, 'INVALID_REQUEST', '/quantity'])
    expect(problemOf(await reduce(first.id, '0.5', 'trader'))).toEqual([404, 'NOT_FOUND'])
    expect(problemOf(await reduce(randomUUID(), '0.5'))).toEqual([404, 'NOT_FOUND'])
    expect(problemOf(await reduce('first', '0.5'))).toEqual([404, 'NOT_FOUND'])
    expect((await reduce(first.id, '0.4')).body.order).toMatchObject({ status: 'cancelled', filled_quantity: '0.4' })
    expect((await reduce(second.id, '0')).body.order).toMatchObject({ status: 'cancelled', filled_quantity: '0' })
  })

  test('is cancelled once, and stays so; what is filled or expired is not', async () => {
    const cancel = (id: string, role: Role = 'operator') => ask('DELETE', `/v1/orders/${id}`, undefined, role)
    const { order } = await placed(purchase())
    const first = await cancel(order.id, 'trader')
    expect([first.status, first.body.order]).toMatchObject([200, { status: 'cancelled', remaining_quantity: '0.5' }])
    expect((await cancel(order.id)).body).toEqual(first.body)
    const typed = { ...bearer('operator'), 'content-type': 'application/json' }
    const again = await call(api.app, { method: 'DELETE', url: `/v1/orders/${order.id}`, headers: typed })
    expect([again.status, again.body]).toEqual([200, first.body])
    const { order: filled } = await placed(sale())
    expect(problemOf(await cancel(filled.id, 'trader'))).toEqual([404, 'NOT_FOUND'])
    const { order: taker } = await placed(purchase())
    const { order: expired } = await placed(purchase({ time_in_force: 'IOC' }))
    for (const { id } of [filled, taker, expired]) expect(problemOf(await cancel(id))).toEqual([409, 'ORDER_NOT_OPEN'])
    for (const id of [randomUUID(), 'x']) expect(problemOf(await cancel(id))).toEqual([404, 'NOT_FOUND'])
    await until('nothing is held', async () => (await api.get(`/v1/balances/${BUYER}/USDT`)).body.held === '0')
  })

  test('is cancelled with all of its user’s, or with those in a market', async () => {
    const { order: theirs } = await placed(sale({ price: '70000' }))
    const own = [(await placed(purchase())).order.id, (await placed(purchase({ price: '49000' }))).order.id]
    const all = (query: string, role: Role = 'operator') => ask('DELETE', `/v1/orders${query}`, undefined, role)
    expect(problemOf(await all(''))).toEqual([400, 'INVALID_REQUEST', '/user_id'])
    expect(problemOf(await all('?user_id=me'))).toEqual([400, 'INVALID_REQUEST', '/user_id'])
    expect(problemOf(await all(`?user_id=${SELLER}`, 'trader'))).toEqual([403, 'FORBIDDEN'])
    expect(problemOf(await all(`?user_id=${BUYER}&symbol=BTC-EUR`))).toEqual([422, 'UNKNOWN_SYMBOL'])
    expect((await all(`?user_id=${BUYER}&symbol=TINY/JPY`)).body).toEqual({ orders: [] })
    const { body } = await all('?symbol=BTC-USDT,TINY-JPY', 'trader')
    expect(body.orders.map((order: Json) => [order.id, order.status])).toEqual(own.map(id => [id, 'cancelled']))
    expect((await all(`?user_id=${BUYER}`)).body).toEqual({ orders: [] })
    expect((await ask('GET', `/v1/orders/${theirs.id}`)).body.order.status).toBe('open')
  })

  test('is shown to its trader, to viewers and operators', async () => {
    const { order } = await placed(sale())
    expect((await ask('GET', `/v1/orders/${order.id}`, undefined, 'viewer')).body).toEqual({ order })
    expect(problemOf(await ask('GET', `/v1/orders/${order.id}`, undefined, 'trader'))).toEqual([404, 'NOT_FOUND'])
    for (const id of [randomUUID(), 'x'])
      expect(problemOf(await ask('GET', `/v1/orders/${id}`))).toEqual([404, 'NOT_FOUND'])
  })
})

test('the list is newest first, in pages, by user, market and status; a trader’s own alone', async () => {
  const ids: string[] = []
  for (const price of ['49001', '49002', '49003', '49004', '49005'])
    ids.unshift((await placed(purchase({ price }))).order.id)
  const { order: theirs } = await placed(sale())
  await ask('DELETE', `/v1/orders/${ids[0]}`)
  const list = async (query: string, role: Role = 'viewer') => {
    const { status, body } = await ask('GET', `/v1/orders${query}`, undefined, role)
    expect(status).toBe(200)
    return { ids: body.orders.map((order: Json) => order.id), next: body.next_cursor }
  }
  expect(await list('')).toEqual({ ids: [theirs.id, ...ids], next: null })
  expect(await list('', 'trader')).toEqual({ ids, next: null })
  expect(await list(`?user_id=${SELLER}`, 'trader')).toEqual({ ids: [], next: null })
  expect((await list(`?user_id=${SELLER},${BUYER}`, 'trader')).ids).toEqual(ids)
  expect((await list(`?user_id=${SELLER.toUpperCase()}`)).ids).toEqual([theirs.id])
  expect((await list('?status=cancelled')).ids).toEqual([ids[0]])
  expect((await list(`?status=open,partially_filled&symbol=BTC-USDT,TINY/JPY&user_id=${BUYER}`)).ids).toEqual(
    ids.slice(1),
  )
  expect((await list('?symbol=TINY-JPY')).ids).toEqual([])
  const seen: string[] = []
  for (let cursor = ''; ; ) {
    const page = await list(`?limit=2${cursor}`)
    seen.push(...page.ids)
    if (page.next === null) break
    cursor = `&cursor=${page.next}`
  }
  expect(seen).toEqual([theirs.id, ...ids])
  for (const [query, pointer] of [
    ['status=gone', '/status'],
    ['limit=0', '/limit'],
    ['cursor=abc', '/cursor'],
    ['user_id=me', '/user_id'],
    ['side=buy', '/side'],
  ]) {
    expect(problemOf(await ask('GET', `/v1/orders?${query}`))).toEqual([400, 'INVALID_REQUEST', pointer])
  }
})

describe('a market', () => {
  test('is listed with its rules', async () => {
    const { status, body } = await ask('GET', '/v1/markets', undefined, 'trader')
    expect([status, body.next_cursor, body.markets.length]).toEqual([200, null, 2])
    expect(body.markets).toContainEqual({
      ...{ symbol: 'BTC/USDT', base: 'BTC', quote: 'USDT', base_scale: 8, quote_scale: 8, tick_size: '0.01' },
      ...{ lot_size: '0.00001', min_notional: '0', maker_fee: '0.0005', taker_fee: '0.001', status: 'trading' },
    })
  })

  test('is one of a list in pages', async () => {
    const first = await ask('GET', '/v1/markets?limit=1')
    expect(first.body.markets).toHaveLength(1)
    const next = await ask('GET', `/v1/markets?limit=1000&cursor=${first.body.next_cursor}`)
    expect([next.body.markets.length, next.body.next_cursor]).toEqual([1, null])
    expect(next.body.markets[0].symbol).not.toBe(first.body.markets[0].symbol)
    for (const query of ['limit=0', 'cursor=bm9uZQ', 'symbol=BTC-USDT']) {
      const [name] = query.split('=')
      expect(problemOf(await ask('GET', `/v1/markets?${query}`))).toEqual([400, 'INVALID_REQUEST', `/${name}`])
    }
  })

  test('shows its book, best first, to a depth', async () => {
    const book = (query = '', role: Role = 'trader') => ask('GET', `/v1/markets/BTC-USDT/book${query}`, undefined, role)
    expect((await book()).body).toEqual({ symbol: 'BTC/USDT', sequence: 0, bids: [], asks: [] })
    for (const [price, quantity] of [
      ['50000', '0.1'],
      ['49999.5', '1'],
      ['50000', '0.2'],
      ['49000', '0.00001'],
    ])
      await placed(purchase({ price, quantity }))
    await placed(sale({ price: '51000', quantity: '2' }))
    const expected = {
      ...{ symbol: 'BTC/USDT', sequence: 5, asks: [['51000', '2', 1]] },
      bids: [
        ['50000', '0.3', 2],
        ['49999.5', '1', 1],
        ['49000', '0.00001', 1],
      ],
    }
    expect((await book('', 'viewer')).body).toEqual(expected)
    expect((await book('?depth=1')).body).toEqual({ ...expected, bids: expected.bids.slice(0, 1) })
    expect((await book('?depth=999999')).body).toEqual(expected)
    for (const depth of ['0', '-1', 'all', '']) {
      expect(problemOf(await book(`?depth=${depth}`))).toEqual([400, 'INVALID_REQUEST', '/depth'])
    }
    for (const name of ['BTC-EUR', 'BTC', 'BTC%2FUSDT', 'btc-usdt']) {
      expect(problemOf(await ask('GET', `/v1/markets/${name}/book`))).toEqual([404, 'NOT_FOUND'])
      expect(problemOf(await ask('GET', `/v1/markets/${name}/trades`))).toEqual([404, 'NOT_FOUND'])
    }
  })

  test('shows its trades, newest first, and nobody who traded', async () => {
    await placed(sale({ quantity: '0.3' }))
    const ids: string[] = []
    for (const quantity of ['0.1', '0.15', '0.05']) ids.unshift((await placed(purchase({ quantity }))).trades[0].id)
    const first = await ask('GET', '/v1/markets/BTC-USDT/trades?limit=2', undefined, 'trader')
    expect(first.body.trades[0]).toEqual({
      ...{ id: ids[0], symbol: 'BTC/USDT', price: '50000', quantity: '0.05', is_buyer_maker: false, executed_at: TIME },
    })
    const cursor = first.body.next_cursor
    const rest = await ask('GET', `/v1/markets/BTC-USDT/trades?limit=2&cursor=${cursor}`)
    expect([...first.body.trades, ...rest.body.trades].map((trade: Json) => trade.id)).toEqual(ids)
    expect(rest.body.next_cursor).toBe(null)
    expect(problemOf(await ask('GET', '/v1/markets/BTC-USDT/trades?cursor=x'))).toEqual([
      400,
      'INVALID_REQUEST',
      '/cursor',
    ])
  })

  test('that is halted takes no orders, and goes on cancelling; who did it is written down', async () => {
    const { order } = await placed(purchase())
    const halt = await api.post('/v1/admin/markets/BTC-USDT/halt', { reason: 'a wrong price' })
    expect(halt).toMatchObject({ status: 200, body: { market: { symbol: 'BTC/USDT', status: 'halted' } } })
    expect(problemOf(await place(purchase()))).toEqual([422, 'MARKET_HALTED'])
    const markets = async () =>
      (await ask('GET', '/v1/markets')).body.markets.map((each: Json) => [each.symbol, each.status])
    expect(await markets()).toContainEqual(['BTC/USDT', 'halted'])
    expect(await markets()).toContainEqual(['TINY/JPY', 'trading'])
    expect((await ask('DELETE', `/v1/orders/${order.id}`)).body.order.status).toBe('cancelled')
    const key = { 'idempotency-key': 'resume-1' }
    const resumed = await api.post('/v1/admin/markets/BTC-USDT/resume', {}, key)
    expect(resumed).toMatchObject({ status: 200, body: { market: { status: 'trading' } } })
    const again = await api.post('/v1/admin/markets/BTC-USDT/resume', {}, key)
    expect([again.headers['idempotent-replayed'], again.body]).toEqual(['true', resumed.body])
    expect((await place(purchase())).status).toBe(201)
    const log = await api.get('/v1/admin/audit-log')
    expect(log.body.entries).toMatchObject([
      { action: 'market-resume', actor: 'operator', reason: null, detail: { symbol: 'BTC/USDT' } },
      { action: 'market-halt', actor: 'operator', reason: 'a wrong price', detail: { symbol: 'BTC/USDT' } },
    ])
    expect(problemOf(await api.post('/v1/admin/markets/BTC-EUR/halt', {}))).toEqual([404, 'NOT_FOUND'])
    // What can't be written down is not done.
    await db.database.query(`alter table audit_log add constraint none_today check (action <> 'market-halt') not valid`)
    expect((await api.post('/v1/admin/markets/BTC-USDT/halt', {})).status).toBe(500)
    expect(await markets()).toContainEqual(['BTC/USDT', 'trading'])
    expect(problemOf(await ask('POST', '/v1/admin/markets/BTC-USDT/halt', {}, 'trader'))).toEqual([403, 'FORBIDDEN'])
  })
})

test('a process that stands by shows what is stored, and asks to come again for what needs the books', async () => {
  const { order } = await placed(purchase({ client_order_id: 'mine' }))
  const other = await createTestApi(db.database, 'atomic')
  const there = (method: 'GET' | 'POST' | 'DELETE' | 'PATCH', url: string, payload?: object) =>
    call(other.app, { method, url, headers: bearer('operator'), ...(payload === undefined ? {} : { payload }) })
  for (const [method, url, payload] of [
    ['POST', '/v1/orders', purchase()],
    ['POST', '/v1/orders/batch', { orders: [purchase()] }],
    ['PATCH', `/v1/orders/${order.id}`, { quantity: '0.1' }],
    ['DELETE', `/v1/orders/${order.id}`],
    ['DELETE', `/v1/orders?user_id=${BUYER}`],
    ['DELETE', `/v1/orders/by-client-id/${BUYER}/mine`],
    ['GET', '/v1/markets/BTC-USDT/book'],
    ['POST', '/v1/admin/markets/BTC-USDT/halt', {}],
  ] as const) {
    const answer = await there(method, url, payload)
    expect([url, ...problemOf(answer), answer.headers['retry-after']]).toEqual([url, 503, 'UNAVAILABLE', '1'])
    expect(answer.body.detail).toContain('try again')
  }
  for (const url of [`/v1/orders/${order.id}`, `/v1/orders/by-client-id/${BUYER}/mine`]) {
    expect(await there('GET', url)).toMatchObject({ status: 200, body: { order } })
  }
  expect((await there('GET', '/v1/markets')).body.markets).toMatchObject([{ status: 'trading' }, { status: 'trading' }])
  // Where the first one gives the books up, this one takes them over.
  await api.settlement.orders.stop()
  await until('it has the books', async () => (await there('GET', '/v1/markets/BTC-USDT/book')).status === 200)
  expect((await there('GET', '/v1/markets/BTC-USDT/book')).body).toMatchObject({ bids: [['50000', '0.5', 1]] })
  expect((await there('DELETE', `/v1/orders/${order.id}`)).body.order.status).toBe('cancelled')
  await until('nothing is held', async () => (await api.get(`/v1/balances/${BUYER}/USDT`)).body.held === '0')
  await other.close()
})

test('the routes stand in the description, with what they answer', async () => {
  const { paths } = (await api.app.inject({ url: '/openapi.json' })).json()
  expect(paths['/v1/orders'].post.responses).toHaveProperty('201')
  expect(paths['/v1/orders'].post.responses).toHaveProperty('200')
  expect(Object.keys(paths['/v1/orders/{id}'])).toEqual(expect.arrayContaining(['get', 'patch', 'delete']))
  const book = paths['/v1/markets/{market}/book'].get
  expect(book.parameters.map((each: Json) => each.name).toSorted()).toEqual(['depth', 'market'])
})
