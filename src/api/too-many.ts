import type { FastifyReply, FastifyRequest } from 'fastify'
import { problemOf, refuse } from './problem.ts'

/** A hook that refuses a list that is too long before each of its items is looked at. */
export function atMost(field: string, max: number): (request: FastifyRequest, reply: FastifyReply) => Promise<unknown> {
  return async ({ body }, reply) => {
    const items = typeof body === 'object' && body !== null ? Reflect.get(body, field) : null
    if (!Array.isArray(items) || items.length <= max) return undefined
    return refuse(reply, problemOf('TOO_LARGE', `${items.length} ${field} in a call; at most ${max}`))
  }
}
