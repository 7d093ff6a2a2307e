import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { answerText, openRawServer, type RawRequest, type RawServer } from '../../../test/support/raw-server.ts'
import { capture, type LogLine } from '../../../test/support/workers.ts'
import { systemClock } from '../../clock.ts'
import { createPipelinedTransport, type PipelinedTransportOptions } from './pipelined-transport.ts'
import type { HttpRequest, HttpTransport, Sent } from './transport.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

interface Pair {
  readonly server: RawServer
  readonly transport: HttpTransport
  readonly lines: readonly LogLine[]
}

async function pair(
  handle: (request: RawRequest) => void,
  change: Partial<PipelinedTransportOptions> = {},
): Promise<Pair> {
  const server = await openRawServer(handle)
  closing.push(() => server.close())
  return { server, ...transportTo(server.url, change) }
}

function transportTo(url: string, change: Partial<PipelinedTransportOptions> = {}): Omit<Pair, 'server'> {
  const lines: LogLine[] = []
  const transport = createPipelinedTransport({ url, clock: systemClock(), log: capture(lines), ...change })
  closing.push(() => transport.close())
  return { transport, lines }
}

function post(body: string, deadlineMs = 2000): HttpRequest {
  return { method: 'POST', path: '/v1/x', headers: { 'Idempotency-Key': body }, body, deadlineMs }
}

function many(transport: HttpTransport, count: number, deadlineMs = 2000): Promise<readonly Sent[]> {
  return Promise.all(Array.from({ length: count }, (_, at) => transport.send(post(`body ${at}`, deadlineMs))))
}

function bodies(sent: readonly Sent[]): readonly string[] {
  return sent.map(each => (each.kind === 'answer' ? each.body : `${each.kind} ${each.code}`))
}

const echo = ({ socket, body }: RawRequest): void => {
  socket.write(answerText(200, body))
}

/** Shows that the server keeps the order, so that connections are filled from then on. */
async function prove(transport: HttpTransport): Promise<void> {
  for (const sent of await many(transport, 32)) if (sent.kind === 'answer') transport.confirm(sent, true)
}

describe('what goes over the wire', () => {
  test('a request has its own headers, those of all, and the length of its body in bytes', async () => {
    const { server, transport } = await pair(echo, { headers: { Authorization: 'Bearer t' } })
    const answer = await transport.send({ ...post('{"é":1}'), headers: { 'Idempotency-Key': 'a key' } })
    expect(answer).toMatchObject({ kind: 'answer', status: 200, contentType: 'application/json', retryAfter: null })
    const [request] = server.requests
    expect(request).toMatchObject({ method: 'POST', path: '/v1/x' })
    expect(request?.headers).toEqual({
      host: server.url.slice('http://'.length),
      authorization: 'Bearer t',
      'idempotency-key': 'a key',
      'content-type': 'application/json',
      'content-length': '8',
    })
  })

  test('the path of the service comes before that of the request', async () => {
    const { server } = await pair(echo)
    const { transport } = transportTo(`${server.url}/wallets/one/`)
    await transport.send({ method: 'GET', path: '/v1/capabilities?a=b', headers: {}, body: null, deadlineMs: 1000 })
    expect(server.requests[0]).toMatchObject({ method: 'GET', path: '/wallets/one/v1/capabilities?a=b' })
    expect(server.requests[0]?.headers).not.toHaveProperty('content-length')
  })

  test('a header or path that would be two is never written', async () => {
    const { server, transport } = await pair(echo)
    const bad = [{ headers: { A: 'b\r\nC: d' } }, { headers: { 'A: b\r\nC': 'd' } }, { path: '/v1 HTTP/1.1\r\n' }]
    for (const change of bad) await expect(transport.send({ ...post('x'), ...change })).rejects.toThrow()
    expect(server.requests).toEqual([])
  })
})

