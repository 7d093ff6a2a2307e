/**
 * From what came back to what is known: the table of the wallet protocol ("what came back → Legwork's reading"), here and
 * nowhere else. Pure, and it never throws, whatever a server sends.
 *
 * Two rules stand above all: `applied` only where the answer itself names what was asked; `refused` only where the wallet
 * says so with a code of the protocol. All else that left is `unanswered`: asked again under the same key.
 */
import type { Asset } from '../../core/market.ts'
import type { Hold, HoldState, Operation, OperationSeen, Outcome, Release, ReversalDone, Shortfall } from '../wallet.ts'
import { readPlaced, readReleased } from './hold-answers.ts'
import { type Json, objectOf, parseObject, unitsOf } from './json.ts'
import { retryAfterMs } from './retry-after.ts'
import { readTotal } from './total.ts'
import type { HttpAnswer, Sent } from './transport.ts'

/** What was asked for; an answer has to name it. */
export type Asked =
  | { readonly kind: 'operation'; readonly operation: Operation }
  | { readonly kind: 'reversal'; readonly key: string }
  | { readonly kind: 'settlement'; readonly key: string }
  | { readonly kind: 'hold'; readonly hold: Hold }
  | { readonly kind: 'release'; readonly release: Release }

/** What is said when it is applied: of an operation, of a reversal, of a hold or a release, of a settlement. */
export type Done = OperationSeen | ReversalDone | HoldState | null

/**
 * What an answer says of the wallet, apart from the call. `alive`: it spoke as the protocol has it. `away`: it can't be
 * reached, or what stands before it can't reach it. `locked_out`: it does not let us in. `none`: neither.
 */
export type Sign = 'alive' | 'away' | 'locked_out' | 'none'

export interface Reading {
  readonly outcome: Outcome<Done>
  readonly sign: Sign
  /** Whether it is the answer to its own request, as far as it names a key; null: it names none, or one that others share. */
  readonly isOwn: boolean | null
}

export interface ReadingContext {
  readonly assets: ReadonlyMap<string, Asset>
  readonly nowMs: number
}

type Undone = Exclude<Outcome, { readonly outcome: 'applied' }>

/** Codes of the protocol by which a wallet says that it will not do what was asked. */
const REFUSALS: ReadonlySet<string> = new Set([
  'INSUFFICIENT_BALANCE',
  'UNKNOWN_CURRENCY',
  'INVALID_AMOUNT',
  'INVALID_REQUEST',
  'IDEMPOTENCY_KEY_MISSING',
  'HOLD_NOT_FOUND',
  'HOLD_EXCEEDED',
  'REVERSED',
  'NOT_FOUND',
  'TOO_LARGE',
])
/** A gateway's words for a wallet that it can't reach. */
const GATEWAY = new Set([502, 503, 504])
/** What a transport says of itself, and not of the wallet. */
const OWN_CODES = new Set(['TOO_MANY', 'CLOSED'])
const PROBLEM = /^application\/problem\+json *(?:;|$)/i
const LONGEST_DETAIL = 300

/** Reads the answer to a call of its own. */
export function readSingle(sent: Sent, asked: Asked, context: ReadingContext): Reading {
  const whole = readUnspoken(sent, context)
  if (whole !== null) return whole
  const answer = sent as HttpAnswer
  const waitMs = retryAfterMs(answer.retryAfter, context.nowMs)
  const value = parseObject(answer.body)
  if (isDone(answer.status)) return readDone(value, asked, waitMs, context)
  const isProblem = PROBLEM.test(answer.contentType ?? '')
  const outcome = isProblem && value !== null ? refusalOf(value, asked, waitMs, context) : null
  if (outcome === null) return { outcome: httpUnanswered(answer.status, waitMs), sign: 'none', isOwn: null }
  return { outcome, sign: 'alive', isOwn: null }
}

/** A call that carried several was refused as a whole, and nothing of it was taken: it has to be split. */
export type NotTaken = 'too_large' | 'strange'

/**
 * Reads the answer to a call that carried several, one for one. No two of them may be of one key, since then an answer
 * could be to either.
 */
export function readTogether(
  sent: Sent,
  asked: readonly Asked[],
  context: ReadingContext,
): readonly Reading[] | NotTaken {
  const whole = readUnspoken(sent, context)
  if (whole !== null) return asked.map(() => whole)
  const answer = sent as HttpAnswer
  if (answer.status === 413) return 'too_large'
  if (answer.status === 400) return 'strange'
  const waitMs = retryAfterMs(answer.retryAfter, context.nowMs)
  // A refusal of the whole is never one of an operation in it.
  if (!isDone(answer.status)) {
    const outcome = httpUnanswered(answer.status, waitMs)
    return asked.map(() => ({ outcome, sign: 'none', isOwn: null }))
  }
  const results = parseObject(answer.body)?.['results']
  return asked.map((each, index) => {
    const value: unknown = Array.isArray(results) ? results[index] : undefined
    return readResult(objectOf(value), each, waitMs, context)
  })
}

