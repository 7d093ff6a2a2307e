/**
 * Reads answers of HTTP/1.1 from whatever pieces they arrive in (RFC 9112), for a client that never sends HEAD or
 * CONNECT. Strict where leniency would let two readers disagree about where an answer ends: what is not proper is a fault,
 * and after a fault nothing of the connection is believed.
 */
import type { LostCode } from './transport.ts'

export interface ParsedAnswer {
  readonly status: number
  readonly contentType: string | null
  readonly retryAfter: string | null
  /** How long the server keeps an idle connection, as it says itself (`Keep-Alive: timeout`). */
  readonly keptMs: number | null
  /** Nothing follows this answer on its connection. */
  readonly isLast: boolean
  readonly body: string
}

export type AnswerFault = LostCode & ('ANSWER_CUT' | 'ANSWER_MALFORMED' | 'ANSWER_TOO_LARGE')

export interface AnswerParser {
  /** Takes what arrived; the fault, if what came so far can't be or become an answer. Not called again after a fault. */
  push(chunk: Buffer): AnswerFault | null
  /** The server has ended the connection in order: completes an answer that lasts until then; a fault where one is cut. */
  end(): AnswerFault | null
}

export interface ParserOptions {
  readonly maxHeadBytes: number
  readonly maxBodyBytes: number
  /** Given every whole answer, in order. False: nothing more is wanted, and what follows is not read. */
  onAnswer(answer: ParsedAnswer): boolean
}

interface Head extends Omit<ParsedAnswer, 'body'> {
  readonly framing: { readonly kind: 'sized'; readonly bytes: number } | { readonly kind: 'chunked' | 'until_end' }
}

/** What is read next. `line`: the size of a chunk. `gap`: the end of line after a chunk. */
type Phase = 'head' | 'sized' | 'until_end' | 'line' | 'chunk' | 'gap' | 'trailer' | 'over'

const HEAD_END = Buffer.from('\r\n\r\n')
const LINE_END = Buffer.from('\r\n')
const START = Buffer.from('HTTP/1.')
const LONGEST_LINE = 1024
const KNOWN_HEADS = 64
const LONGEST_KNOWN_HEAD = 512
const CHUNK_SIZE = /^([0-9a-fA-F]{1,8})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/

export function createAnswerParser(options: ParserOptions): AnswerParser {
  const { maxHeadBytes, maxBodyBytes } = options
  let phase: Phase = 'head'
  /** The beginning of a head or line that is not whole yet; bounded by the limits of those. */
  let kept: Buffer | null = null
  let head: Head | null = null
  let parts: Buffer[] = []
  let size = 0
  /** Bytes of the body, or of the chunk, that are still to come. */
  let missing = 0
  let trailerBytes = 0

  /** A server's heads are few, but for a length and a time: each is read once. */
  const heads = new Map<string, Head>()

  function headOf(text: string): Head | null {
    const known = heads.get(text)
    if (known !== undefined) return known
    const parsed = parseHead(text)
    if (parsed === null || text.length > LONGEST_KNOWN_HEAD) return parsed
    if (heads.size >= KNOWN_HEADS) heads.clear()
    heads.set(text, parsed)
    return parsed
  }

  function finish(body: string): void {
    if (head === null) throw new Error('an answer ended that never began')
    const { framing: _, ...rest } = head
    phase = options.onAnswer({ ...rest, body }) && !rest.isLast ? 'head' : 'over'
    head = null
    parts = []
    size = 0
  }

  function bodyOfParts(): string {
    const [only] = parts
    return parts.length === 1 && only !== undefined ? only.toString('utf8') : Buffer.concat(parts).toString('utf8')
  }

  /** The phase after a head; interim answers have none of their own. */
  function begin(next: Head): AnswerFault | null {
    const { status, framing } = next
    if (status < 200) return status === 101 ? 'ANSWER_MALFORMED' : null
    head = next
    if (status === 204 || status === 304) {
      finish('')
      return null
    }
    if (framing.kind === 'sized') {
      if (framing.bytes > maxBodyBytes) return 'ANSWER_TOO_LARGE'
      phase = 'sized'
      missing = framing.bytes
    } else {
      phase = framing.kind === 'chunked' ? 'line' : 'until_end'
    }
    return null
  }

  /** Takes as much of a body as there is; where it stops. */
  function take(data: Buffer, at: number, most: number): number {
    const end = Math.min(data.length, at + most)
    if (end > at) parts.push(data.subarray(at, end))
    size += end - at
    return end
  }

  /** The index after the line that begins at `at`; null: it is not whole yet, and kept. */
  function lineEnd(data: Buffer, at: number): number | null {
    const end = data.indexOf(LINE_END, at)
    if (end !== -1) return end
    kept = at === 0 ? data : data.subarray(at)
    return null
  }

  function push(chunk: Buffer): AnswerFault | null {
    const data: Buffer = kept === null ? chunk : Buffer.concat([kept, chunk])
    kept = null
    let at = 0
    while (at < data.length || (phase === 'sized' && missing === 0)) {
      switch (phase) {
        case 'head': {
          if (!beginsAsAnswer(data, at)) return 'ANSWER_MALFORMED'
          const end = data.indexOf(HEAD_END, at)
          if ((end === -1 ? data.length : end) - at > maxHeadBytes) return 'ANSWER_TOO_LARGE'
          if (end === -1) {
            kept = at === 0 ? data : data.subarray(at)
            return null
          }
          const next = headOf(data.toString('latin1', at, end))
          if (next === null) return 'ANSWER_MALFORMED'
          const fault = begin(next)
          if (fault !== null) return fault
          at = end + HEAD_END.length
          break
        }
        case 'sized': {
          // Nearly always the whole body is there: no parts are kept then.
          if (size === 0 && data.length - at >= missing) {
            const end = at + missing
            missing = 0
            const body = data.toString('utf8', at, end)
            at = end
            finish(body)
            break
          }
          const end = take(data, at, missing)
          missing -= end - at
          at = end
          if (missing === 0) finish(bodyOfParts())
          break
        }
        case 'until_end':
          at = take(data, at, data.length)
          if (size > maxBodyBytes) return 'ANSWER_TOO_LARGE'
          break
        case 'line': {
          const end = lineEnd(data, at)
          if ((end ?? data.length) - at > LONGEST_LINE) return 'ANSWER_MALFORMED'
          if (end === null) return null
          const [, digits] = CHUNK_SIZE.exec(data.toString('latin1', at, end)) ?? []
          if (digits === undefined) return 'ANSWER_MALFORMED'
          missing = Number.parseInt(digits, 16)
          if (size + missing > maxBodyBytes) return 'ANSWER_TOO_LARGE'
          phase = missing === 0 ? 'trailer' : 'chunk'
          trailerBytes = 0
          at = end + LINE_END.length
          break
        }
        case 'chunk': {
          const end = take(data, at, missing)
          missing -= end - at
          at = end
          if (missing === 0) phase = 'gap'
          break
        }
        case 'gap':
          if (data[at] !== 13 || (at + 1 < data.length && data[at + 1] !== 10)) return 'ANSWER_MALFORMED'
          if (at + 1 === data.length) {
            kept = data.subarray(at)
            return null
          }
          phase = 'line'
          at += LINE_END.length
          break
        case 'trailer': {
          const end = lineEnd(data, at)
          if (trailerBytes + (end ?? data.length) - at > maxHeadBytes) return 'ANSWER_TOO_LARGE'
          if (end === null) return null
          trailerBytes += end - at
          if (end === at) finish(bodyOfParts())
          at = end + LINE_END.length
          break
        }
        case 'over':
          return null
      }
    }
    return null
  }

  return {
    push,
    end() {
      if (phase === 'until_end') finish(bodyOfParts())
      else if (phase !== 'over' && (phase !== 'head' || kept !== null)) return 'ANSWER_CUT'
      return null
    },
  }
}

