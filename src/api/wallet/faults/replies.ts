/** What a wallet at fault writes in place of an answer, or does to one. */
import type { FaultAction, Garbage } from '../../../wallet/faults/rules.ts'
import type { Problem } from '../../contract.ts'
import { type Answer, JSON_TYPE, PROBLEM_TYPE, type RawReply, renderAnswer } from '../../lean/answer.ts'
import { knownCode, problemOf } from '../../problem.ts'

/** A fault that is told by an answer, and so can also be told of one item among many. */
export type Told = Extract<FaultAction, { readonly fault: 'refuse' | 'status' | 'retry_after' | 'unauthorized' }>

const DETAIL = 'as the script of faults says'
const UNLIKELY_STATUS = 422

export function problemFor(action: Told): Problem {
  switch (action.fault) {
    case 'refuse':
      return problemWith(action.code, null)
    case 'status':
      return problemWith(action.code ?? codeFor(action.status), action.status)
    case 'retry_after':
      return problemWith(codeFor(action.status), action.status)
    case 'unauthorized':
      return problemWith(codeFor(action.status), action.status)
  }
}

export function answerFor(action: Told, nowMs: number): Answer {
  const problem = problemFor(action)
  const { status } = problem
  if (action.fault === 'status' && action.body === 'none') return { status, headers: '', body: '' }
  if (action.fault === 'status' && action.body === 'html') return page(status)
  const retryAfter = action.fault === 'retry_after' ? `retry-after: ${retryAfterOf(action, nowMs)}\r\n` : ''
  return { status, headers: `${retryAfter}${PROBLEM_TYPE}`, body: JSON.stringify(problem) }
}

/** Of a proxy that gave up waiting. */
export function gatewayTimeout(): Answer {
  return page(504)
}

export const GATEWAY_TIMEOUT_PROBLEM: Problem = problemWith('INTERNAL', 504)

/** Every code of the protocol has its status, also those that this wallet never uses. */
function problemWith(code: string, status: number | null): Problem {
  const known = knownCode(code)
  if (known !== null) return problemOf(known, DETAIL, status === null ? {} : { status })
  const title = 'The wallet refused the call'
  return { type: `urn:legwork:problem:${code}`, title, status: status ?? UNLIKELY_STATUS, detail: DETAIL, code }
}

function codeFor(status: number): string {
  const codes: Readonly<Record<number, string>> = { 401: 'UNAUTHORIZED', 403: 'FORBIDDEN', 404: 'NOT_FOUND' }
  const more: Readonly<Record<number, string>> = { 413: 'TOO_LARGE', 429: 'RATE_LIMITED', 503: 'UNAVAILABLE' }
  return codes[status] ?? more[status] ?? (status >= 500 ? 'INTERNAL' : 'INVALID_REQUEST')
}

function retryAfterOf({ seconds, as }: Extract<Told, { fault: 'retry_after' }>, nowMs: number): string {
  if (as === 'seconds') return `${seconds}`
  return as === 'date' ? new Date(nowMs + seconds * 1000).toUTCString() : 'when the cows come home'
}

function page(status: number): Answer {
  const body = '<!doctype html><title>Sorry</title><h1>The page you asked for is not here just now</h1>\n'
  return { status, headers: 'content-type: text/html; charset=utf-8\r\n', body }
}

/** The answer up to the middle of its body, and then the end of the connection. */
export function cutWithin(answer: Answer): RawReply {
  const body = Buffer.from(answer.body)
  const head = Buffer.from(renderAnswer({ ...answer, body }, true))
  return { raw: Buffer.concat([head, body.subarray(0, body.length / 2)]), isCut: true }
}

/** No client reads so much for an answer to one call. */
const TOO_LARGE_BYTES = 24 * 1024 * 1024

/** What does not depend on the answer. */
export function garbageReply(
  what: Exclude<Garbage, 'other_key' | 'other_account' | 'other_amount'>,
): Answer | RawReply {
  switch (what) {
    case 'bytes':
      return { raw: Buffer.from('\x00\xff\x16\x03\x01 this was never HTTP\r\n\r\n', 'latin1'), isCut: true }
    case 'html':
      return page(200)
    case 'too_large':
      return { status: 200, headers: JSON_TYPE, body: `{"padding":"${'x'.repeat(TOO_LARGE_BYTES)}"}` }
  }
}

const ANOTHER_ID = '00000000-0000-4000-8000-0000000f00d5'

/** The same answer about something else. */
export function aboutAnother(said: unknown, what: Garbage): unknown {
  if (typeof said !== 'object' || said === null) return said
  switch (what) {
    case 'other_key':
      return { ...said, key: `${ANOTHER_ID}:0:fee` }
    case 'other_account':
      return { ...said, user_id: ANOTHER_ID }
    case 'other_amount':
      return { ...said, amount: '0.00000000000000001' }
    case 'bytes':
    case 'html':
    case 'too_large':
      return said
  }
}