/** Of one that was not taken although it was alone, where there is no call for one: that is no refusal of it. */
export function readNotTaken(): Reading {
  const detail = 'the wallet does not take the call (HTTP status 400 or 413)'
  return { outcome: unanswered('CALL_NOT_TAKEN', detail, null), sign: 'none', isOwn: null }
}

/** One of several: as if it had come alone. */
function readResult(value: Json | null, asked: Asked, waitMs: number | null, context: ReadingContext): Reading {
  if (value === null || value['status'] !== 'refused') return readDone(value, asked, waitMs, context)
  const isOwn = ownOf(value, asked)
  const problem = objectOf(value['problem'])
  const status = problem?.['status']
  if (isOwn !== true || problem === null || typeof status !== 'number') return mismatch(waitMs, isOwn)
  const outcome = byStatus(status, null) ?? refusalOf(problem, asked, null, context) ?? httpUnanswered(status, null)
  return { outcome, sign: isLockedOut(status) ? 'locked_out' : 'alive', isOwn }
}

/** What is known without reading what the answer says; null: it has to be read. */
function readUnspoken(sent: Sent, { nowMs }: ReadingContext): Reading | null {
  switch (sent.kind) {
    case 'not_sent': {
      const detail = `nothing was sent to the wallet (${sent.code})`
      const outcome = { outcome: 'deferred', code: 'NOT_SENT', detail, reached: false, retryAfterMs: null } as const
      return { outcome, sign: OWN_CODES.has(sent.code) ? 'none' : 'away', isOwn: null }
    }
    case 'lost': {
      const reached = sent.code !== 'LOST_BEHIND'
      const outcome = { ...unanswered(sent.code, LOST[sent.code], null), reached }
      return { outcome, sign: sent.code.startsWith('ANSWER_') ? 'none' : 'away', isOwn: null }
    }
    case 'answer': {
      const { status } = sent
      const outcome = byStatus(status, retryAfterMs(sent.retryAfter, nowMs))
      if (outcome === null) return null
      return { outcome, sign: signOf(status), isOwn: null }
    }
  }
}

const LOST = {
  TIMEOUT: 'the wallet did not answer in time',
  CONNECTION_LOST: 'the connection to the wallet was lost before its answer',
  LOST_BEHIND: 'a call before it on the same connection to the wallet got no answer',
  ANSWER_CUT: "the wallet's answer was cut off",
  ANSWER_MALFORMED: "the wallet's answer is not HTTP",
  ANSWER_TOO_LARGE: "the wallet's answer is too large",
} as const

/** The statuses that speak for themselves; null: 2xx, and those of 4xx whose problem has to be read. */
function byStatus(status: number, waitMs: number | null): Undone | null {
  if (isDone(status)) return null
  if (isLockedOut(status)) {
    const [code, detail] =
      status === 401
        ? (['UNAUTHORIZED', 'the wallet does not accept our token'] as const)
        : (['FORBIDDEN', 'the wallet does not allow our token this call'] as const)
    return { outcome: 'deferred', code, detail, reached: false, retryAfterMs: waitMs }
  }
  if (status === 429) {
    const detail = 'the wallet takes no more calls just now'
    return { outcome: 'deferred', code: 'RATE_LIMITED', detail, reached: true, retryAfterMs: waitMs }
  }
  if (status < 400 || status >= 500 || status === 408 || status === 425) return httpUnanswered(status, waitMs)
  return null
}

/** What a problem of 4xx says; null: nothing that the protocol knows. */
function refusalOf(problem: Json, asked: Asked, waitMs: number | null, { assets }: ReadingContext): Undone | null {
  const code = problem['code']
  if (typeof code !== 'string') return null
  const detail = detailOf(problem['detail']) ?? `the wallet says ${code}`
  if (code === 'IN_PROGRESS') return unanswered(code, detail, waitMs)
  if (code === 'IDEMPOTENCY_KEY_REUSED') return { outcome: 'fault', code, detail }
  if (!REFUSALS.has(code)) return null
  const amounts = shortfallOf(problem, asked, assets)
  return { outcome: 'refused', code, detail, ...(amounts === null ? {} : { amounts }) }
}