describe('many at once', () => {
  test('each gets its own answer, on few connections until the order is proved, and on shared ones after', async () => {
    const { server, transport } = await pair(echo)
    await prove(transport)
    expect(server.connections().opened).toBeLessThanOrEqual(8)
    const wanted = Array.from({ length: 3000 }, (_, at) => `body ${at}`)
    expect(bodies(await many(transport, 3000))).toEqual(wanted)
    expect(server.connections().opened).toBeLessThanOrEqual(64)
    expect(Math.max(...server.requests.map(request => request.index))).toBeGreaterThan(32)
  })

  test('what is asked for in one turn leaves in one write a connection', async () => {
    const { server, transport } = await pair(echo, { maxConnections: 1, maxInFlight: 100 })
    await prove(transport)
    const reads = server.reads()
    await many(transport, 100)
    expect(server.reads()).toBe(reads + 1)
  })

  test('a connection never carries more than it may', async () => {
    const held: RawRequest[] = []
    const { server, transport } = await pair(request => held.push(request), { maxConnections: 2, maxInFlight: 3 })
    const sent = many(transport, 20, 3000)
    for (let answered = 0; answered < 20; ) {
      await delay(20)
      const now = held.splice(0)
      const perSocket = new Map<unknown, number>()
      for (const { socket } of now) perSocket.set(socket, (perSocket.get(socket) ?? 0) + 1)
      expect(Math.max(0, ...perSocket.values())).toBeLessThanOrEqual(3)
      answered += now.length
      for (const request of now) echo(request)
    }
    expect(bodies(await sent)).toHaveLength(20)
    expect(server.connections().opened).toBe(2)
  })

  test('one slow answer holds up only what was behind it already: others go elsewhere', async () => {
    let slow: RawRequest | null = null
    const { transport } = await pair(request => {
      if (request.body === 'slow') slow = request
      else echo(request)
    })
    await prove(transport)
    const late = transport.send(post('slow'))
    await delay(300)
    const started = performance.now()
    for (let round = 0; round < 20; round++) await many(transport, 20)
    expect(performance.now() - started).toBeLessThan(1000)
    echo(slow as unknown as RawRequest)
    expect(bodies([await late])).toEqual(['slow'])
  })
})

describe('deadlines', () => {
  test('a request that is not answered in time is lost; those behind it still get theirs', async () => {
    let first: RawRequest | null = null
    const waiting: RawRequest[] = []
    const { server, transport } = await pair(
      request => {
        if (first === null) first = request
        else waiting.push(request)
      },
      { maxConnections: 1 },
    )
    const early = transport.send(post('early', 100))
    const late = transport.send(post('late', 3000))
    expect(await early).toEqual({ kind: 'lost', code: 'TIMEOUT' })
    // Behind a place whose answer is still to come nothing new is put.
    const queued = transport.send(post('queued', 100))
    expect(await queued).toEqual({ kind: 'not_sent', code: 'TIMEOUT' })
    echo(first as unknown as RawRequest)
    for (const request of waiting.splice(0)) echo(request)
    expect(bodies([await late])).toEqual(['late'])
    const next = transport.send(post('next'))
    await delay(30)
    for (const request of waiting.splice(0)) echo(request)
    expect(bodies([await next])).toEqual(['next'])
    expect(server.connections()).toEqual({ opened: 1, open: 1 })
    expect(server.requests.map(({ body }) => body)).toEqual(['early', 'late', 'next'])
  })

  test('a connection nobody waits on any more is destroyed, and a new one is opened', async () => {
    let isStuck = true
    const { server, transport } = await pair(request => !isStuck && echo(request), { maxConnections: 1 })
    const lost = await many(transport, 2, 80)
    expect(lost).toEqual([
      { kind: 'lost', code: 'TIMEOUT' },
      { kind: 'lost', code: 'LOST_BEHIND' },
    ])
    isStuck = false
    expect(bodies([await transport.send(post('again'))])).toEqual(['again'])
    expect(server.connections()).toEqual({ opened: 2, open: 1 })
  })

  test('an answer that drips is lost at the deadline', async () => {
    const { transport } = await pair(({ socket }) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n')
      const drip = setInterval(() => socket.write('x'), 10)
      socket.on('close', () => clearInterval(drip))
    })
    expect(await transport.send(post('x', 100))).toEqual({ kind: 'lost', code: 'TIMEOUT' })
  })
})

