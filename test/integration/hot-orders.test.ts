/** Orders over a socket, where the framework is passed by, are answered as the routes answer them. */
import { connect } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { App } from '../../src/api/app.ts'
import type { Authenticate } from '../../src/api/auth.ts'
import { createServer } from '../../src/api/server.ts'
import { systemClock } from '../../src/clock.ts'
import type { Instruments } from '../../src/core/instruments.ts'
import type { Order } from '../../src/core/order.ts'
import { NO_FEES } from '../../src/core/order-fees.ts'
import { createLogger } from '../../src/log.ts'
import type { NewOrder } from '../../src/orders/accept.ts'
import { DeskUnavailableError, type OrderDesk, type PlaceAnswer } from '../../src/orders/desk.ts'
import { authenticate } from '../support/api.ts'
import { answersIn, openRaw, type RawAnswer, request } from '../support/raw-http.ts'
import { ASSETS, BTC_USDT, BUYER, SELLER } from '../support/trades.ts'

const TARGET = '/v1/orders'
const INSTRUMENTS: Instruments = { assets: ASSETS, markets: new Map([[BTC_USDT.symbol, BTC_USDT]]) }

/** How the desk takes an order, by its client order id. */
const DESK: Readonly<Record<string, (order: NewOrder) => PlaceAnswer | Promise<PlaceAnswer>>> = {
  again: order => ({ ...taken(order), isNew: false }),
  short: () => ({
    refusal: { code: 'INSUFFICIENT_BALANCE', currency: 'USDT', available: 5n, required: 10n },
  }),
  away: () => {
    throw new DeskUnavailableError('the books are elsewhere')
  },
  broken: () => {
    throw new Error('nobody knows why')
  },
  silent: () => new Promise(() => {}),
}

function taken(order: NewOrder): PlaceAnswer & { readonly order: Order } {
  const { userId, clientOrderId, symbol, side, type, postOnly } = order
  return {
    order: {
      ...{ id: '019aaaaa-0000-7000-8000-000000000001', userId, clientOrderId, symbol, side, type, postOnly },
      ...{ price: 5_000_000_000_000n, placedQuantity: 1_000_000n, quantity: 1_000_000n, quoteQuantity: null },
      ...{
        filledQuantity: 0n,
        filledQuoteQuantity: 0n,
        fees: NO_FEES,
        timeInForce: 'GTC',
        selfTradePrevention: 'none',
      },
      ...{
        status: 'open',
        openedSequence: 1,
        hold: null,
        createdAtMs: 1_700_000_000_000,
        updatedAtMs: 1_700_000_000_000,
      },
    },
    trades: [],
    isNew: true,
  }
}

let app: App
let url: string
/** What the desk was given, in its order. */
let given: NewOrder[]
let release: () => void

beforeEach(async () => {
  given = []
  const held = Promise.withResolvers<void>()
  release = held.resolve
  const orders = {
    place: async ([order]: readonly NewOrder[]) => {
      if (order === undefined) throw new Error('no order')
      given.push(order)
      if (order.clientOrderId === 'held') await held.promise
      return [await (DESK[order.clientOrderId ?? ''] ?? taken)(order)]
    },
    listen: () => () => {},
  } as unknown as OrderDesk
  app = serverWith(orders, authenticate)
  url = await app.listen({ port: 0 })
})
afterEach(async () => {
  release()
  await app.close()
})

function serverWith(orders: OrderDesk, who: Authenticate): App {
  return createServer({
    ...{ authenticate: who, notReady: async () => [], log: createLogger('silent'), version: '0' },
    ...{ trades: null, wallet: null, timeoutMs: 300 },
    orders: { orders, instruments: INSTRUMENTS, clock: systemClock() } as unknown as NonNullable<
      Parameters<typeof createServer>[0]['orders']
    >,
  })
}

