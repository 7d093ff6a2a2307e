import type { FastifyBaseLogger, FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { isAway } from '../db.ts'
import { DeskUnavailableError } from '../orders/desk.ts'
import type { Problem } from './contract.ts'
import { invalid, malformed } from './faults.ts'
import { problemOf, refuse } from './problem.ts'
import { checked, type NotReady } from './routes/health-show.ts'

/** Answers whatever a request ran into. What it was goes to the log; an answer never tells of the inside. */
export function errorHandler(
  notReady: NotReady,
): (error: FastifyError, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply> {
  return async (error, request, reply) => {
    const problem = isUnavailable(error) && isAwaited(request) ? LATE : requestProblem(error)
    if (problem !== null) {
      // The framework would close the connection: with some of the body unread, what is said would be lost with it.
      if (problem.code === 'TOO_LARGE') void reply.removeHeader('connection')
      return refuse(reply, problem)
    }
    const { method, routeOptions, log } = request
    return refuse(reply, await failureOf(error, { method, route: routeOptions.url }, { log, notReady }))
  }
}

/** Its body is still to come. */
function isAwaited({ headers, body }: FastifyRequest): boolean {
  const hasBody = Number(headers['content-length'] ?? 0) > 0 || headers['transfer-encoding'] !== undefined
  return hasBody && body === undefined
}

/** Nothing of the server's is away where the time ran out on the client. */
const LATE = problemOf('INVALID_REQUEST', 'the body did not come whole in time', { status: 408 })

/** What a request is told that ran into what is not its own fault. */
export async function failureOf(
  error: unknown,
  from: { readonly method: string; readonly route: string | undefined },
  { log, notReady }: { readonly log: FastifyBaseLogger; readonly notReady: NotReady },
): Promise<Problem> {
  // Says what to do about it, and tells of nothing inside.
  if (error instanceof DeskUnavailableError) return problemOf('UNAVAILABLE', error.message)
  const where = { ...from, err: error }
  // A connection that breaks under a query has no code: whether the database is there is then asked.
  if (isUnavailable(error) || isAway(error) || (await checked(notReady)).length > 0) {
    log.warn(where, 'request not answered: something needed is away')
    return problemOf('UNAVAILABLE', 'something needed is away; whether the call was done is not known')
  }
  log.error(where, 'request failed')
  return problemOf('INTERNAL', 'the server failed; its log says why')
}

function isUnavailable(error: unknown): boolean {
  return error instanceof Error && 'statusCode' in error && error.statusCode === 503
}

/** The problem when it is the request's own fault, else null. */
function requestProblem(error: FastifyError): Problem | null {
  if (error.validation !== undefined) return malformed(error.validation, error.validationContext)
  const { statusCode = 500 } = error
  if (statusCode < 400 || statusCode >= 500) return null
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return problemOf('TOO_LARGE', 'the body is too large')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return problemOf('INVALID_REQUEST', 'the content type must be application/json', { status: statusCode })
    case 'FST_ERR_BAD_URL':
      return problemOf('INVALID_REQUEST', 'the path is not properly encoded')
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return problemOf('NOT_FOUND', 'no id is that long')
    default:
      return invalid('', 'the body is not JSON')
  }
}