describe('what was not sent', () => {
  test('nobody listens there', async () => {
    const { server, transport } = await pair(echo)
    await server.close()
    closing.splice(0, 1)
    expect(await transport.send(post('x'))).toEqual({ kind: 'not_sent', code: 'ECONNREFUSED' })
  })

  test('no such name', async () => {
    const { transport } = transportTo('http://no-such-host.invalid')
    expect(await transport.send(post('x'))).toMatchObject({
      kind: 'not_sent',
      code: expect.stringMatching(/^E(NOTFOUND|AI_AGAIN)$/),
    })
  })

  test('TLS that fails before the request', async () => {
    const { server } = await pair(echo)
    const { transport } = transportTo(server.url.replace('http:', 'https:'))
    expect(await transport.send(post('x'))).toMatchObject({ kind: 'not_sent' })
    expect(server.requests).toEqual([])
  })

  test('more waits than may wait', async () => {
    const { transport } = await pair(() => {}, { maxConnections: 1, maxWaiting: 2 })
    const sent = await many(transport, 4, 60)
    expect(sent.slice(2)).toEqual(Array(2).fill({ kind: 'not_sent', code: 'TOO_MANY' }))
  })

  test('the transport is closed; what was under way is lost', async () => {
    const { server, transport } = await pair(() => {}, { maxConnections: 1, maxInFlight: 1 })
    const sent = many(transport, 2)
    while (server.requests.length === 0) await delay(5)
    transport.close()
    expect(await sent).toEqual([
      { kind: 'lost', code: 'CONNECTION_LOST' },
      { kind: 'not_sent', code: 'CLOSED' },
    ])
    expect(await transport.send(post('x'))).toEqual({ kind: 'not_sent', code: 'CLOSED' })
  })
})

describe('what is lost, and never sent again', () => {
  const cases: readonly (readonly [what: string, act: (request: RawRequest) => void, code: string])[] = [
    ['a connection reset before the answer', ({ socket }) => socket.resetAndDestroy(), 'CONNECTION_LOST'],
    ['a connection ended before the answer', ({ socket }) => socket.end(), 'CONNECTION_LOST'],
    [
      'an answer cut in its body',
      ({ socket }) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a'),
      'ANSWER_CUT',
    ],
    ['garbage', ({ socket }) => socket.write('\x16\x03\x01\x02 not HTTP'), 'ANSWER_MALFORMED'],
    [
      'a huge answer',
      ({ socket }) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n'),
      'ANSWER_TOO_LARGE',
    ],
  ]
  test.each(cases)('%s', async (_, act, code) => {
    const { server, transport } = await pair(act)
    expect(await transport.send(post('x'))).toEqual({ kind: 'lost', code })
    await delay(20)
    expect(server.requests).toHaveLength(1)
  })

  test('those behind a broken answer are lost with it; those not written yet are sent elsewhere', async () => {
    let broke = false
    const { server, transport } = await pair(
      request => {
        if (broke) echo(request)
        else if (request.index === 1) {
          broke = true
          request.socket.write('garbage')
        }
      },
      { maxConnections: 1 },
    )
    const sent = await many(transport, 4)
    expect(sent.slice(0, 2)).toEqual([
      { kind: 'lost', code: 'ANSWER_MALFORMED' },
      { kind: 'lost', code: 'LOST_BEHIND' },
    ])
    expect(bodies(sent.slice(2))).toEqual(['body 2', 'body 3'])
    expect(server.requests).toHaveLength(4)
  })

  test('a kept connection that the server ended in the same moment', async () => {
    const { server, transport } = await pair(request => {
      if (request.index === 0) echo(request)
      else request.socket.resetAndDestroy()
    })
    await transport.send(post('first'))
    expect(await transport.send(post('second'))).toEqual({ kind: 'lost', code: 'CONNECTION_LOST' })
    expect(server.requests.map(({ body }) => body)).toEqual(['first', 'second'])
  })

  test('bytes nobody asked for end the connection, and lose nothing', async () => {
    const { server, transport } = await pair(request => {
      echo(request)
      setTimeout(() => request.socket.write(answerText(408, '')), 20)
    })
    await transport.send(post('first'))
    await delay(60)
    expect(server.connections().open).toBe(0)
    expect(bodies([await transport.send(post('second'))])).toEqual(['second'])
  })
})