const purchase = (change: object = {}) => ({
  ...{ user_id: BUYER, symbol: 'BTC/USDT', side: 'buy', type: 'limit', price: '50000', quantity: '0.01' },
  ...change,
})

type Headers = Readonly<Record<string, string>>
const OPERATOR: Headers = { authorization: 'Bearer operator-key' }

/** All answers to some bytes, until the connection ends. */
async function answersTo(bytes: string): Promise<readonly RawAnswer[]> {
  const { hostname, port } = new URL(url)
  return await new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) })
    let text = ''
    socket.setEncoding('latin1').on('data', (more: string) => {
      text += more
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(answersIn(text)))
    // Not ended from here: node:http gives up what is under way on a connection whose client has.
    socket.write(Buffer.from(bytes, 'latin1'))
  })
}

/** What the routes say, which are asked without a socket. */
async function routesSay(payload: string, headers: Headers) {
  const answer = await app.inject({
    method: 'POST',
    url: TARGET,
    headers: { host: 'wallet', 'content-type': 'application/json', ...headers },
    payload,
  })
  return { status: answer.statusCode, headers: shown(answer.headers), body: answer.body }
}

/** But for what the socket alone has, and dates. */
function shown(headers: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  const named = Object.entries(headers).filter(([name]) => !/^(?:date|connection|keep-alive)$/.test(name))
  return Object.fromEntries(named.map(([name, value]) => [name, String(value)]))
}

const body = (change: object = {}): string => JSON.stringify(purchase(change))

const CASES: readonly (readonly [string, string, Headers])[] = [
  ['an order', body(), OPERATOR],
  [
    'one with all that it can say',
    body({ client_order_id: 'a "b"', time_in_force: 'IOC', post_only: false }),
    OPERATOR,
  ],
  ['one that was accepted before', body({ client_order_id: 'again' }), OPERATOR],
  ['one that is refused for want of funds', body({ client_order_id: 'short' }), OPERATOR],
  ['one whose books are elsewhere', body({ client_order_id: 'away' }), OPERATOR],
  ['one at which the server fails', body({ client_order_id: 'broken' }), OPERATOR],
  ['one that is not answered in time', body({ client_order_id: 'silent' }), OPERATOR],
  ['a trader’s own', body({ user_id: undefined }), { authorization: 'Bearer trader-key' }],
  ['a trader’s for another', body({ user_id: SELLER }), { authorization: 'Bearer trader-key' }],
  ['a viewer’s', body(), { authorization: 'Bearer viewer-key' }],
  ['an unknown key’s', body(), { authorization: 'Bearer nobody' }],
  ['nobody’s', body(), {}],
  ['one without a user', body({ user_id: undefined }), OPERATOR],
  ['one without a price', body({ price: undefined }), OPERATOR],
  ['a number for a price', body({ price: 50_000 }), OPERATOR],
  ['a field that there is not', body({ leverage: '10' }), OPERATOR],
  ['no JSON', '{"user_id":', OPERATOR],
  ['an empty body', '', OPERATOR],
  ['a list', `[${body()}]`, OPERATOR],
  ['a name that the parser refuses', '{"__proto__":{},"symbol":"BTC/USDT"}', OPERATOR],
  ['the same, written in another way', '{"\\u005f_proto__":{},"symbol":"BTC/USDT"}', OPERATOR],
  ['another type', body(), { ...OPERATOR, 'content-type': 'text/plain' }],
  ['a type with a charset', body(), { ...OPERATOR, 'content-type': 'application/json; charset=utf-8' }],
  ['more than fits in front', body({ client_order_id: 'a'.repeat(20_000) }), OPERATOR],
]

describe('a request of its own', () => {
  test.each(CASES)('%s', async (_, payload, headers) => {
    const [answer] = await answersTo(request('POST', TARGET, payload, { ...headers, connection: 'close' }))
    const before = given.splice(0)
    const wanted = await routesSay(payload, headers)
    expect(answer === undefined ? null : { ...answer, headers: shown(answer.headers) }).toEqual(wanted)
    expect(before).toEqual(given)
  })
})

