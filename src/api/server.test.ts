import { randomUUID } from 'node:crypto'
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { pino } from 'pino'
import { afterEach, expect, test } from 'vitest'
import { type Answer, authenticate, bearer, call } from '../../test/support/api.ts'
import { BTC_USDT, BUYER, FEES, SELLER } from '../../test/support/trades.ts'
import { systemClock } from '../clock.ts'
import type { Taken } from '../worker/intake.ts'
import type { App } from './app.ts'
import type { TradeServices } from './routes/trade-services.ts'
import { createServer, type ServerOptions } from './server.ts'

const apps: App[] = []
afterEach(async () => {
  await Promise.all(apps.splice(0).map(app => app.close()))
})

const ACCEPTED_NOTHING: Taken = { acceptedIds: [], duplicates: [], reusedIds: [] }

interface Built {
  readonly app: App
  readonly lines: Record<string, unknown>[]
}

function build(trades: Partial<TradeServices> = {}, options: Partial<ServerOptions> = {}): Built {
  const lines: Record<string, unknown>[] = []
  const app = createServer({
    authenticate,
    notReady: async () => [],
    log: pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    version: '1.2.3',
    trades: {
      store: { trade: async () => null, trades: async () => [] },
      intake: { take: async trades => ({ ...ACCEPTED_NOTHING, acceptedIds: trades.map(({ trade }) => trade.id) }) },
      instruments: { assets: new Map(), markets: new Map([[BTC_USDT.symbol, BTC_USDT]]) },
      clock: systemClock(),
      feeUserId: FEES,
      ...trades,
    },
    wallet: null,
    ...options,
  })
  apps.push(app)
  return { app, lines }
}

function trade(change: object = {}): object {
  const sides = { buyer_user_id: BUYER, seller_user_id: SELLER }
  return { id: randomUUID(), symbol: 'BTC/USDT', ...sides, price: '1', quantity: '1', ...change }
}

function post(app: App, payload: unknown, type = 'application/json'): Promise<Answer> {
  const headers = { ...bearer('operator'), 'content-type': type }
  return call(app, { method: 'POST', url: '/v1/trades', headers, payload: payload as string })
}

const pointersOf = ({ body }: Answer): string[] => body.errors.map(({ pointer }: { pointer: string }) => pointer)

test('a request without a key, or with a wrong one, is 401 and says how to bring one', async () => {
  const { app } = build()
  for (const authorization of [
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'Bearer wrong',
    'Basic dmlld2VyLWtleQ==',
    'viewer-key',
    `Bearer ${'x'.repeat(5000)}`,
    'Bearer viewer-key, Bearer x',
  ]) {
    const headers = authorization === undefined ? {} : { authorization }
    const answer = await call(app, { method: 'GET', url: '/v1/trades', headers })
    expect(answer, authorization).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } })
    expect(answer.headers['www-authenticate']).toContain('Bearer')
    expect(answer.headers['content-type']).toContain('application/problem+json')
  }
  const lower = await call(app, { method: 'GET', url: '/v1/trades', headers: { authorization: 'bearer viewer-key' } })
  expect(lower.status).toBe(200)
})

test('a role that is too small is 403, before anything of the request is looked at', async () => {
  const { app } = build()
  for (const role of ['viewer', 'trader'] as const) {
    const answer = await call(app, { method: 'POST', url: '/v1/trades', headers: bearer(role), payload: { junk: 1 } })
    expect(answer).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } })
  }
  for (const role of ['operator', 'admin'] as const) {
    const payload = { trades: [trade()] }
    expect((await call(app, { method: 'POST', url: '/v1/trades', headers: bearer(role), payload })).status).toBe(202)
  }
})

test('a malformed request is 400 with a pointer to each fault, and nothing of it is taken', async () => {
  let calls = 0
  const take = async (): Promise<Taken> => {
    calls++
    return ACCEPTED_NOTHING
  }
  const { app } = build({ intake: { take } })
  const answer = await post(app, {
    'a/b~c': 1,
    trades: [
      trade(),
      trade({ price: 5, extra: true }),
      trade({ id: 'x', quantity: undefined, is_buyer_maker: 'true' }),
      7,
      trade({ buyer_fee: null, seller_fee: '1e5', executed_at: 'now' }),
    ],
  })
  expect(answer).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST', status: 400 } })
  expect(pointersOf(answer).toSorted()).toEqual([
    '/a~1b~0c',
    '/trades/1/extra',
    '/trades/1/price',
    '/trades/2/id',
    '/trades/2/is_buyer_maker',
    '/trades/2/quantity',
    '/trades/3',
    '/trades/4/buyer_fee',
    '/trades/4/executed_at',
    '/trades/4/seller_fee',
  ])
  for (const { detail } of answer.body.errors) expect(detail).toMatch(/^(?:must be|is) /)
  expect(calls).toBe(0)
})

