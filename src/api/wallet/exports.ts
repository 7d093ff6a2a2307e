/**
 * Answers that are streams of any length. Nothing is read that the client does not take, and what was begun is ended only
 * when it is whole: an export that fails, or that is under way when the server stops, ends with its connection.
 */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isAway } from '../../db.ts'
import { problemOf, refuse } from '../problem.ts'

export interface Exports {
  /** Resolves when the first part is on its way; until then a failure is answered as any other. */
  answer(request: FastifyRequest, reply: FastifyReply, body: ExportBody): Promise<FastifyReply>
  /** Cuts those under way, and refuses others. */
  close(): void
}

export interface ExportBody {
  readonly contentType: string
  readonly fileName: string
  readonly parts: AsyncIterator<string, void>
}

export interface ExportLimits {
  /** The most under way at once. */
  readonly most: number
  /** A client that takes nothing for so long has gone. */
  readonly stalledMs: number
}

/** What may wait for the client, besides the part that is being sent. */
const AHEAD_BYTES = 64 * 1024

export function createExports({ most, stalledMs }: ExportLimits): Exports {
  const stopping = new AbortController()
  let underWay = 0

  async function send(request: FastifyRequest, reply: FastifyReply, body: ExportBody, first: string): Promise<void> {
    const { raw } = reply
    raw.setTimeout(stalledMs, () => {
      // Else it is the reading that takes so long.
      if (raw.writableLength > 0) raw.destroy()
    })
    try {
      raw.writeHead(200, {
        'content-type': body.contentType,
        'content-disposition': `attachment; filename="${body.fileName}"`,
      })
      const stream = Readable.from(bytesOf(first, body.parts), { objectMode: false, highWaterMark: AHEAD_BYTES })
      await pipeline(stream, raw, { signal: stopping.signal })
    } catch (error) {
      raw.destroy()
      if (stopping.signal.aborted || isClientGone(error)) request.log.info('an export was not taken to its end')
      else request.log[isAway(error) ? 'warn' : 'error']({ err: error }, 'an export was cut')
    }
  }

  return {
    answer: async (request, reply, body) => {
      // There the end of the connection is the end of the body, whether it is whole or not.
      if (request.raw.httpVersion === '1.0') {
        const detail = 'an export needs HTTP/1.1, in which one that was cut can be told from a whole one'
        return refuse(reply, problemOf('INVALID_REQUEST', detail, { status: 505 }))
      }
      if (underWay >= most) return refuse(reply, problemOf('RATE_LIMITED', `${most} exports are under way already`))
      underWay++
      let isBegun = false
      try {
        const first = await body.parts.next()
        // From here on the framework's time limit for an answer does not hold, and nothing else is written by it.
        reply.hijack()
        isBegun = true
        void send(request, reply, body, first.done === true ? '' : first.value).finally(() => underWay--)
        return reply
      } finally {
        if (!isBegun) underWay--
      }
    },
    close: () => stopping.abort(),
  }
}

async function* bytesOf(first: string, parts: AsyncIterator<string, void>): AsyncGenerator<Buffer> {
  if (first !== '') yield Buffer.from(first)
  try {
    for (let part = await parts.next(); part.done !== true; part = await parts.next()) yield Buffer.from(part.value)
  } finally {
    await parts.return?.()
  }
}

function isClientGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE'
}
