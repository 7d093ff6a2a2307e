/** Market data and a user's orders as streams, on the real desk, over sockets. */
import { isDeepStrictEqual } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Role } from '../../src/api/auth.ts'
import { bearer, call, createTestApi, type TestApi } from '../support/api.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { type EventStream, openStream, type StreamEvent } from '../support/event-stream.ts'
import { SEED, seededRandom, until } from '../support/process.ts'
import { BUYER, SELLER } from '../support/trades.ts'

type Json = ReturnType<typeof JSON.parse>

const MARKET = '/v1/markets/BTC-USDT/stream'
const OWN = '/v1/orders/stream'

let db: TestDatabase
let api: TestApi
let url: string
let streams: EventStream[]

beforeEach(async () => {
  db = await createTestDatabase()
  api = await createTestApi(db.database, 'atomic')
  url = await api.app.listen({ host: '127.0.0.1', port: 0 })
  streams = []
  for (const [user, currency] of [BUYER, SELLER].flatMap(each => [[each, 'USDT'] as const, [each, 'BTC'] as const])) {
    const body = { user_id: user, currency, amount: '10000000', reason: 'DEPOSIT' }
    expect((await api.post('/v1/credits', body, { 'idempotency-key': `${user} ${currency}` })).status).toBe(201)
  }
})
afterEach(async () => {
  for (const stream of streams) stream.close()
  await api.close()
  await db.drop()
})

async function open(path: string, lastId?: string, role: Role = 'operator'): Promise<EventStream> {
  const stream = await openStream(`${url}${path}`, `${role}-key`, lastId)
  streams.push(stream)
  return stream
}

async function place(change: object = {}): Promise<Json> {
  const order = { user_id: BUYER, symbol: 'BTC/USDT', side: 'buy', type: 'limit', price: '50000', quantity: '0.5' }
  const { status, body } = await api.post('/v1/orders', { ...order, ...change })
  expect([200, 201, 422]).toContain(status)
  return body
}
const sell = (change: object = {}) => place({ user_id: SELLER, side: 'sell', ...change })
const cancel = (id: string) => call(api.app, { method: 'DELETE', url: `/v1/orders/${id}`, headers: bearer('operator') })
const book = async () => (await api.get('/v1/markets/BTC-USDT/book?depth=1000')).body

/** The book as a client has it that has read these events. */
function bookOf(events: readonly StreamEvent[], from?: Json): Json {
  let sequence = from?.sequence ?? 0
  const sides = { bids: new Map<string, Json>(), asks: new Map<string, Json>() }
  const put = (data: Json): void => {
    sequence = data.sequence
    for (const side of ['bids', 'asks'] as const) {
      for (const level of data[side]) {
        if (level[1] === '0') sides[side].delete(level[0])
        else sides[side].set(level[0], level)
      }
    }
  }
  if (from !== undefined) put(from)
  for (const { name, data } of events) {
    if (name === 'trade') continue
    if (name === 'snapshot') for (const side of Object.values(sides)) side.clear()
    put(data)
  }
  const sorted = (side: Map<string, Json>) =>
    [...side.values()].toSorted((one, other) => Number(one[0]) - Number(other[0]))
  return { symbol: 'BTC/USDT', sequence, bids: sorted(sides.bids).toReversed(), asks: sorted(sides.asks) }
}

const hasBook = (sequence: number) => (events: readonly StreamEvent[]) =>
  events.some(({ name, id }) => name !== 'trade' && id === String(sequence))