test('a body that is no object with trades is 400', async () => {
  const { app } = build()
  for (const body of [{}, { trades: null }, { trades: {} }, { trades: 'x' }, [], [[]], null]) {
    const answer = await post(app, JSON.stringify(body))
    expect(answer, JSON.stringify(body)).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST' } })
    expect(pointersOf(answer).length).toBe(1)
  }
  expect((await post(app, { trades: [] })).body).toEqual({ accepted: 0, duplicates: 0 })
})

test('a body that is not JSON is 400, and so is one that reaches for prototypes', async () => {
  const { app } = build()
  const bodies = [
    '',
    '{',
    '{"trades":[]',
    '{"trades":[],}',
    "{'trades':[]}",
    'trades',
    '\0',
    '{"trades":[],"__proto__":{"x":1}}',
    '{"trades":[{"__proto__":{"price":"1"}}]}',
    '{"trades":[{"constructor":{"prototype":{"x":1}}}]}',
    '{"trades":[NaN]}',
    '{"trades":[1e999999]}',
    '{"trades":[{"\\ud800":1}]}',
  ]
  for (const body of bodies) {
    const answer = await post(app, body)
    expect(answer, body).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST' } })
    expect(answer.headers['content-type']).toContain('application/problem+json')
  }
  expect(Object.hasOwn(Object.prototype, 'x')).toBe(false)
  const bytes = Buffer.from([0x7b, 0xff, 0xfe, 0x22, 0x7d])
  expect((await post(app, bytes)).status).toBe(400)
})

test('deep and wide JSON is refused without harm', async () => {
  const { app } = build()
  const deep = `{"trades":${'['.repeat(500_000)}${']'.repeat(500_000)}}`
  expect(await post(app, deep)).toMatchObject({ status: 400 })
  const deepKeys = `{"trades":[${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}]}`
  expect(await post(app, deepKeys)).toMatchObject({ status: 400 })
  const wide = `{"trades":[{${Array.from({ length: 200_000 }, (_, index) => `"${index}":0`).join(',')}}]}`
  const answer = await post(app, wide)
  expect(answer.status).toBe(400)
  expect(answer.body.errors.length).toBeLessThanOrEqual(10_000)
  expect(await post(app, `{"trades":[${'0,'.repeat(1_000_000)}0]}`)).toMatchObject({ status: 413 })
})

test('a body of more than 4 MiB is 413', async () => {
  const { app } = build()
  const answer = await post(app, JSON.stringify({ trades: [], pad: 'x'.repeat(4 * 1024 * 1024) }))
  expect(answer).toMatchObject({ status: 413, body: { code: 'TOO_LARGE' } })
})

test('a content type other than JSON is 415', async () => {
  const { app } = build()
  for (const type of ['text/plain', 'application/xml', 'application/x-www-form-urlencoded', 'x']) {
    const answer = await post(app, '{"trades":[]}', type)
    expect(answer, type).toMatchObject({ status: 415, body: { code: 'INVALID_REQUEST', status: 415 } })
  }
  expect((await post(app, '{"trades":[]}', 'application/json; charset=utf-8')).status).toBe(202)
})

test('what is not there is 404: routes, methods, the wallet where none is offered', async () => {
  const { app } = build()
  for (const [method, url] of [
    ['GET', '/'],
    ['GET', '/v2/trades'],
    ['DELETE', '/v1/trades'],
    ['POST', `/v1/trades/${randomUUID()}`],
    ['GET', '/v1/totals'],
    ['GET', '/v1/trades/'],
    ['GET', '/__proto__'],
  ] as const) {
    const answer = await call(app, { method, url, headers: bearer('admin') })
    expect(answer, url).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } })
  }
})

test('a failure is 500, one ERROR line in the log, and not a word of the inside in the answer', async () => {
  const inside = new Error('syntax error in select secret from trades')
  const { app, lines } = build({ store: { trade: () => Promise.reject(inside), trades: async () => [] } })
  const answer = await call(app, { method: 'GET', url: `/v1/trades/${randomUUID()}`, headers: bearer('viewer') })
  expect(answer).toMatchObject({ status: 500, body: { code: 'INTERNAL' } })
  expect(JSON.stringify(answer.body)).not.toMatch(/secret|select|stack|\.ts/)
  expect(lines).toEqual([expect.objectContaining({ level: 50, route: '/v1/trades/:id', method: 'GET' })])
  expect(JSON.stringify(lines)).not.toContain('viewer-key')
})

