/** The lean way in and the routes on node:http answer to the byte alike. */
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { App } from '../../src/api/app.ts'
import { createLeanServer, type LeanServer } from '../../src/api/lean/server.ts'
import { BODY_LIMIT, createServer } from '../../src/api/server.ts'
import { hotHandler } from '../../src/api/wallet/hot-routes.ts'
import { systemClock } from '../../src/clock.ts'
import { createLogger } from '../../src/log.ts'
import { createMemoryWallet } from '../../src/wallet/memory-wallet.ts'
import type { BookedWallet, WalletLevel } from '../../src/wallet/wallet.ts'
import { authenticate, bearer } from '../support/api.ts'
import { answersIn, openRaw, request } from '../support/raw-http.ts'
import { ASSETS, BUYER, FEES, SELLER } from '../support/trades.ts'

interface Pair {
  readonly routes: string
  readonly lean: string
  close(): Promise<void>
}

/** The same wallet twice, once behind each; on one clock, so that times are the same as well. */
async function openPair(
  level: WalletLevel,
  change: (wallet: BookedWallet) => BookedWallet = wallet => wallet,
): Promise<Pair> {
  const log = createLogger('silent')
  let ticks = 1_700_000_000_000
  const notReady = async (): Promise<readonly string[]> => []
  const make = (): { readonly app: App; readonly wallet: BookedWallet } => {
    const clock = { ...systemClock(), now: () => ticks }
    const wallet = change(createMemoryWallet({ assets: ASSETS, clock, feeUserId: FEES, level }))
    const services = { wallet, assets: ASSETS }
    const app = createServer({
      authenticate,
      notReady,
      log,
      version: '0',
      trades: null,
      wallet: services,
    })
    return { app, wallet }
  }
  const plain = make()
  const behind = make()
  await behind.app.ready()
  const services = { wallet: behind.wallet, assets: ASSETS }
  const server: LeanServer = createLeanServer({
    connect: await hotHandler({ app: behind.app, authenticate, notReady, services }),
    takeOver: socket => behind.app.server.emit('connection', socket),
    limits: { headBytes: 16 * 1024, bodyBytes: BODY_LIMIT },
    requestMs: 30_000,
  })
  ticks++
  return {
    routes: await plain.app.listen({ port: 0 }),
    lean: await server.listen({ host: '127.0.0.1', port: 0 }),
    close: async () => {
      await server.close(1000)
      await behind.app.close()
      await plain.app.close()
    },
  }
}

/** What comes back for some bytes until the connection ends, but for dates; headers in the order of their names. */
async function answersOf(url: string, bytes: string): Promise<unknown> {
  const { hostname, port } = new URL(url)
  const received = await new Promise<string>((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) })
    let text = ''
    socket.setEncoding('latin1').on('data', (more: string) => {
      text += more
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(text))
    socket.end(Buffer.from(bytes, 'latin1'))
  })
  const answers = answersIn(received)
  // Such as one to HEAD, whose body is not there.
  if (answers.length === 0) return received.replace(/^date: .*$/im, '')
  return answers.map(({ status, headers, body }) => ({
    status,
    headers: Object.entries(headers)
      .filter(([name]) => name !== 'date')
      .toSorted(([one], [other]) => (one < other ? -1 : 1)),
    body,
  }))
}

const TRADE = '00000000-0000-4000-9000-00000000aaaa'
const KEYED = (key: string) => ({ ...bearer('admin'), 'idempotency-key': key })
const OPERATION = { user_id: BUYER, currency: 'USDT', amount: '100', reason: 'DEPOSIT' }
const LEG = { user_id: BUYER, currency: 'USDT', amount: '1', reason: 'TRADE_SETTLEMENT' }
const HELD = { user_id: BUYER, currency: 'USDT', amount: '2' }
const AUTH = bearer('admin')
const OPERATOR = bearer('operator')

const credit = (body: unknown, key = 'k', more: Readonly<Record<string, string>> = {}): string =>
  request('POST', '/v1/credits', body, { ...KEYED(key), ...more })
