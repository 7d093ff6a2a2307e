import type { Socket } from 'node:net'
import { encodingOf } from '../../text.ts'
import { type Reply, renderAnswer } from './answer.ts'
import { type ReaderLimits, readRequest, type WireRequest } from './request-reader.ts'

/** Answers the requests of one connection; they are handed in as they come, also before earlier ones are answered. */
export type Handle = (request: WireRequest) => Reply | Promise<Reply>

export interface ConnectionOptions {
  readonly handle: Handle
  readonly limits: ReaderLimits
  /** Whether a request is answered by whoever takes over, since its answer is a stream. */
  readonly isStreamed: (target: string) => boolean
  /** Gets the connection from an unusual request on, or a streamed one: its bytes are the next that the socket gives. */
  readonly takeOver: (socket: Socket) => void
}

/** One client's connection: any number of requests under way, answered in their order. */
export interface Connection {
  /** Requests that are to be answered, and will be: those behind a silence never are. */
  underWay(): number
  /** How long it has been waiting for a whole request; `isWithin`: a part of one is there. */
  waiting(): { readonly sinceMs: number; readonly isWithin: boolean } | null
  /** When the oldest request began that is still to be answered; null: all are. */
  unansweredSinceMs(): number | null
  /** Takes no further request, and ends once those under way are answered. */
  finish(): void
  destroy(): void
}

/** More are read once some of these are answered. */
const MOST_UNDER_WAY = 1000

interface Slot {
  readonly request: WireRequest
  readonly beganMs: number
  reply: Reply | null
}

export function openConnection(
  socket: Socket,
  { handle, limits, isStreamed, takeOver }: ConnectionOptions,
): Connection {
  const slots: Slot[] = []
  /** What was read and is no whole request yet, and how much there is to be before it can be one. */
  let parts: Buffer[] = []
  let length = 0
  let needed = 1
  let owesContinue = false
  /** `last`: no request is read after the ones that were. */
  let state: 'open' | 'last' | 'unusual' | 'gone' = 'open'
  let isFlushDue = false
  let waitingSinceMs = performance.now()

  function onData(chunk: Buffer): void {
    parts.push(chunk)
    length += chunk.length
    if (length >= needed) readAll()
  }

  function readAll(): void {
    const bytes = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
    let at = 0
    needed = 1
    while (state === 'open' && at < bytes.length && slots.length < MOST_UNDER_WAY) {
      const reading = readRequest(bytes, at, limits)
      if (reading.kind === 'request' && !isStreamed(reading.request.target)) {
        at = reading.end
        begin(reading.request)
        waitingSinceMs = performance.now()
      } else if (reading.kind !== 'more') {
        state = 'unusual'
      } else {
        needed = reading.needed
        if (reading.expectsContinue && !owesContinue) owesContinue = true
        break
      }
    }
    length = bytes.length - at
    parts = length === 0 ? [] : [bytes.subarray(at)]
    if (slots.length >= MOST_UNDER_WAY) socket.pause()
    if (state === 'unusual' || owesContinue) scheduleFlush()
  }

  function begin(request: WireRequest): void {
    const slot: Slot = { request, beganMs: performance.now(), reply: null }
    slots.push(slot)
    owesContinue = false
    if (!request.staysOpen) state = 'last'
    const settle = (reply: Reply): void => {
      slot.reply = reply
      scheduleFlush()
    }
    const reply = handle(request)
    // A handler answers whatever happens; should one not, the connection is of no use any more.
    if (reply instanceof Promise) reply.then(settle, () => settle({ raw: '', isCut: true }))
    else settle(reply)
  }

  /** After all that settles in this turn of the loop, so that the answers to a chunk leave in one write. */
  function scheduleFlush(): void {
    if (isFlushDue) return
    isFlushDue = true
    process.nextTick(flush)
  }

  function flush(): void {
    isFlushDue = false
    if (state === 'gone') return
    const wasFull = slots.length >= MOST_UNDER_WAY
    let text = ''
    let count = 0
    let isEnd = false
    for (const { request, reply } of slots) {
      // Who has sent an end to a silence has given up.
      if (reply === 'silence' && state === 'last') isEnd = true
      if (reply === null || reply === 'silence' || isEnd) break
      count++
      const isLast = 'raw' in reply ? reply.isCut : reply.isLast === true || isLastAnswer(request, count)
      text = put(text, 'raw' in reply ? reply.raw : renderAnswer(reply, !isLast))
      if ('body' in reply && typeof reply.body !== 'string') text = put(text, reply.body)
      isEnd = isLast
    }
    slots.splice(0, count)
    if (isEnd || (slots.length === 0 && state === 'last')) leave(text)
    else if (slots.length === 0 && state === 'unusual') handOver(text)
    else {
      if (slots.length === 0 && owesContinue) {
        text += 'HTTP/1.1 100 Continue\r\n\r\n'
        owesContinue = false
      }
      if (text !== '' && !write(text)) socket.pause()
      else if (wasFull && count > 0) goOn()
    }
  }

  function isLastAnswer(request: WireRequest, count: number): boolean {
    return !request.staysOpen || (state === 'last' && count === slots.length)
  }

  /** Texts are gathered into one write; bytes are written behind them as they are. */
  function put(text: string, more: string | Buffer): string {
    if (typeof more === 'string') return text + more
    if (text !== '') write(text)
    socket.write(more)
    return ''
  }

  function write(text: string): boolean {
    return socket.write(text, encodingOf(text))
  }

  function leave(text: string): void {
    state = 'gone'
    slots.length = 0
    parts = []
    if (text !== '') write(text)
    // A cut overtakes nothing that was answered before it.
    socket.destroySoon()
  }

  function handOver(text: string): void {
    state = 'gone'
    socket.removeListener('data', onData)
    socket.removeListener('drain', goOn)
    socket.removeListener('end', finish)
    if (text !== '') write(text)
    socket.pause()
    socket.unshift(Buffer.concat(parts))
    parts = []
    takeOver(socket)
    process.nextTick(() => socket.resume())
  }

  function goOn(): void {
    if (state === 'gone') return
    socket.resume()
    if (length >= needed) readAll()
  }

  function finish(): void {
    if (state !== 'open') return
    state = 'last'
    scheduleFlush()
  }

  socket.on('data', onData)
  socket.on('drain', goOn)
  socket.on('end', finish)
  // A connection that breaks is nobody's failure; what was under way on it goes on, and its answer is not sent.
  socket.on('error', () => {})
  socket.on('close', () => {
    state = 'gone'
    slots.length = 0
  })
  return {
    underWay: () => {
      const silent = slots.findIndex(({ reply }) => reply === 'silence')
      return silent === -1 ? slots.length : silent
    },
    waiting: () => (slots.length === 0 && state === 'open' ? { sinceMs: waitingSinceMs, isWithin: length > 0 } : null),
    unansweredSinceMs: () => slots.find(({ reply }) => reply === null)?.beganMs ?? null,
    finish,
    destroy: () => socket.destroy(),
  }
}