function readDone(value: Json | null, asked: Asked, waitMs: number | null, context: ReadingContext): Reading {
  const isNamed = value === null ? null : ownOf(value, asked)
  if (value === null || isNamed !== true) return mismatch(waitMs, isNamed)
  // What it names is the hold, and another release on the same connection may be of the same one.
  const isOwn = asked.kind === 'release' ? null : isNamed
  const done = doneOf(value, asked, context)
  if (done === undefined) return mismatch(waitMs, isOwn)
  const applied = { outcome: 'applied', replayed: value['replayed'] === true, done } as const
  return { outcome: applied, sign: 'alive', isOwn }
}

/** What the answer says was done; undefined: not what was asked. */
function doneOf(value: Json, asked: Asked, { assets }: ReadingContext): Done | undefined {
  const { status } = value
  switch (asked.kind) {
    case 'settlement':
      return status === 'settled' ? null : undefined
    case 'reversal':
      return status === 'reversed' || status === 'cancelled' ? { status } : undefined
    case 'operation': {
      const { type, userId, currency, amount, hold } = asked.operation
      const scale = assets.get(currency)?.scale
      if (scale === undefined || unitsOf(value['amount'], scale) !== amount) return undefined
      if (value['currency'] !== currency || lowerOf(value['user_id']) !== userId.toLowerCase()) return undefined
      // The three that need not be named must not say otherwise.
      if ((value['type'] ?? type) !== type || (status ?? 'applied') !== 'applied') return undefined
      if ((value['hold'] ?? hold) !== hold) return undefined
      const appliedAtMs = Date.parse(String(value['applied_at']))
      return {
        balanceAfter: readTotal(value['balance_after'], scale),
        appliedAtMs: Number.isNaN(appliedAtMs) ? null : appliedAtMs,
      }
    }
    case 'hold':
      return readPlaced(value, asked.hold, assets)
    case 'release':
      return readReleased(value, asked.release, assets)
  }
}

/** Whether it names what was asked; null: it names nothing. */
function ownOf({ key }: Json, asked: Asked): boolean | null {
  return typeof key === 'string' ? key === nameOf(asked) : null
}

/** The key that an answer names: the call's own, but for a release that of its hold. */
function nameOf(asked: Asked): string {
  switch (asked.kind) {
    case 'operation':
      return asked.operation.key
    case 'hold':
      return asked.hold.key
    case 'release':
      return asked.release.hold
    case 'reversal':
    case 'settlement':
      return asked.key
  }
}

function currencyOf(asked: Asked): string | null {
  if (asked.kind === 'operation') return asked.operation.currency
  return asked.kind === 'hold' ? asked.hold.currency : null
}

function shortfallOf(problem: Json, asked: Asked, assets: ReadonlyMap<string, Asset>): Shortfall | null {
  const currency = problem['currency'] ?? currencyOf(asked)
  const scale = typeof currency === 'string' ? assets.get(currency)?.scale : undefined
  if (typeof currency !== 'string' || scale === undefined) return null
  const available = readTotal(problem['available'], scale)
  const required = readTotal(problem['required'], scale)
  return available === null || required === null ? null : { currency, available, required }
}

function mismatch(waitMs: number | null, isOwn: boolean | null): Reading {
  const detail =
    isOwn === false ? "the wallet's answer is to another call" : "the wallet's answer does not say what it did"
  return { outcome: unanswered('ANSWER_MISMATCH', detail, waitMs), sign: 'none', isOwn }
}

function httpUnanswered(status: number, waitMs: number | null): Undone {
  return unanswered(`HTTP_${status}`, `the wallet answered with HTTP status ${status}`, waitMs)
}

function unanswered(code: string, detail: string, waitMs: number | null): Undone & { outcome: 'unanswered' } {
  return { outcome: 'unanswered', code, detail, reached: true, retryAfterMs: waitMs }
}

/** Of a status that speaks for itself. */
function signOf(status: number): Sign {
  if (isLockedOut(status)) return 'locked_out'
  if (GATEWAY.has(status)) return 'away'
  return status === 429 ? 'alive' : 'none'
}

function isDone(status: number): boolean {
  return status >= 200 && status < 300
}

function isLockedOut(status: number): boolean {
  return status === 401 || status === 403
}

function lowerOf(text: unknown): string | null {
  return typeof text === 'string' ? text.toLowerCase() : null
}

/** For a person; bounded, and of printable characters. */
function detailOf(text: unknown): string | null {
  if (typeof text !== 'string' || text === '') return null
  return text.slice(0, LONGEST_DETAIL).replace(/\p{Cc}/gu, ' ')
}
