/**
 * HTTP/1.1 requests out of a connection's bytes, as a well-behaved client writes them (RFC 9112). Whatever is written
 * in another way is not judged here but called unusual: node:http then reads the connection from that request on, and
 * accepts or refuses it. So there is one judge of what is malformed, and no request can be read in two ways.
 */

export interface WireRequest {
  readonly method: string
  /** Path and query as they came. */
  readonly target: string
  /** By lower-case name; what was repeated is joined, as node:http does it. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Whether another request may follow on the connection. */
  readonly staysOpen: boolean
}

export type Reading =
  /** `end`: where the next request begins. */
  | { readonly kind: 'request'; readonly request: WireRequest; readonly end: number }
  /** There is no sense in looking again before so many bytes of it are there. */
  | { readonly kind: 'more'; readonly needed: number; readonly expectsContinue: boolean }
  | { readonly kind: 'unusual' }

export interface ReaderLimits {
  readonly headBytes: number
  readonly bodyBytes: number
}

const REQUEST_LINE = /^(GET|POST|PUT|PATCH|DELETE) (\/[\x21-\x7e]*) HTTP\/1\.([01])\r\n/
/** Sticky: one field after the other, and nothing between them. */
const FIELD = /([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)\r\n/y
/** Of these a second one contradicts the first. */
const SINGLE =
  /^(?:authorization|connection|content-length|content-type|expect|host|idempotency-key|transfer-encoding|upgrade)$/
const BARE_LINE_FEED = /(?:^|[^\r])\n/
const UNUSUAL: Reading = { kind: 'unusual' }

/** Reads the request that begins at `start`. */
export function readRequest(bytes: Buffer, start: number, limits: ReaderLimits): Reading {
  const headEnd = bytes.indexOf('\r\n\r\n', start, 'latin1')
  if (headEnd === -1) {
    const length = bytes.length - start
    // Lines that end in another way never make a head whose end is found.
    if (length > limits.headBytes || BARE_LINE_FEED.test(bytes.toString('latin1', start))) return UNUSUAL
    return { kind: 'more', needed: length + 1, expectsContinue: false }
  }
  if (headEnd - start > limits.headBytes) return UNUSUAL
  const head = readHead(bytes.toString('latin1', start, headEnd + 2))
  if (head === null) return UNUSUAL
  const bodyStart = headEnd + 4
  const chunked = head.headers['transfer-encoding']
  if (chunked !== undefined) {
    if (head.headers['content-length'] !== undefined || chunked.toLowerCase() !== 'chunked') return UNUSUAL
    return readChunked(bytes, start, bodyStart, head, limits)
  }
  const length = lengthOf(head.headers['content-length'])
  if (length === null || length > limits.bodyBytes) return UNUSUAL
  const end = bodyStart + length
  if (bytes.length < end) return { kind: 'more', needed: end - start, expectsContinue: isExpecting(head) }
  return { kind: 'request', request: { ...head, body: bytes.subarray(bodyStart, end) }, end }
}

type Head = Omit<WireRequest, 'body'>

/** Null: unusual. */
function readHead(text: string): Head | null {
  const line = REQUEST_LINE.exec(text)
  if (line === null) return null
  const [whole, method = '', target = '', minor] = line
  const headers: Record<string, string> = {}
  FIELD.lastIndex = whole.length
  while (FIELD.lastIndex < text.length) {
    const field = FIELD.exec(text)
    if (field === null) return null
    const name = (field[1] ?? '').toLowerCase()
    const value = (field[2] ?? '').replace(/[ \t]+$/, '')
    const before = Object.hasOwn(headers, name) ? headers[name] : undefined
    if (before !== undefined && SINGLE.test(name)) return null
    if (name === '__proto__') return null
    headers[name] = before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`
  }
  const { connection = minor === '1' ? 'keep-alive' : 'close', expect = '100-continue', upgrade, host } = headers
  const staysOpen = connection.toLowerCase() === 'keep-alive'
  if (!staysOpen && connection.toLowerCase() !== 'close') return null
  if (upgrade !== undefined || expect.toLowerCase() !== '100-continue') return null
  return host === undefined && minor === '1' ? null : { method, target, headers, staysOpen }
}

/** Null: not a length. */
function lengthOf(text: string | undefined): number | null {
  if (text === undefined) return 0
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : null
}

function isExpecting(head: Head): boolean {
  return head.headers['expect'] !== undefined
}

const CHUNK = /^([0-9a-fA-F]{1,8})[ \t]*(?:;[\t\x20-\x7e]*)?$/

function readChunked(bytes: Buffer, start: number, bodyStart: number, head: Head, limits: ReaderLimits): Reading {
  const more = (needed: number): Reading => ({
    kind: 'more',
    needed: needed - start,
    expectsContinue: isExpecting(head),
  })
  const parts: Buffer[] = []
  let length = 0
  for (let at = bodyStart; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at, 'latin1')
    if (lineEnd === -1) return bytes.length - at > limits.headBytes ? UNUSUAL : more(bytes.length + 1)
    const size = Number.parseInt(CHUNK.exec(bytes.toString('latin1', at, lineEnd))?.[1] ?? 'none', 16)
    length += size
    if (!(length <= limits.bodyBytes)) return UNUSUAL
    const chunkEnd = lineEnd + 2 + size
    if (bytes.length < chunkEnd + 2) return more(chunkEnd + 2)
    // Of the last chunk: an empty line, or fields after the body, which nobody here sends.
    if (bytes.toString('latin1', chunkEnd, chunkEnd + 2) !== '\r\n') return UNUSUAL
    if (size === 0) return { kind: 'request', request: { ...head, body: Buffer.concat(parts) }, end: chunkEnd + 2 }
    parts.push(bytes.subarray(lineEnd + 2, chunkEnd))
    at = chunkEnd + 2
  }
}
