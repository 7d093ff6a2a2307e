/**
 * Answers that go on for as long as somebody reads them: server-sent events. What is not read at once waits in memory, and
 * only so much of it: a client that falls behind is cut off, comes back, and is told what it missed. Written by hand: the
 * plugin for it (@fastify/sse) keeps a server from closing while a stream is open.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Clock } from '../../../clock.ts'
import { problemOf, refuse } from '../../problem.ts'
import type { Reader } from './feed.ts'

/**
 * Begins to follow, and says what comes first; the two at once, so that nothing is missed between. Null: what was to be
 * followed has ended since, and the client has to come again.
 */
export type Begin = (reader: Reader) => { readonly text: string; readonly stop: () => void } | null

export interface EventStreams {
  /** @param prepare what has to be known before; what it throws is answered as any other failure. */
  answer(request: FastifyRequest, reply: FastifyReply, prepare: () => Promise<Begin>): Promise<FastifyReply>
  /** Ends those that are open, and refuses others. */
  close(): void
}

export interface EventStreamsOptions {
  readonly clock: Pick<Clock, 'after'>
  /** The most that are open at once. */
  readonly most: number
  /** Of one key, so that nobody's own leave none to the others; not of the key that the server was started with. */
  readonly mostOfKey: number
  /** What may wait for a client, besides what it is sent first. */
  readonly aheadBytes: number
  /** Whether the key that a stream was begun with is still good. */
  readonly isStillGood: (request: FastifyRequest) => Promise<boolean>
}

/** Keys are looked at each time; a comment goes out every third, so that nobody on the way takes a stream for dead. */
const TICK_MS = 5000
const TICKS_PER_HEARTBEAT = 3
/** After which time a client that lost its stream is to come again, in milliseconds. */
const HEAD = 'retry: 1000\n\n'
const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  'x-accel-buffering': 'no',
  connection: 'close',
}

interface Stream extends Reader {
  readonly request: FastifyRequest
}

export function createEventStreams(options: EventStreamsOptions): EventStreams {
  const { clock, most, mostOfKey, aheadBytes, isStillGood } = options
  const open = new Set<Stream>()
  /** Also those that are about to open: by key, and of no key. */
  const underWay = new Map<string | undefined, number>()
  let allUnderWay = 0
  let ticks = 0
  let cancelTick: (() => void) | null = null
  let isClosed = false

  function count(keyId: string | undefined, change: 1 | -1): void {
    const ofKey = (underWay.get(keyId) ?? 0) + change
    if (ofKey === 0) underWay.delete(keyId)
    else underWay.set(keyId, ofKey)
    allUnderWay += change
  }

  /** What is said to one stream more of a key; null: it may open. */
  function tooMany(keyId: string | undefined): string | null {
    if (allUnderWay >= most) return `${most} streams are open already`
    if (keyId === undefined || (underWay.get(keyId) ?? 0) < mostOfKey) return null
    return `${mostOfKey} streams of this key are open already`
  }

  function tick(): void {
    const isHeartbeat = ++ticks % TICKS_PER_HEARTBEAT === 0
    for (const stream of open) {
      if (isHeartbeat) stream.send(':\n\n')
      if (stream.request.principal.keyId !== undefined) void endUnlessGood(stream)
    }
    cancelTick = open.size === 0 ? null : clock.after(TICK_MS, tick)
  }

  async function endUnlessGood(stream: Stream): Promise<void> {
    const isGood = await isStillGood(stream.request).catch(() => false)
    if (!isGood) stream.end()
  }

  function send(request: FastifyRequest, reply: FastifyReply, begin: Begin): void {
    const { raw } = reply
    let isOver = false
    let mostWaiting = aheadBytes
    const stream: Stream = {
      request,
      send: text => {
        if (isOver) return
        raw.write(text)
        if (raw.writableLength <= mostWaiting) return
        isOver = true
        request.log.info('a stream was cut: its client does not keep up')
        raw.destroy()
      },
      end: () => {
        if (isOver) return
        isOver = true
        // What has not been read by now is not waited for: the client is told when it comes again.
        if (raw.writableLength > 0) raw.destroy()
        else raw.end()
      },
    }
    const begun = begin(stream)
    open.add(stream)
    cancelTick ??= clock.after(TICK_MS, tick)
    raw.on('error', error => request.log.info({ err: error }, 'a stream has failed'))
    raw.once('close', () => {
      isOver = true
      begun?.stop()
      open.delete(stream)
      count(request.principal.keyId, -1)
    })
    raw.writeHead(200, HEADERS)
    if (begun === null) {
      raw.end(HEAD)
      return
    }
    mostWaiting += Buffer.byteLength(begun.text)
    raw.write(HEAD + begun.text)
  }

  return {
    async answer(request, reply, prepare) {
      const { keyId } = request.principal
      const why = tooMany(keyId)
      if (why !== null) return refuse(reply, problemOf('RATE_LIMITED', why))
      count(keyId, 1)
      let isBegun = false
      try {
        const begin = await prepare()
        // A connection that has closed would not say so again.
        if (isClosed || reply.raw.destroyed) return refuse(reply, problemOf('UNAVAILABLE', 'the server is stopping'))
        // From here on the framework's time limit for an answer does not hold, and nothing else is written by it.
        reply.hijack()
        isBegun = true
        send(request, reply, begin)
        return reply
      } finally {
        if (!isBegun) count(keyId, -1)
      }
    },
    close() {
      isClosed = true
      cancelTick?.()
      for (const stream of open) stream.end()
    },
  }
}
