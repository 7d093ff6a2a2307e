import type { FastifyReply } from 'fastify'
import type { Problem } from './contract.ts'

/** Every code an answer may carry, with its HTTP status. */
const PROBLEMS = {
  INVALID_REQUEST: { status: 400, title: 'The request is malformed' },
  INVALID_AMOUNT: { status: 400, title: 'An amount is not acceptable' },
  IDEMPOTENCY_KEY_MISSING: { status: 400, title: 'The call names no key' },
  UNAUTHORIZED: { status: 401, title: 'No valid key was given' },
  FORBIDDEN: { status: 403, title: 'The key may not do this' },
  NOT_FOUND: { status: 404, title: 'There is no such thing' },
  TRADE_ID_REUSED: { status: 409, title: 'A trade id was used before for another trade' },
  NOT_RETRYABLE: { status: 409, title: 'There is nothing to retry' },
  NOT_RESOLVABLE: { status: 409, title: 'There is nothing to resolve' },
  IN_PROGRESS: { status: 409, title: 'The first call with this key is still under way' },
  REVERSED: { status: 409, title: 'The key has been reversed' },
  TOO_LARGE: { status: 413, title: 'The request is too large' },
  UNKNOWN_SYMBOL: { status: 422, title: 'The market is not known' },
  INVALID_PRICE: { status: 422, title: 'A price is not acceptable' },
  INVALID_QUANTITY: { status: 422, title: 'A quantity is not acceptable' },
  INVALID_FEE: { status: 422, title: 'A fee is not acceptable' },
  TOO_MANY_PLACES: { status: 422, title: 'A number has more places than its asset' },
  FEE_EXCEEDS_NOTIONAL: { status: 422, title: 'A fee is above the notional' },
  REBATE_EXCEEDS_NOTIONAL: { status: 422, title: 'A rebate is above the notional' },
  INSUFFICIENT_BALANCE: { status: 422, title: 'The account does not hold enough' },
  UNKNOWN_CURRENCY: { status: 422, title: 'The currency is not known' },
  IDEMPOTENCY_KEY_REUSED: { status: 422, title: 'The key was used before for something else' },
  RATE_LIMITED: { status: 429, title: 'Too many requests' },
  INTERNAL: { status: 500, title: 'The server failed' },
  UNAVAILABLE: { status: 503, title: 'The server can take no work just now' },
} as const

export type ProblemCode = keyof typeof PROBLEMS

/** Members beyond those every problem has; `status` only where HTTP has a closer one than the code's own. */
export type ProblemDetails = Readonly<Record<string, unknown>> & { readonly status?: number }

/** A problem by its code; `detail` is for a person, and names what is wrong with this request. */
export function problemOf(code: ProblemCode, detail: string, details: ProblemDetails = {}): Problem {
  const { status, title } = PROBLEMS[code]
  return { type: `urn:legwork:problem:${code}`, title, status, detail, code, ...details }
}

/** The code if it is one of ours; a wallet may have others. */
export function knownCode(code: string): ProblemCode | null {
  return Object.hasOwn(PROBLEMS, code) ? (code as ProblemCode) : null
}

const RETRY_AFTER_SECONDS = 1

/** Answers with a problem. */
export function refuse(reply: FastifyReply, problem: Problem): FastifyReply {
  if (problem.status === 429 || problem.status === 503) void reply.header('retry-after', RETRY_AFTER_SECONDS)
  return reply.code(problem.status).type('application/problem+json').send(problem)
}