/** Commands of both users, in turns and side by side. */
async function trade(random: () => number, count: number): Promise<void> {
  const ids: string[] = []
  for (let at = 0; at < count; at += 10) {
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        const id = ids[Math.floor(random() * ids.length)]
        const chance = random()
        if (id !== undefined && chance < 0.2) await cancel(id)
        else if (id !== undefined && chance < 0.3) {
          const payload = { quantity: `0.${1 + Math.floor(random() * 5)}` }
          await call(api.app, { method: 'PATCH', url: `/v1/orders/${id}`, headers: bearer('operator'), payload })
        } else {
          const [user, other] = random() < 0.5 ? [BUYER, 'buy'] : [SELLER, 'sell']
          const side = random() < 0.1 ? (other === 'buy' ? 'sell' : 'buy') : other
          const price = `${49990 + Math.floor(random() * 20)}`
          const how = random()
          const change = how < 0.1 ? { time_in_force: 'IOC' } : how < 0.2 ? { post_only: true } : {}
          const quantity = `0.${1 + Math.floor(random() * 9)}`
          const { order } = await place({ user_id: user, side, price, quantity, ...change })
          if (order !== undefined) ids.push(order.id)
        }
      }),
    )
  }
}

test('a market’s stream begins with its book, and tells each trade and each level that changes', async () => {
  await sell({ quantity: '0.2' })
  const stream = await open(MARKET, undefined, 'trader')
  expect([stream.status, stream.headers['content-type']]).toEqual([200, 'text/event-stream; charset=utf-8'])
  await stream.until('the book is there', events => events.length === 1)
  await place()
  const events = await stream.until('all is told', hasBook(3))
  expect(events).toEqual([
    { name: 'snapshot', id: '1', data: { symbol: 'BTC/USDT', sequence: 1, bids: [], asks: [['50000', '0.2', 1]] } },
    {
      ...{ name: 'trade', id: '2' },
      data: {
        ...{ id: expect.any(String), symbol: 'BTC/USDT', price: '50000', quantity: '0.2', is_buyer_maker: false },
        ...{ executed_at: expect.any(String), sequence: 2 },
      },
    },
    {
      ...{ name: 'book', id: '3' },
      data: { symbol: 'BTC/USDT', sequence: 3, bids: [['50000', '0.3', 1]], asks: [['50000', '0', 0]] },
    },
  ])
  expect(stream.text().startsWith('retry: 1000\n\n')).toBe(true)
})

test(`what is told makes the book that is asked for, also for who begins in the middle (seed ${SEED})`, async () => {
  const random = seededRandom(SEED)
  const early = await open(MARKET)
  const [, late, , own] = await Promise.all([
    trade(random, 200),
    open(MARKET),
    trade(random, 200),
    open(`${OWN}?user_id=${BUYER}`),
  ])
  const now = await book()
  for (const stream of [early, late]) {
    const events = await stream.until('all is told', hasBook(now.sequence))
    expect(bookOf(events)).toEqual(now)
    const numbers = events.map(({ id }) => Number(id))
    expect(numbers).toEqual(numbers.toSorted((one, other) => one - other))
  }
  const told = early.events().filter(({ name }) => name === 'trade')
  const { body } = await api.get('/v1/markets/BTC-USDT/trades?limit=1000')
  expect(told.map(({ data }) => data.id).toReversed()).toEqual(body.trades.map((each: Json) => each.id))
  // And the user's: the orders that are open are those that are.
  const { body: open_ } = await api.get(`/v1/orders?status=open,partially_filled&user_id=${BUYER}&limit=1000`)
  const expected = new Map(open_.orders.map((order: Json) => [order.id, order]))
  await own.until('all orders are as they are', events => {
    const orders = new Map<string, Json>()
    for (const { name, data } of events) {
      for (const order of name === 'snapshot' ? data.orders : name === 'order' ? [data] : []) {
        orders.delete(order.id)
        if (['open', 'partially_filled'].includes(order.status)) orders.set(order.id, order)
      }
    }
    return isDeepStrictEqual(orders, expected)
  })
})