test('in pieces, chunked, behind one another, and in front of other calls', async () => {
  const chunked = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`
  const head = `POST ${TARGET} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer operator-key\r\ncontent-type: application/json\r\n`
  const answers = await answersTo(
    [
      request('POST', TARGET, purchase({ client_order_id: 'first' }), OPERATOR),
      `${head}transfer-encoding: chunked\r\n\r\n${chunked(body({ client_order_id: 'second' }))}`,
      request('GET', '/v1/markets/NO-SUCH/book', undefined, OPERATOR),
      request('POST', TARGET, purchase({ client_order_id: 'third' }), { ...OPERATOR, expect: '100-continue' }),
      request('POST', TARGET, purchase({ client_order_id: 'fourth' }), { ...OPERATOR, connection: 'close' }),
    ].join(''),
  )
  const said = answers.filter(({ status }) => status !== 100)
  expect(said.map(({ status }) => status)).toEqual([201, 201, 404, 201, 201])
  expect(said.flatMap(({ body: text }) => JSON.parse(text).order?.client_order_id ?? [])).toEqual([
    'first',
    'second',
    'third',
    'fourth',
  ])
  expect(said.map(({ headers }) => headers['connection'])).toEqual([...Array(4).fill('keep-alive'), 'close'])
})

test('a body that never becomes whole is no order', async () => {
  const connection = await openRaw(url)
  const whole = request('POST', TARGET, purchase(), OPERATOR)
  connection.send(whole.slice(0, -5))
  connection.close()
  const [answer] = await answersTo(
    request('POST', TARGET, purchase({ client_order_id: 'next' }), { ...OPERATOR, connection: 'close' }),
  )
  expect(answer?.status).toBe(201)
  expect(given.map(({ clientOrderId }) => clientOrderId)).toEqual(['next'])
})

test('what is under way when the server stops is answered, and is the last on its connection', async () => {
  await app.close()
  app = serverWith(heldDesk(), authenticate)
  url = await app.listen({ port: 0 })
  const connection = await openRaw(url)
  connection.send(request('POST', TARGET, purchase(), OPERATOR))
  await reached
  const closed = app.close()
  // It is told to stop; only then the desk answers.
  await new Promise(resolve => setImmediate(resolve))
  release()
  expect(await connection.ended()).toBe(true)
  await closed
  const [answer] = answersIn(connection.received())
  expect([answer?.status, answer?.headers['connection']]).toEqual([201, 'close'])
})

let reached: Promise<void>

function heldDesk(): OrderDesk {
  const at = Promise.withResolvers<void>()
  const held = Promise.withResolvers<void>()
  reached = at.promise
  release = held.resolve
  return {
    place: async ([order]: readonly NewOrder[]) => {
      at.resolve()
      await held.promise
      return [taken(order as NewOrder)]
    },
    listen: () => () => {},
  } as unknown as OrderDesk
}

test('a key that is revoked is refused on the connection on which it was good', async () => {
  let isGood = true
  await app.close()
  const orders = { place: async ([order]: readonly NewOrder[]) => [taken(order as NewOrder)], listen: () => () => {} }
  app = serverWith(orders as unknown as OrderDesk, () =>
    isGood ? { role: 'operator', userId: null, name: 'operator:1', keyId: '1' } : null,
  )
  url = await app.listen({ port: 0 })
  const connection = await openRaw(url)
  const place = request('POST', TARGET, purchase(), OPERATOR)
  connection.send(place)
  expect(await connection.until(received => answersIn(received).length === 1)).toBe(true)
  isGood = false
  connection.send(place)
  expect(await connection.until(received => answersIn(received).length === 2)).toBe(true)
  expect(answersIn(connection.received()).map(({ status }) => status)).toEqual([201, 401])
  connection.close()
})