const post = (path: string, body: unknown, headers: Readonly<Record<string, string>> = AUTH): string =>
  request('POST', path, body, headers)
const get = (path: string, headers: Readonly<Record<string, string>> = AUTH): string =>
  request('GET', path, undefined, headers)

/** Each is sent on a connection of its own, in this order. */
const CORPUS: readonly (readonly [string, string])[] = [
  ['a credit', credit(OPERATION)],
  ['the same again', credit(OPERATION)],
  ['the same by value', credit({ ...OPERATION, amount: '0100.00', user_id: BUYER.toUpperCase() })],
  ['the key with other content', credit({ ...OPERATION, amount: '1' })],
  ['a debit', post('/v1/debits', { ...LEG, trade_id: TRADE }, KEYED(`${TRADE}:0:buyer-debit`))],
  ['too much', post('/v1/debits', { ...LEG, amount: '1000', trade_id: TRADE }, KEYED('much'))],
  ['too much again', post('/v1/debits', { ...LEG, amount: '1000', trade_id: TRADE }, KEYED('much'))],
  ['an unknown currency', credit({ ...OPERATION, currency: 'DOGE' }, 'doge')],
  ['too many places', credit({ ...OPERATION, amount: '0.000000001' }, 'places')],
  ['too many digits', credit({ ...OPERATION, amount: '9'.repeat(39) }, 'digits')],
  ['a number', credit({ ...OPERATION, amount: 1 }, 'number')],
  ['nothing', credit({ ...OPERATION, amount: '0' }, 'zero')],
  ['no trade', credit({ ...OPERATION, reason: 'TRADE_SETTLEMENT' }, 'no trade')],
  ['a withdrawal in', credit({ ...OPERATION, reason: 'WITHDRAWAL' }, 'wrong way')],
  ['everything wrong', credit({ user_id: 'me', currency: 7, reason: 'GIFT', extra: 1, 'a/b~c': 2 }, 'wrong')],
  ['a field too much', credit({ ...OPERATION, holds: 'h' }, 'more')],
  ['a credit that names a hold', credit({ ...OPERATION, hold: 'h' }, 'hold')],
  ['no body', credit(undefined, 'empty')],
  ['an empty body', credit('', 'empty', { 'content-length': '0' })],
  ['no JSON', credit('{', 'broken')],
  ['null', credit('null', 'null')],
  ['a list', credit('[]', 'list')],
  ['a prototype', credit(`{"__proto__":{},"user_id":"${BUYER}"}`, 'proto')],
  ['a hidden prototype', credit('{"\\u005f_proto__":{}}', 'proto')],
  ['a constructor', credit('{"constructor":{"prototype":{}}}', 'proto')],
  ['a key in the body twice', credit(JSON.stringify(OPERATION).replace('{', '{"amount":"7",'), 'twice')],
  ['a mark in front', credit(`\ufeff${JSON.stringify(OPERATION)}`, 'marked')],
  ['bytes that are no text', credit(OPERATION, 'bytes').replace('DEPOSIT', 'DEPO\xff\xfe\xfd')],
  ['letters beyond ASCII', credit({ ...OPERATION, 'schlüssel💸': 1 }, 'letters')],
  ['a surrogate alone', credit(`{"user_id":"\\ud800"}`, 'surrogate')],
  ['no key', post('/v1/credits', OPERATION)],
  ['an empty key', credit(OPERATION, '')],
  ['the longest key', credit(OPERATION, 'k'.repeat(128))],
  ['a key that is too long', credit(OPERATION, 'k'.repeat(129))],
  ['a key with spaces', credit(OPERATION, '  a b\t')],
  ['a key beyond ASCII', credit(OPERATION, 'schl\xfcssel')],
  ['a key that takes its name', credit(OPERATION, '__proto__')],
  ['another type', credit(OPERATION, 'type', { 'content-type': 'text/plain' })],
  ['no type', credit(OPERATION, 'type', { 'content-type': '' })],
  ['a type with a charset', credit(OPERATION, 'charset', { 'content-type': 'application/json; charset=utf-8' })],
  ['a type with another', credit(OPERATION, 'charset', { 'content-type': 'application/json;charset=latin1' })],
  ['a type in capitals', credit(OPERATION, 'capitals', { 'content-type': 'Application/JSON' })],
  ['a query', post('/v1/credits?x=1', OPERATION, KEYED('query'))],
  ['a slash too much', post('/v1/credits/', OPERATION, KEYED('slash'))],
  ['an encoded path', post('/v1/%63redits', OPERATION, KEYED('encoded'))],
  ['another method', request('PUT', '/v1/credits', OPERATION, KEYED('put'))],
  ['no authorization', post('/v1/credits', OPERATION, { 'idempotency-key': 'x' })],
  ['another scheme', post('/v1/credits', OPERATION, { authorization: 'Basic eDp5', 'idempotency-key': 'x' })],
  ['a wrong token', post('/v1/credits', OPERATION, { authorization: 'Bearer x', 'idempotency-key': 'x' })],
  ['a token with spaces', post('/v1/credits', OPERATION, { ...KEYED('bearer'), authorization: 'bearer   admin-key' })],
  ['too small a role', post('/v1/credits', OPERATION, { ...bearer('viewer'), 'idempotency-key': 'x' })],
  ['a role that may settle and not deposit', post('/v1/credits', OPERATION, { ...OPERATOR, 'idempotency-key': 'x' })],
  ['the same in a batch', post('/v1/batch', { operations: [{ ...OPERATION, type: 'credit', key: 'x' }] }, OPERATOR)],
  ['and the reversal of a deposit', post('/v1/reversals', { key: 'k' }, OPERATOR)],
  ['what it may do', post('/v1/credits', { ...LEG, trade_id: TRADE }, { ...OPERATOR, 'idempotency-key': 'operator' })],
  ['a balance it may see', get(`/v1/balances/${BUYER}/USDT`, bearer('viewer'))],
  ['its own balance', get(`/v1/balances/${BUYER}/USDT`, bearer('trader'))],
  ["another's balance", get(`/v1/balances/${SELLER}/USDT`, bearer('trader'))],
  ['a hold', post('/v1/holds', HELD, KEYED('h'))],
  ['a hold again', post('/v1/holds', HELD, KEYED('h'))],
  ['a hold again by value', post('/v1/holds', { ...HELD, amount: '02.0', user_id: BUYER.toUpperCase() }, KEYED('h'))],
  ['a hold under its key of something else', post('/v1/holds', { ...HELD, amount: '3' }, KEYED('h'))],
  ['a hold of too much', post('/v1/holds', { ...HELD, amount: '1000' }, KEYED('hh'))],
  ['a hold of an unknown currency', post('/v1/holds', { ...HELD, currency: 'DOGE' }, KEYED('doge held'))],
  ['a hold of too many places', post('/v1/holds', { ...HELD, amount: '0.000000001' }, KEYED('places held'))],
  ['a hold of nothing', post('/v1/holds', { ...HELD, amount: '0' }, KEYED('zero held'))],
  ['a hold with more', post('/v1/holds', { ...HELD, reason: 'TRADE_SETTLEMENT' }, KEYED('more held'))],
  ['a hold without a key', post('/v1/holds', HELD)],
  ['a hold of a viewer', post('/v1/holds', HELD, { ...bearer('viewer'), 'idempotency-key': 'viewed' })],
  ['a hold of an operator', post('/v1/holds', HELD, { ...OPERATOR, 'idempotency-key': 'operated' })],
  ['no hold at all', post('/v1/holds', undefined, KEYED('empty held'))],
  ['a debit on it', post('/v1/debits', { ...LEG, trade_id: TRADE, hold: 'h' }, KEYED('drawn'))],
  ['a debit on none', post('/v1/debits', { ...LEG, trade_id: TRADE, hold: 'none' }, KEYED('drawn on none'))],
  ['its balance', get(`/v1/balances/${BUYER}/USDT`)],
  ['a release', post('/v1/holds/release', { key: 'h', amount: '0.5' }, KEYED('r'))],
  ['a release again', post('/v1/holds/release', { key: 'h', amount: '0.50' }, KEYED('r'))],
  ['a release of too much', post('/v1/holds/release', { key: 'h', amount: '5' }, KEYED('rr'))],
  ['a release of too many places', post('/v1/holds/release', { key: 'h', amount: '0.000000001' }, KEYED('places'))],
  ['a release of none', post('/v1/holds/release', { key: 'none' }, KEYED('r of none'))],
  ['a release of no key', post('/v1/holds/release', { key: '' }, KEYED('r of no key'))],
  ['a release of a number', post('/v1/holds/release', { key: 'h', amount: 1 }, KEYED('r of a number'))],
  ['a release without a key', post('/v1/holds/release', { key: 'h' })],
  ['a release of the rest', post('/v1/holds/release', { key: 'h' }, KEYED('rest'))],
  ['a reversal', post('/v1/reversals', { key: `${TRADE}:0:buyer-debit`, reason: 'SETTLEMENT_ROLLBACK' })],
  ['a reversal again', post('/v1/reversals', { key: `${TRADE}:0:buyer-debit` })],
  ['the original after it', post('/v1/debits', { ...LEG, trade_id: TRADE }, KEYED(`${TRADE}:0:buyer-debit`))],
  ['a reversal of nothing', post('/v1/reversals', { key: 'never' })],
  ['a reversal without a key', post('/v1/reversals', {})],
  ['a reversal of no key', post('/v1/reversals', { key: '' })],
  ['a reversal with a reason', post('/v1/reversals', { key: 'never', reason: 'DEPOSIT' })],
  ['money that is spent', post('/v1/debits', { ...LEG, amount: '99', trade_id: TRADE }, KEYED('spend'))],
  ['a reversal that finds it spent', post('/v1/reversals', { key: 'k' })],
  ['an empty batch', post('/v1/batch', { operations: [] })],
  ['a batch that is none', post('/v1/batch', { operations: {} })],
  ['a batch with more', post('/v1/batch', { operations: [], atomic: true })],
  [
    'a batch of all kinds',
    post('/v1/batch', {
      operations: [
        { ...OPERATION, type: 'credit', key: 'b1' },
        { ...OPERATION, type: 'credit', key: 'b1' },
        { ...OPERATION, type: 'credit', key: 'b1', amount: '7' },
        { ...LEG, type: 'debit', key: 'b2', trade_id: TRADE },
        { type: 'reversal', key: 'b2' },
        { ...LEG, type: 'debit', key: 'b2', trade_id: TRADE },
        { ...LEG, type: 'debit', key: 'b3', trade_id: TRADE, amount: '100000' },
        { ...LEG, type: 'debit', trade_id: TRADE },
        { ...LEG, type: 'gift', key: 'b4' },
        { type: 'reversal' },
        { key: 7 },
        ...[null, 7, [], 'x'],
      ],
    }),
  ],
  ['the largest batch', post('/v1/batch', { operations: Array.from({ length: 1000 }, () => ({})) })],
  ['a larger one', post('/v1/batch', { operations: Array.from({ length: 1001 }, () => ({})) })],
  ['no settlements', post('/v1/settlements', { settlements: [] })],
  ['settlements that are none', post('/v1/settlements', { settlements: 1 })],
  [
    'settlements of all kinds',
    post('/v1/settlements', {
      settlements: [
        {
          key: 's1',
          trade_id: TRADE,
          legs: [
            { ...LEG, type: 'debit' },
            { ...LEG, type: 'credit', user_id: SELLER },
          ],
        },
        {
          key: 's1',
          trade_id: TRADE,
          legs: [
            { ...LEG, type: 'debit' },
            { ...LEG, type: 'credit', user_id: SELLER },
          ],
        },
        { key: 's1', trade_id: TRADE, legs: [{ ...LEG, type: 'debit' }] },
        { key: 's2', trade_id: TRADE, legs: [] },
        { key: 's3', legs: [] },
        { trade_id: TRADE, legs: [] },
        { key: 's4', trade_id: TRADE, legs: [{ ...LEG, type: 'debit', amount: '1e3' }] },
        { key: 's5', trade_id: TRADE, legs: [{ ...LEG, type: 'debit', amount: '0.123456789' }] },
        null,
      ],
    }),
  ],
  ['a larger call', post('/v1/settlements', { settlements: Array.from({ length: 1001 }, () => ({})) })],
  ['a balance', get(`/v1/balances/${BUYER}/USDT`)],
  ['in capitals', get(`/v1/balances/${BUYER.toUpperCase()}/USDT`)],
  ['of a stranger', get('/v1/balances/00000000-0000-4000-8000-0000000000ff/BTC')],
  ['in an unknown currency', get(`/v1/balances/${BUYER}/DOGE`)],
  ['of nobody', get('/v1/balances/me/BTC')],
  ['in nothing', get(`/v1/balances/${BUYER}/`)],
  ['in an encoded currency', get(`/v1/balances/${BUYER}/%55SDT`)],
  ['in a query', get(`/v1/balances/${BUYER}/USDT?x=1`)],
  ['with more', get(`/v1/balances/${BUYER}/USDT/more`)],
  ['with a body', request('GET', `/v1/balances/${BUYER}/USDT`, { a: 1 }, AUTH)],
  ['without a key', get(`/v1/balances/${BUYER}/USDT`, {})],
  ['a key looked up', get('/v1/operations/k')],
  ['entries', get(`/v1/entries?user_id=${BUYER}&currency=USDT&limit=2`)],
  ['totals', get('/v1/totals')],
  ['capabilities', get('/v1/capabilities')],
  ['health', get('/livez', {})],
  ['nothing', get('/nowhere')],
  ['a path that is no path', get('/v1/operations/%zz')],
  ['a client that closes', credit(OPERATION, 'closing', { connection: 'close' })],
  ['HTTP/1.0', credit(OPERATION, 'old').replace('HTTP/1.1', 'HTTP/1.0')],
  ['HTTP/1.0 that stays', credit(OPERATION, 'old too', { connection: 'keep-alive' }).replace('HTTP/1.1', 'HTTP/1.0')],
  ['HEAD', request('HEAD', '/v1/totals', undefined, AUTH).replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')],
  ['no HTTP', 'hello\r\n\r\n'],
  ['no host', get('/v1/totals').replace('host: wallet\r\n', '')],
  ['two lengths', credit(OPERATION, 'lengths', { 'Content-Length': '3' })],
  ['a length and chunks', credit(OPERATION, 'smuggled', { 'transfer-encoding': 'chunked' })],
  ['a bare line feed', get('/v1/totals').replaceAll('\r\n', '\n')],
  ['a folded line', get('/v1/totals').replace('host: wallet', 'host: wallet\r\nvia: a\r\n b')],
  ['a head that is too large', get('/v1/totals', { ...AUTH, via: 'x'.repeat(20_000) })],
  ['a body that is too large', credit('x', 'large', { 'content-length': `${BODY_LIMIT + 1}` })],
  [
    'a body in chunks',
    credit('', 'chunks', { 'transfer-encoding': 'chunked' }).replace('content-length: 0\r\n', '') +
      `${JSON.stringify(OPERATION).length.toString(16)}\r\n${JSON.stringify(OPERATION)}\r\n0\r\n\r\n`,
  ],
  [
    'many at once',
    [credit(OPERATION, 'p1'), get('/v1/totals'), credit('{', 'p2'), get(`/v1/balances/${BUYER}/USDT`)]
      .join('')
      .repeat(3),
  ],
]

describe.each<WalletLevel>(['settlements', 'basic'])('at level %s', level => {
  let pair: Pair
  beforeAll(async () => {
    pair = await openPair(level)
  })
  afterAll(() => pair.close())

  test.each(CORPUS)('%s', async (_, bytes) => {
    expect(await answersOf(pair.lean, bytes)).toEqual(await answersOf(pair.routes, bytes))
  })
})

describe.each([
  ['whose database is away', Object.assign(new Error('connect ENOENT'), { code: 'ENOENT' })],
  ['with a fault', new Error('a mistake')],
])('a wallet %s', (_, error) => {
  let pair: Pair
  beforeAll(async () => {
    const fails = async (): Promise<never> => await Promise.reject(error)
    const all = { apply: fails, settle: fails, reverse: fails, hold: fails, release: fails, balance: fails }
    pair = await openPair('settlements', wallet => ({ ...wallet, ...all }))
  })
  afterAll(() => pair.close())

  test.each([
    ['a credit', credit(OPERATION)],
    ['a reversal', post('/v1/reversals', { key: 'k' })],
    ['a hold', post('/v1/holds', HELD, KEYED('h'))],
    ['a release', post('/v1/holds/release', { key: 'h' }, KEYED('r'))],
    ['a batch', post('/v1/batch', { operations: [{ ...OPERATION, type: 'credit', key: 'b1' }] })],
    [
      'a settlement',
      post('/v1/settlements', {
        settlements: [{ key: 's1', trade_id: TRADE, legs: ['debit', 'credit'].map(type => ({ ...LEG, type })) }],
      }),
    ],
    ['a balance', get(`/v1/balances/${BUYER}/USDT`)],
    ['what is behind it', credit(OPERATION) + get('/livez')],
  ])('says so to %s, and keeps the connection', async (_name, bytes) => {
    const answers = await answersOf(pair.lean, bytes)
    expect(answers).toEqual(await answersOf(pair.routes, bytes))
    expect(answers).toMatchObject([
      { status: 'code' in error ? 503 : 500 },
      ...(bytes.includes('livez') ? [{ status: 200 }] : []),
    ])
  })
})

describe('a connection', () => {
  let pair: Pair
  beforeAll(async () => {
    pair = await openPair('settlements')
  })
  afterAll(() => pair.close())

  test('bytes may come one by one', async () => {
    const raw = await openRaw(pair.lean)
    for (const byte of credit(OPERATION, 'slowly')) raw.send(byte)
    expect(await raw.until(text => answersIn(text).length === 1)).toBe(true)
    expect(answersIn(raw.received())[0]?.status).toBe(201)
    raw.close()
  })

  test('thousands of requests at once are answered in their order', async () => {
    const raw = await openRaw(pair.lean)
    const keys = Array.from({ length: 5000 }, (_, at) => `many-${at}`)
    raw.send(keys.map(key => credit({ ...OPERATION, amount: '0.01' }, key)).join(''))
    expect(await raw.until(text => answersIn(text).length === keys.length, 20_000)).toBe(true)
    expect(answersIn(raw.received()).map(({ body }) => JSON.parse(body).key)).toEqual(keys)
    raw.close()
  })

  test('a client that waits for 100 is told to go on', async () => {
    const raw = await openRaw(pair.lean)
    const [head, body] = credit(OPERATION, 'expecting', { expect: '100-continue' }).split('\r\n\r\n')
    raw.send(`${head}\r\n\r\n`)
    expect(await raw.until(text => text === 'HTTP/1.1 100 Continue\r\n\r\n')).toBe(true)
    raw.send(body ?? '')
    expect(await raw.until(text => text.includes('HTTP/1.1 201 Created'))).toBe(true)
    raw.close()
  })

  test('a key that was good stays good for its connection alone', async () => {
    const raw = await openRaw(pair.lean)
    raw.send(get('/v1/totals') + get('/v1/totals', { authorization: 'Bearer other' }) + get('/v1/totals', {}))
    expect(await raw.until(text => answersIn(text).length === 3)).toBe(true)
    expect(answersIn(raw.received()).map(({ status }) => status)).toEqual([200, 401, 401])
    raw.close()
  })

  test('a client that goes away in the middle costs nobody else anything', async () => {
    const raw = await openRaw(pair.lean)
    raw.send(credit(OPERATION, 'gone').slice(0, -5))
    raw.close()
    const other = await openRaw(pair.lean)
    other.send(get('/livez', {}))
    expect(await other.until(text => answersIn(text).length === 1)).toBe(true)
    other.close()
  })
})