describe('kept connections', () => {
  test('are used again for as long as the server says, less a second, and not after', async () => {
    const { server, transport } = await pair(({ socket, body }) => {
      socket.write(answerText(200, body, { 'Keep-Alive': body === 'short' ? 'timeout=1' : 'timeout=60' }))
    })
    for (const body of ['a', 'b', 'short', 'c']) await transport.send(post(body))
    expect(server.connections().opened).toBe(2)
  })

  test('end when they were idle too long', async () => {
    const { server, transport } = await pair(echo, { keptMs: 50 })
    await transport.send(post('a'))
    expect(server.connections().open).toBe(1)
    await delay(1300)
    expect(server.connections().open).toBe(0)
  })

  test('are not used after an answer that is the last of its connection', async () => {
    const { server, transport } = await pair(({ socket, body }) => {
      socket.write(answerText(200, body, { Connection: 'close' }))
    })
    for (const body of ['a', 'b']) expect(bodies([await transport.send(post(body))])).toEqual([body])
    expect(server.connections().opened).toBe(2)
  })
})

describe('servers that do not cope', () => {
  test('one that ends the connection after each answer gets requests one at a time, with one warning', async () => {
    const { server, transport, lines } = await pair(({ socket, body, index }) => {
      if (index === 0) socket.end(answerText(200, body, { Connection: 'close' }))
    })
    await many(transport, 40)
    expect(lines).toMatchObject([{ level: 'WARN', why: 'ended' }])
    const before = server.requests.length
    expect(new Set(bodies(await many(transport, 60, 5000)))).toEqual(
      new Set(Array.from({ length: 60 }, (_, at) => `body ${at}`)),
    )
    expect(server.requests).toHaveLength(before + 60)
    expect(lines).toHaveLength(1)
  })

  test('one whose answers come in another order gets requests one at a time, for good', async () => {
    const held: RawRequest[] = []
    const { transport, lines } = await pair(
      request => {
        held.push(request)
        if (held.length > 1) return
        setTimeout(() => {
          for (const each of held.splice(0).reverse()) request.socket.write(answerText(200, each.body))
        }, 5)
      },
      { maxConnections: 1 },
    )
    const sent = await many(transport, 2)
    expect(bodies(sent)).toEqual(['body 1', 'body 0'])
    for (const each of sent) if (each.kind === 'answer') transport.confirm(each, false)
    expect(lines).toMatchObject([{ level: 'WARN', why: 'misordered' }])
    expect(bodies(await many(transport, 10))).toEqual(Array.from({ length: 10 }, (_, at) => `body ${at}`))
  })

  test('a wrong answer to a lone request is wrong, and says nothing about order', async () => {
    const { server, transport, lines } = await pair(echo)
    const sent = await transport.send(post('x'))
    if (sent.kind === 'answer') transport.confirm(sent, false)
    expect(lines).toEqual([])
    await transport.send(post('y'))
    expect(server.connections().opened).toBe(2)
  })

  test('requests are never put together where they may not be', async () => {
    let most = 0
    const { transport } = await pair(
      request => {
        most = Math.max(most, request.index)
        setTimeout(() => echo(request), 1)
      },
      { isPipelined: false, maxConnections: 4 },
    )
    expect(bodies(await many(transport, 100, 5000))).toEqual(Array.from({ length: 100 }, (_, at) => `body ${at}`))
    expect(most).toBeGreaterThan(10)
  })
})

test('no secret shows in an answer that is logged', async () => {
  const { transport } = await pair(echo, { headers: { Authorization: 'Bearer hush' } })
  const lines: LogLine[] = []
  capture(lines).warn({ answer: await transport.send(post('x')) })
  expect(JSON.stringify(lines)).not.toContain('hush')
})
