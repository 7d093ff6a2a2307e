import type { FastifyReply } from 'fastify'
import { ERRORS, type ErrorCode } from '../core/errors.ts'
import type { Problem } from './contract.ts'

/** The codes an answer may carry, with their HTTP statuses. */
const STATUS = {
  INVALID_REQUEST: 400,
  INVALID_AMOUNT: 400,
  IDEMPOTENCY_KEY_MISSING: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  TRADE_ID_REUSED: 409,
  NOT_RETRYABLE: 409,
  NOT_RESOLVABLE: 409,
  IN_PROGRESS: 409,
  REVERSED: 409,
  ORDER_NOT_OPEN: 409,
  TOO_LARGE: 413,
  UNKNOWN_SYMBOL: 422,
  INVALID_PRICE: 422,
  INVALID_QUANTITY: 422,
  INVALID_FEE: 422,
  TOO_MANY_PLACES: 422,
  FEE_EXCEEDS_NOTIONAL: 422,
  REBATE_EXCEEDS_NOTIONAL: 422,
  INSUFFICIENT_BALANCE: 422,
  UNKNOWN_CURRENCY: 422,
  HOLD_NOT_FOUND: 422,
  HOLD_EXCEEDED: 422,
  IDEMPOTENCY_KEY_REUSED: 422,
  PRICE_TICK: 422,
  LOT_SIZE: 422,
  MIN_NOTIONAL: 422,
  POST_ONLY_WOULD_CROSS: 422,
  MARKET_HALTED: 422,
  CLIENT_ORDER_ID_REUSED: 422,
  RATE_LIMITED: 429,
  INTERNAL: 500,
  UNAVAILABLE: 503,
} as const satisfies Partial<Record<ErrorCode, number>>

export type ProblemCode = keyof typeof STATUS

/** Members beyond those every problem has; `status` only where HTTP has a closer one than the code's own. */
export type ProblemDetails = Readonly<Record<string, unknown>> & { readonly status?: number }

/** A problem by its code; `detail` is for a person, and names what is wrong with this request. */
export function problemOf(code: ProblemCode, detail: string, details: ProblemDetails = {}): Problem {
  const { title } = ERRORS[code]
  return { type: `urn:legwork:problem:${code}`, title, status: STATUS[code], detail, code, ...details }
}

/** The code if it is one of ours; a wallet may have others. */
export function knownCode(code: string): ProblemCode | null {
  return Object.hasOwn(STATUS, code) ? (code as ProblemCode) : null
}

const RETRY_AFTER_SECONDS = 1

/** Whether its answer says when to try again. */
export function isToBeRepeated({ status }: Problem): boolean {
  return status === 429 || status === 503
}

/** Answers with a problem. */
export function refuse(reply: FastifyReply, problem: Problem): FastifyReply {
  if (isToBeRepeated(problem)) void reply.header('retry-after', RETRY_AFTER_SECONDS)
  return reply.code(problem.status).type('application/problem+json').send(problem)
}
