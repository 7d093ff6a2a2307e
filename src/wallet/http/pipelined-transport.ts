/**
 * A lean HTTP/1.1 client: a few connections, many requests on each that do not wait for one another. All that is asked for
 * in one turn of the event loop leaves in one write a connection, and answers are read as they come; that, and having no
 * streams, signals or header objects, is where it saves (bench/http-client.bench.ts beside undici).
 *
 * What is lost and what was not sent is exact. A request waits here until a connection that is open takes it, and leaves
 * at that moment: before, its end is `not_sent`; after, only an answer can say more than `lost`. Nothing is ever sent a
 * second time, also where a kept connection turns out to have been ended: the server may have read it first.
 *
 * A slow answer holds up those behind it on its connection, so: requests go to an idle connection, else to the one with
 * the fewest; there are more connections the more is under way; one whose oldest request is overdue gets nothing while
 * another has room; and one on which a deadline has passed gets nothing at all until it has caught up (connection.ts).
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Clock } from '../../clock.ts'
import type { Logger } from '../../log.ts'
import { type Connection, ConnectionAnswer, createConnection, type End, type Exchange, notSent } from './connection.ts'
import { createPipelining } from './pipelining.ts'
import type { HttpRequest, HttpTransport, Sent } from './transport.ts'

export interface PipelinedTransportOptions {
  /** http or https; a path is put before those of the requests. */
  readonly url: string
  /** Of every request. */
  readonly headers?: Readonly<Record<string, string>>
  readonly clock: Clock
  readonly log: Logger
  /** False: one request a connection at a time, always. */
  readonly isPipelined?: boolean
  readonly maxConnections?: number
  /** The most requests on one connection. */
  readonly maxInFlight?: number
  /** The most that wait for a connection; beyond it a request is not sent. */
  readonly maxWaiting?: number
  readonly maxAnswerBytes?: number
  readonly openMs?: number
  readonly keptMs?: number
}

/** This many connections are opened as soon as none is idle, so that few requests are not behind one another. */
const EAGER_CONNECTIONS = 8
/** Beyond them, one for so many requests under way. */
const SPREAD = 32
const OVERDUE_MS = 250
/** After an attempt that failed while other connections work. */
const REOPEN_MS = 100
const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const HEADER_VALUE = /^[\x20-\x7e]*$/
const PATH = /^\/[\x21-\x7e]*$/