test(`who comes back is told what it missed, wherever it was cut (seed ${SEED})`, async () => {
  const whole = await open(MARKET)
  await trade(seededRandom(SEED), 100)
  const now = await book()
  const events = await whole.until('all is told', hasBook(now.sequence))
  for (const [at, event] of events.entries()) {
    const again = await open(MARKET, event.id)
    await again.until('it has begun', () => again.text() !== '')
    await place({ price: '1', quantity: '0.00001', time_in_force: 'IOC' })
    const last = (await book()).sequence
    const missed = await again.until('all is told', hasBook(last))
    expect(missed.some(({ name }) => name === 'snapshot')).toBe(false)
    // A book may come twice, which changes nothing of it; a trade does not.
    const isTrade = ({ name }: StreamEvent) => name === 'trade'
    expect(missed.filter(isTrade)).toEqual(events.slice(at + 1).filter(isTrade))
    expect(bookOf([...events.slice(0, at + 1), ...missed])).toEqual(await book())
    again.close()
  }
})

test('who comes back with what is not known, or from another time, is told the book anew', async () => {
  await place()
  const { sequence } = await book()
  for (const id of ['0', '999999', 'x', '', '-1', '1e3']) {
    const stream = await open(MARKET, id)
    const [first] = await stream.until('it has begun', events => events.length > 0)
    expect(first).toMatchObject({ name: 'snapshot', id: String(sequence) })
  }
  const known = await open(MARKET, String(sequence))
  await place()
  const events = await known.until('it goes on', each => each.length > 0)
  expect(events).toMatchObject([{ name: 'book', id: String(sequence + 1) }])
})

test('a user’s stream begins with its open orders, tells what becomes of them, and is that user’s alone', async () => {
  const { order } = await place()
  await place({ price: '49000' }).then(({ order: other }) => cancel(other.id))
  const stream = await open(OWN, undefined, 'trader')
  await stream.until('it has begun', events => events.length === 1)
  const sold = await sell({ quantity: '0.2', price: '49000' })
  await sell({ price: '60000' })
  await cancel(order.id)
  const events = await stream.until('all is told', each => each.length === 4)
  expect(events).toMatchObject([
    { name: 'snapshot', data: { orders: [order] } },
    { name: 'trade', data: { ...sold.trades[0], settlement_status: 'PENDING' } },
    { name: 'order', data: { id: order.id, status: 'partially_filled', filled_quantity: '0.2' } },
    { name: 'order', data: { id: order.id, status: 'cancelled', filled_quantity: '0.2' } },
  ])
  for (const [at, { id }] of events.entries()) {
    const again = await open(OWN, id, 'trader')
    await again.until('it has begun', () => again.text() !== '')
    const last = await place({ price: '1' })
    const missed = await again.until('it goes on', each => each.some(({ data }) => data.id === last.order.id))
    expect(missed.slice(0, 3 - at)).toEqual(events.slice(at + 1))
    again.close()
  }
  const unknown = await open(OWN, `0123456789ab-1`, 'trader')
  expect((await unknown.until('it has begun', each => each.length > 0))[0]).toMatchObject({ name: 'snapshot' })

  expect(await api.get(`${OWN}?user_id=${SELLER}`, 'trader')).toMatchObject({
    status: 403,
    body: { code: 'FORBIDDEN' },
  })
  expect(await api.get(OWN, 'viewer')).toMatchObject({ status: 400, body: { errors: [{ pointer: '/user_id' }] } })
  expect(await api.get('/v1/markets/BTC-EUR/stream')).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } })
})

test('streams end with the server, at once, and with the books', async () => {
  const market = await open(MARKET)
  await market.until('it has begun', events => events.length === 1)
  await api.settlement.orders.stop()
  await until('it has ended', async () => market.hasEnded())
  for (const path of [MARKET, `${OWN}?user_id=${BUYER}`]) {
    const answer = await api.get(path)
    expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '1' }, body: { code: 'UNAVAILABLE' } })
  }
})

test('a server that closes waits for no stream', async () => {
  const [market, own] = [await open(MARKET), await open(`${OWN}?user_id=${BUYER}`)]
  await market.until('it has begun', events => events.length === 1)
  await own.until('it has begun', events => events.length === 1)
  const before = performance.now()
  await api.app.close()
  expect(performance.now() - before).toBeLessThan(1000)
  await until('both have ended', async () => market.hasEnded() && own.hasEnded())
})
