/**
 * One connection and the requests on it. Answers come in the order of the requests (RFC 9112, 9.3.2), so each answer is to
 * the oldest that has none. A request whose deadline has passed keeps its place in that order: its answer, when it comes, is
 * dropped, and those behind it still get theirs. Until then nothing new is put behind it, and when nobody waits on the
 * connection any more it is destroyed.
 */
import type { Socket } from 'node:net'
import { encodingOf } from '../../text.ts'
import { createAnswerParser, type ParsedAnswer } from './answer-parser.ts'
import type { HttpAnswer, LostCode, NotSent, Sent } from './transport.ts'

/** A request on its way. */
export interface Exchange {
  /** All of it, as it goes over the wire; empty once it is on its way. */
  text: string
  readonly deadlineAtMs: number
  /** Null once it is answered: whoever sent it waits no longer. */
  resolve: ((sent: Sent) => void) | null
  writtenAtMs: number
  /** It was put on its connection behind others. */
  isBehind: boolean
  /** It shared its connection with others, behind or before them. */
  isShared: boolean
}

/** An answer that remembers the way it came, without showing it: the request carries the token. */
export class ConnectionAnswer implements HttpAnswer {
  readonly kind = 'answer'
  readonly status: number
  readonly contentType: string | null
  readonly retryAfter: string | null
  readonly body: string
  readonly #connection: Connection
  readonly #exchange: Exchange

  constructor(parsed: ParsedAnswer, connection: Connection, exchange: Exchange) {
    this.status = parsed.status
    this.contentType = parsed.contentType
    this.retryAfter = parsed.retryAfter
    this.body = parsed.body
    this.#connection = connection
    this.#exchange = exchange
  }

  get connection(): Connection {
    return this.#connection
  }

  get isBehind(): boolean {
    return this.#exchange.isBehind
  }

  get isShared(): boolean {
    return this.#exchange.isShared
  }
}

/** How a connection came to its end. */
export interface End {
  /** Of the operating system or of TLS, or a word of ours. */
  readonly code: string
  readonly wasOpen: boolean
  /** It ended with requests on it that shared it, and none that did was ever answered: pipelining may be why. */
  readonly isStrike: boolean
}

export interface ConnectionOptions {
  readonly socket: Socket
  /** The event after which requests may be written. */
  readonly openEvent: 'connect' | 'secureConnect'
  readonly maxAnswerBytes: number
  /** How long an idle connection is used again when the server does not say. */
  readonly keptMs: number
  /** How long it may take to open. */
  readonly openMs: number
  now(): number
  onOpen(): void
  /** Answers came, or what was written has left: there is room. */
  onRoom(): void
  /** Requests are lost since one before them got no answer. */
  onLostBehind(): void
  onEnd(end: End): void
}

export interface Connection {
  /** Whether a request may be put on it, apart from how many it has. */
  isUsable(nowMs: number): boolean
  /** Requests on it that have no answer, given up or not. */
  load(): number
  /** How long the oldest of them has had none. */
  ageMs(nowMs: number): number
  /** Takes a request; it leaves with `flush`. */
  put(exchange: Exchange, nowMs: number): void
  /** Writes what was put, in one go. */
  flush(): void
  /** Gives up whatever is past its time, itself too when it opened too slowly or is idle too long; when to look again. */
  expire(nowMs: number): number
  /** An answer to a request that shared it was found to be its own. */
  prove(): void
  destroy(code: string): void
}

const MAX_HEAD_BYTES = 16 * 1024
/** So that a request does not leave in the moment in which the server ends the connection. */
const MARGIN_MS = 1000
const LONGEST_KEPT_MS = 600_000