test('a database that is away is 503 with Retry-After: by its code, or because it does not answer a check', async () => {
  const failing = (error: Error): TradeServices['store'] => ({
    trade: () => Promise.reject(error),
    trades: () => Promise.reject(error),
  })
  const withCode = Object.assign(new Error('connect failed'), { code: 'ECONNREFUSED' })
  const refused = build({ store: failing(withCode) })
  const broken = build({ store: failing(new Error('Connection terminated')) }, { notReady: async () => ['database'] })
  const unclear = build({ store: failing(new Error('?')) }, { notReady: () => Promise.reject(new Error('no')) })
  for (const { app } of [refused, broken, unclear]) {
    const answer = await call(app, { method: 'GET', url: '/v1/trades', headers: bearer('viewer') })
    expect(answer).toMatchObject({ status: 503, body: { code: 'UNAVAILABLE' } })
    expect(answer.headers['retry-after']).toBe('1')
  }
  const keys = build({}, { authenticate: () => Promise.reject(withCode) })
  expect((await call(keys.app, { method: 'GET', url: '/v1/trades', headers: bearer('viewer') })).status).toBe(503)
})

test('requests that go well, or are refused, leave no line in the log', async () => {
  const { app, lines } = build()
  await post(app, { trades: [trade()] })
  await post(app, { trades: 1 })
  await call(app, { method: 'GET', url: '/v1/trades' })
  expect(lines).toEqual([])
})

test('livez and readyz need no key; readyz says what is lacking', async () => {
  let lacking: readonly string[] = ['database']
  const { app } = build({}, { notReady: async () => lacking })
  expect(await call(app, { method: 'GET', url: '/livez' })).toMatchObject({ status: 200, body: { status: 'live' } })
  const answer = await call(app, { method: 'GET', url: '/readyz' })
  expect(answer).toMatchObject({ status: 503, body: { code: 'UNAVAILABLE', detail: 'not ready: database' } })
  expect(answer.headers['retry-after']).toBe('1')
  lacking = []
  expect(await call(app, { method: 'GET', url: '/readyz' })).toMatchObject({ status: 200, body: { status: 'ready' } })
})

test('a check that hangs is one that fails', async () => {
  const { app } = build({}, { notReady: () => new Promise(() => {}) })
  expect((await call(app, { method: 'GET', url: '/readyz' })).status).toBe(503)
})

test('the API describes itself in OpenAPI 3.1, from the schemas it checks with', async () => {
  const { app } = build()
  const { status, body } = await call(app, { method: 'GET', url: '/openapi.json' })
  expect(status).toBe(200)
  expect(body).toMatchObject({ openapi: '3.1.0', info: { title: 'Legwork', version: '1.2.3' } })
  expect(Object.keys(body.paths).toSorted()).toEqual(['/livez', '/readyz', '/v1/trades', '/v1/trades/{id}'])
  const take = body.paths['/v1/trades'].post
  const { items } = take.requestBody.content['application/json'].schema.properties.trades
  expect(items.required).toEqual(['id', 'symbol', 'buyer_user_id', 'seller_user_id', 'price', 'quantity'])
  expect(Object.keys(take.responses)).toEqual(['202', '4XX', '5XX'])
  expect(Object.keys(take.responses['4XX'].content)).toEqual(['application/problem+json'])
  const page = await app.inject({ method: 'GET', url: '/docs' })
  expect([page.statusCode, page.headers['content-type']]).toEqual([200, expect.stringContaining('text/html')])
})

test('a call that takes too long is 503, and its late end harms nothing', async () => {
  let end = (): void => {}
  const take = (): Promise<Taken> => new Promise(resolve => (end = () => resolve(ACCEPTED_NOTHING)))
  const { app, lines } = build({ intake: { take } }, { timeoutMs: 20 })
  expect(await post(app, { trades: [trade()] })).toMatchObject({ status: 503, body: { code: 'UNAVAILABLE' } })
  end()
  await new Promise(setImmediate)
  // Warnings, one of them the framework's about the answer that came too late; no error.
  expect(new Set(lines.map(({ level }) => level))).toEqual(new Set([40]))
})

// Over a socket

async function listen(app: App): Promise<number> {
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return Number(new URL(url).port)
}