/** Garbage is told at its first byte, not when it has filled a head or the deadline has passed. */
function beginsAsAnswer(data: Buffer, at: number): boolean {
  const length = Math.min(START.length, data.length - at)
  for (let index = 0; index < length; index++) if (data[at + index] !== START[index]) return false
  return true
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const LINE = /^[\t\x20-\x7e\x80-\xff]*$/
const BYTES = /^[0-9]{1,15}$/

/** Null: this is no head of an answer. `text` is without the empty line at its end. */
function parseHead(text: string): Head | null {
  let lineEnd = text.indexOf('\r\n')
  const match = STATUS_LINE.exec(lineEnd === -1 ? text : text.slice(0, lineEnd))
  if (match === null) return null
  let contentType: string | null = null
  let retryAfter: string | null = null
  let length: string | null = null
  let coding: string | null = null
  let connection = ''
  let keepAlive = ''
  while (lineEnd !== -1) {
    const begin = lineEnd + 2
    lineEnd = text.indexOf('\r\n', begin)
    const line = lineEnd === -1 ? text.slice(begin) : text.slice(begin, lineEnd)
    const colon = line.indexOf(':')
    const name = line.slice(0, colon)
    // A folded line begins with a space, which no name has.
    if (colon < 1 || !NAME.test(name) || !LINE.test(line)) return null
    const value = (): string => line.slice(colon + 1).trim()
    switch (name.toLowerCase()) {
      case 'content-type':
        contentType = value()
        break
      case 'retry-after':
        retryAfter = value()
        break
      case 'content-length': {
        const given = value()
        if (!BYTES.test(given) || (length !== null && length !== given)) return null
        length = given
        break
      }
      case 'transfer-encoding':
        if (coding !== null) return null
        coding = value().toLowerCase()
        break
      case 'connection':
        connection += `,${value().toLowerCase()}`
        break
      case 'keep-alive':
        keepAlive = value()
        break
    }
  }
  // Two lengths are how an answer is made to end in two places.
  if (coding !== null && (coding !== 'chunked' || length !== null || match[1] === '0')) return null
  const options = connection === '' ? [] : connection.split(',').map(option => option.trim())
  const framing: Head['framing'] =
    coding === 'chunked'
      ? { kind: 'chunked' }
      : length === null
        ? { kind: 'until_end' }
        : { kind: 'sized', bytes: Number(length) }
  const status = Number(match[2])
  const hasBody = status >= 200 && status !== 204 && status !== 304
  return {
    status,
    contentType,
    retryAfter,
    keptMs: keptMsOf(keepAlive),
    isLast:
      options.includes('close') ||
      (match[1] === '0' && !options.includes('keep-alive')) ||
      (hasBody && framing.kind === 'until_end'),
    framing,
  }
}

function keptMsOf(keepAlive: string): number | null {
  if (keepAlive === '') return null
  const [, seconds] = /(?:^|[,; ])timeout=([0-9]{1,6})(?:$|[,; ])/i.exec(keepAlive) ?? []
  return seconds === undefined ? null : Number(seconds) * 1000
}