export function createPipelinedTransport(options: PipelinedTransportOptions): HttpTransport {
  const { clock, log, maxConnections = 64, maxInFlight = 128, maxWaiting = 100_000 } = options
  const target = new URL(options.url)
  const prefix = target.pathname.replace(/\/+$/, '')
  const common = `${headerLine('Host', target.host)}${headerLines(options.headers ?? {})}`
  const connections = new Set<Connection>()
  const openings = new Set<Connection>()
  let waiting: Exchange[] = []
  let isScheduled = false
  let isClosed = false
  let reopenAtMs = Number.NEGATIVE_INFINITY
  let timer: { readonly atMs: number; readonly cancel: () => void } | null = null

  const pipelining = createPipelining(options.isPipelined === false ? 1 : maxInFlight, why =>
    log.warn(
      { wallet_url: target.origin, why },
      'the wallet does not cope with requests that share a connection; it gets one at a time on each',
    ),
  )

  function send(request: HttpRequest): Promise<Sent> {
    const nowMs = clock.now()
    return new Promise(resolve => {
      const deadlineAtMs = nowMs + request.deadlineMs
      const exchange = {
        text: textOf(request),
        deadlineAtMs,
        resolve,
        writtenAtMs: 0,
        isBehind: false,
        isShared: false,
      }
      if (isClosed) return notSent(exchange, 'CLOSED')
      if (waiting.length >= maxWaiting) return notSent(exchange, 'TOO_MANY')
      waiting.push(exchange)
      wakeAt(deadlineAtMs)
      schedule()
    })
  }

  function textOf({ method, path, headers, body }: HttpRequest): string {
    if (!PATH.test(path)) throw new Error(`${path} is no path of a request`)
    const head = `${method} ${prefix}${path} HTTP/1.1\r\n${common}${headerLines(headers)}`
    if (body === null) return `${head}\r\n`
    return `${head}Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  }

  /** After all that this turn of the event loop brings: what is asked for together leaves together. */
  function schedule(): void {
    if (isScheduled) return
    isScheduled = true
    setImmediate(() => {
      isScheduled = false
      hand()
    })
  }

  /** Hands what waits to connections that have room, and opens more where they are wanted. */
  function hand(): void {
    if (waiting.length === 0 || isClosed) return
    const nowMs = clock.now()
    const depth = pipelining.depth(nowMs)
    const used = new Set<Connection>()
    let taken = 0
    for (const exchange of waiting) {
      const connection = choose(nowMs, depth)
      if (connection === null) break
      connection.put(exchange, nowMs)
      used.add(connection)
      taken++
    }
    waiting = taken === waiting.length ? [] : waiting.slice(taken)
    for (const connection of used) connection.flush()
    openMore(nowMs, depth)
  }

  function choose(nowMs: number, depth: number): Connection | null {
    let best: Connection | null = null
    let overdue: Connection | null = null
    for (const connection of connections) {
      if (!connection.isUsable(nowMs)) continue
      const load = connection.load()
      if (load === 0) return connection
      if (load >= depth) continue
      if (connection.ageMs(nowMs) > OVERDUE_MS) {
        if (overdue === null || load < overdue.load()) overdue = connection
      } else if (best === null || load < best.load()) best = connection
    }
    if (best !== null) return best
    // Rather behind a slow one than nowhere, where there is no other to be had.
    return connections.size + openings.size < maxConnections && nowMs >= reopenAtMs ? null : overdue
  }

  function openMore(nowMs: number, depth: number): void {
    let underWay = waiting.length
    let live = openings.size
    for (const connection of connections) {
      underWay += connection.load()
      if (connection.isUsable(nowMs) && connection.ageMs(nowMs) <= OVERDUE_MS) live++
    }
    // A server that has yet to prove itself does so on a few connections in no time.
    const most = depth > 1 && !pipelining.isProved() ? EAGER_CONNECTIONS : maxConnections
    const wanted = Math.min(Math.max(Math.ceil(underWay / Math.min(SPREAD, depth)), EAGER_CONNECTIONS), underWay, most)
    if (connections.size > 0 && nowMs < reopenAtMs) {
      wakeAt(reopenAtMs)
      return
    }
    for (; live < wanted && connections.size + openings.size < maxConnections; live++) open()
  }

  function open(): void {
    const connection = createConnection({
      socket: connectTo(target),
      openEvent: target.protocol === 'https:' ? 'secureConnect' : 'connect',
      maxAnswerBytes: options.maxAnswerBytes ?? 4 * 1024 * 1024,
      openMs: options.openMs ?? 3000,
      keptMs: options.keptMs ?? 4000,
      now: () => clock.now(),
      onOpen: () => {
        openings.delete(connection)
        connections.add(connection)
        hand()
      },
      onRoom: () => {
        if (waiting.length > 0) schedule()
        if (connection.load() === 0) wakeAt(clock.now() + 1000)
      },
      onLostBehind: () => pipelining.lostBehind(clock.now()),
      onEnd: how => ended(connection, how),
    })
    openings.add(connection)
    wakeAt(connection.expire(clock.now()))
  }

  function ended(connection: Connection, { code, wasOpen, isStrike }: End): void {
    openings.delete(connection)
    connections.delete(connection)
    const nowMs = clock.now()
    if (isStrike) pipelining.struck(nowMs)
    if (isClosed) return
    if (!wasOpen) {
      reopenAtMs = nowMs + REOPEN_MS
      // No way in: whatever waits can't be sent. Where other connections are, or may yet be, it waits for those.
      if (connections.size === 0 && openings.size === 0) {
        for (const exchange of waiting.splice(0)) notSent(exchange, code)
      }
    }
    if (waiting.length > 0) schedule()
  }

  /** One timer, for the earliest deadline: nearly all requests are answered long before theirs. */
  function wakeAt(atMs: number): void {
    if (isClosed || atMs === Number.POSITIVE_INFINITY || (timer !== null && timer.atMs <= atMs)) return
    timer?.cancel()
    const cancel = clock.after(Math.max(atMs - clock.now(), 1), () => {
      timer = null
      expire()
    })
    timer = { atMs, cancel }
  }

  function expire(): void {
    const nowMs = clock.now()
    let nextMs = Number.POSITIVE_INFINITY
    const late = waiting.filter(exchange => exchange.deadlineAtMs <= nowMs)
    waiting = waiting.filter(exchange => exchange.deadlineAtMs > nowMs)
    for (const exchange of late) notSent(exchange, 'TIMEOUT')
    for (const exchange of waiting) nextMs = Math.min(nextMs, exchange.deadlineAtMs)
    for (const connection of [...openings, ...connections]) nextMs = Math.min(nextMs, connection.expire(nowMs))
    if (waiting.length > 0) schedule()
    wakeAt(nextMs)
  }

  return {
    send,
    confirm(answer, isOwn) {
      if (!(answer instanceof ConnectionAnswer)) return
      if (!isOwn) {
        answer.connection.destroy('MISORDERED')
        // Alone on its connection it can't have been taken for another's: that answer is wrong, not its place.
        if (answer.isShared) pipelining.misordered()
        return
      }
      if (answer.isBehind) {
        answer.connection.prove()
        pipelining.proved()
      }
      pipelining.answered()
    },
    close() {
      isClosed = true
      timer?.cancel()
      for (const exchange of waiting.splice(0)) notSent(exchange, 'CLOSED')
      for (const connection of [...openings, ...connections]) connection.destroy('CLOSED')
    },
  }
}

function connectTo({ protocol, hostname, port }: URL): Socket {
  const host = hostname.replace(/^\[|\]$/g, '')
  if (protocol !== 'https:') return connectTcp({ host, port: port === '' ? 80 : Number(port) })
  return connectTls({
    host,
    port: port === '' ? 443 : Number(port),
    ALPNProtocols: ['http/1.1'],
    ...(isIP(host) === 0 ? { servername: host } : {}),
  })
}

function headerLines(headers: Readonly<Record<string, string>>): string {
  let lines = ''
  for (const name in headers) lines += headerLine(name, headers[name] ?? '')
  return lines
}

/** A line break in a value would be a header of somebody else's. */
function headerLine(name: string, value: string): string {
  if (!HEADER_NAME.test(name) || !HEADER_VALUE.test(value)) throw new Error(`the header ${name} can't be sent as it is`)
  return `${name}: ${value}\r\n`
}