function send(port: number, agent: Agent, path: string, body: string | null): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { ...bearer('operator'), 'content-type': 'application/json' }
    const request = httpRequest({ port, agent, path, headers, method: body === null ? 'GET' : 'POST' }, resolve)
    request.on('error', reject)
    request.end(body ?? undefined)
  })
}

test('a body that is too large is 413, which whoever sends it gets to read', async () => {
  const { app } = build()
  const port = await listen(app)
  const agent = new Agent({ keepAlive: true })
  for (const megabytes of [5, 20]) {
    const answer = await send(port, agent, '/v1/trades', `"${'x'.repeat(megabytes * 2 ** 20)}"`)
    answer.resume()
    expect(answer.statusCode).toBe(413)
  }
  agent.destroy()
  await app.close()
}, 10_000)

test('a body that does not come whole in time is 408, and nothing is said to be away', async () => {
  const { app } = build({}, { timeoutMs: 50 })
  const port = await listen(app)
  const headers = { ...bearer('operator'), 'content-type': 'application/json', 'content-length': 1000 }
  const answered = Promise.withResolvers<IncomingMessage>()
  const request = httpRequest({ port, path: '/v1/trades', headers, method: 'POST' }, answered.resolve)
  request.on('error', answered.reject)
  request.write('{"trades":')
  const answer = await answered.promise
  let text = ''
  for await (const part of answer) text += part
  expect([answer.statusCode, JSON.parse(text)]).toMatchObject([408, { status: 408, code: 'INVALID_REQUEST' }])
  request.destroy()
  await app.close()
}, 10_000)

test('closing answers what is under way, takes nothing new, and does not wait for idle connections', async () => {
  let release = (): void => {}
  const begun = Promise.withResolvers<void>()
  const { app } = build({
    intake: {
      take: () => {
        begun.resolve()
        return new Promise(resolve => {
          release = () => resolve({ ...ACCEPTED_NOTHING, acceptedIds: ['x'] })
        })
      },
    },
  })
  const port = await listen(app)
  const agent = new Agent({ keepAlive: true })
  ;(await send(port, agent, '/livez', null)).resume()
  const underWay = send(port, agent, '/v1/trades', JSON.stringify({ trades: [trade()] }))
  await begun.promise
  const closed = app.close()
  await expect(send(port, new Agent(), '/livez', null).then(({ statusCode }) => statusCode)).rejects.toThrow()
  release()
  const answer = await underWay
  answer.resume()
  expect([answer.statusCode, answer.headers.connection]).toEqual([202, 'close'])
  await closed
  agent.destroy()
}, 10_000)

test('a request that comes down a busy connection after the end was asked for is 503', async () => {
  const begun = Promise.withResolvers<void>()
  const held = Promise.withResolvers<Taken>()
  const { app } = build({
    intake: {
      take: () => {
        begun.resolve()
        return held.promise
      },
    },
  })
  const port = await listen(app)
  const body = JSON.stringify({ trades: [trade()] })
  const head = `Host: x\r\nAuthorization: ${bearer('operator').authorization}\r\nContent-Type: application/json\r\n`
  const socket = connect(port, '127.0.0.1')
  const said = new Promise<string>(resolve => {
    let text = ''
    socket.on('data', chunk => {
      text += chunk
    })
    socket.on('close', () => resolve(text))
  })
  socket.write(`POST /v1/trades HTTP/1.1\r\n${head}Content-Length: ${body.length}\r\n\r\n${body}`)
  await begun.promise
  const closed = app.close()
  socket.write(`GET /v1/trades HTTP/1.1\r\n${head}\r\n`)
  await new Promise(setImmediate)
  held.resolve(ACCEPTED_NOTHING)
  const text = await said
  await closed
  expect(text).toContain('HTTP/1.1 202')
  // The first answer ends the connection, so the second request is either refused or never answered.
  expect(text).not.toMatch(/HTTP\/1\.1 200/)
}, 10_000)

test('a socket that does not speak HTTP gets a problem and is closed', async () => {
  const { app, lines } = build()
  const port = await listen(app)
  lines.length = 0
  const said = await new Promise<string>((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('hello\r\n\r\n'))
    let text = ''
    socket.on('data', chunk => (text += chunk))
    socket.on('end', () => resolve(text))
    socket.on('error', reject)
  })
  expect(said).toMatch(/^HTTP\/1\.1 400 /)
  expect(said).toContain('application/problem+json')
  expect(said).toContain('"code":"INVALID_REQUEST"')
})
