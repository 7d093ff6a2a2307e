import { STATUS_CODES } from 'node:http'

export interface Answer {
  readonly status: number
  /** Lines that each end in CRLF; length, date and connection are the server's to add. */
  readonly headers: string
  readonly body: string | Buffer
  /** Ends the connection, whatever the client wants. */
  readonly isLast?: boolean
}

/** Whatever bytes, and perhaps the end of the connection behind them. */
export interface RawReply {
  readonly raw: string | Buffer
  readonly isCut: boolean
}

/** `silence`: nothing at all is written, and so nothing that would have to follow it. */
export type Reply = Answer | RawReply | 'silence'

export const JSON_TYPE = 'content-type: application/json; charset=utf-8\r\n'
export const PROBLEM_TYPE = 'content-type: application/problem+json; charset=utf-8\r\n'
/** As node:http says it for the server's own timeout. */
export const KEEP_ALIVE_SECONDS = 72

/** The head of an answer, and its body where that is a text. */
export function renderAnswer({ status, headers, body }: Answer, staysOpen: boolean): string {
  const isText = typeof body === 'string'
  const hasLength = status !== 204 && status !== 304
  const length = hasLength ? `content-length: ${isText ? Buffer.byteLength(body) : body.length}\r\n` : ''
  const connection = staysOpen
    ? `Connection: keep-alive\r\nKeep-Alive: timeout=${KEEP_ALIVE_SECONDS}`
    : 'Connection: close'
  const reason = STATUS_CODES[status] ?? 'Unknown'
  const head = `HTTP/1.1 ${status} ${reason}\r\n${headers}${length}Date: ${date()}\r\n${connection}\r\n\r\n`
  return isText ? head + body : head
}

let second = 0
let text = ''

/** HTTP's dates have whole seconds: one is made a second, not one an answer. */
function date(): string {
  const now = Math.floor(Date.now() / 1000)
  if (now !== second) {
    second = now
    text = new Date(now * 1000).toUTCString()
  }
  return text
}