export function createConnection(options: ConnectionOptions): Connection {
  const { socket, openEvent, maxAnswerBytes } = options
  const now = (): number => options.now()
  let state: 'opening' | 'open' | 'ended' = 'opening'
  const order: Exchange[] = []
  let first = 0
  let unwritten = ''
  /** Of those in the order, how many nobody waits for. */
  let abandoned = 0
  let isLast = false
  let isFull = false
  let hasAnswered = false
  let hasShared = false
  let isProved = false
  let keptMs = options.keptMs
  let idleSinceMs = now()
  let fault: LostCode | null = null

  const load = (): number => order.length - first

  const parser = createAnswerParser({ maxHeadBytes: MAX_HEAD_BYTES, maxBodyBytes: maxAnswerBytes, onAnswer: take })

  function take(answer: ParsedAnswer): boolean {
    const exchange = order[first]
    if (exchange === undefined) {
      // Nobody asked: whatever this is, the order is broken.
      end('UNASKED')
      return false
    }
    first++
    hasAnswered = true
    if (first === order.length) {
      order.length = 0
      first = 0
      idleSinceMs = now()
    } else if (first > 256) {
      order.splice(0, first)
      first = 0
    }
    if (answer.keptMs !== null) keptMs = Math.max(0, Math.min(answer.keptMs - MARGIN_MS, LONGEST_KEPT_MS))
    if (answer.isLast) isLast = true
    if (exchange.resolve === null) abandoned--
    else settle(exchange, new ConnectionAnswer(answer, connection, exchange))
    return state !== 'ended'
  }

  function settle(exchange: Exchange, sent: Sent): void {
    const { resolve } = exchange
    exchange.resolve = null
    resolve?.(sent)
  }

  /** Everything on it is lost: it was written, and only an answer could tell what came of it. */
  function end(code: string): void {
    if (state === 'ended') return
    const wasOpen = state === 'open'
    state = 'ended'
    socket.destroy()
    const lost = order.slice(first)
    order.length = 0
    first = 0
    abandoned = 0
    for (const [index, exchange] of lost.entries()) {
      settle(exchange, { kind: 'lost', code: index > 0 ? 'LOST_BEHIND' : (fault ?? 'CONNECTION_LOST') })
    }
    if (lost.length > 1) options.onLostBehind()
    // Silence alone is no sign: a server that hangs hangs for lone requests too.
    const isSign = code !== 'SILENT' || hasAnswered
    const isStrike = wasOpen && isSign && lost.length > 0 && hasShared && !isProved
    options.onEnd({ code, wasOpen, isStrike })
  }

  function failAs(code: LostCode): void {
    fault = code
    end(code)
  }

  socket.setNoDelay(true)
  socket.on(openEvent, () => {
    if (state !== 'opening') return
    state = 'open'
    idleSinceMs = now()
    options.onOpen()
  })
  socket.on('data', (chunk: Buffer) => {
    if (state === 'ended') return
    if (load() === 0) return end('UNASKED')
    const found = parser.push(chunk)
    if (found !== null) return failAs(found)
    // The last answer of a connection leaves those behind it without one.
    if (isLast) return end('CLOSED')
    options.onRoom()
  })
  socket.on('drain', () => {
    isFull = false
    options.onRoom()
  })
  socket.on('end', () => {
    if (state === 'ended') return
    const found = parser.end()
    if (found !== null) failAs(found)
    else end('CLOSED')
  })
  socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'CONNECTION_ERROR'))
  socket.on('close', () => end('CLOSED'))

  const connection: Connection = {
    isUsable: nowMs =>
      state === 'open' && abandoned === 0 && !isLast && !isFull && (load() > 0 || nowMs - idleSinceMs < keptMs),
    load,
    ageMs: nowMs => (load() === 0 ? 0 : nowMs - (order[first]?.writtenAtMs ?? nowMs)),
    put(exchange, nowMs) {
      exchange.writtenAtMs = nowMs
      const before = load() > 0 ? order[order.length - 1] : undefined
      if (before !== undefined) {
        before.isShared = true
        exchange.isShared = true
        exchange.isBehind = true
        hasShared = true
      }
      order.push(exchange)
      unwritten += exchange.text
      exchange.text = ''
    },
    flush() {
      if (unwritten === '') return
      isFull = !socket.write(unwritten, encodingOf(unwritten))
      unwritten = ''
    },
    expire(nowMs) {
      if (state === 'opening') {
        if (nowMs >= idleSinceMs + options.openMs) end('CONNECT_TIMEOUT')
        return idleSinceMs + options.openMs
      }
      let nextMs = Number.POSITIVE_INFINITY
      let isBehind = false
      for (let index = first; index < order.length; index++) {
        const exchange = order[index]
        if (exchange === undefined || exchange.resolve === null) continue
        if (exchange.deadlineAtMs <= nowMs) {
          abandoned++
          isBehind ||= index > first
          settle(exchange, { kind: 'lost', code: index > first ? 'LOST_BEHIND' : 'TIMEOUT' })
        } else {
          nextMs = Math.min(nextMs, exchange.deadlineAtMs)
        }
      }
      if (isBehind) options.onLostBehind()
      if (load() > 0 && abandoned === load()) {
        end('SILENT')
        return Number.POSITIVE_INFINITY
      }
      if (load() > 0) return nextMs
      if (nowMs - idleSinceMs >= keptMs) end('IDLE')
      return idleSinceMs + keptMs
    },
    prove: () => {
      isProved = true
    },
    destroy: end,
  }
  return connection
}

/** What became of a request that was never put on a connection. */
export function notSent(exchange: Exchange, code: string): void {
  const { resolve } = exchange
  exchange.resolve = null
  const sent: NotSent = { kind: 'not_sent', code }
  resolve?.(sent)
}
