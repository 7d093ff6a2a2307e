import type { FastifyReply, FastifyRequest } from 'fastify'
import { problemOf, refuse } from './problem.ts'

export type Role = 'viewer' | 'trader' | 'operator' | 'admin'

/** Who a key belongs to. `userId`: the one user a trader may act for; null for all other roles. */
export interface Principal {
  readonly role: Role
  readonly userId: string | null
  /** For the log of who did what; never the key. */
  readonly name: string
}

/** Null: there is no such key. */
export type Authenticate = (key: string) => Promise<Principal | null>

const RANK: Readonly<Record<Role, number>> = { viewer: 0, trader: 1, operator: 2, admin: 3 }
const BEARER = /^Bearer +([\x21-\x7e]{1,512})$/i

/** A hook that lets a request through only with a key whose role is at least that of the route's configuration. */
export function requireRole(
  authenticate: Authenticate,
): (request: FastifyRequest, reply: FastifyReply) => Promise<unknown> {
  return async (request, reply) => {
    const key = keyOf(request.headers.authorization)
    const principal = key === undefined ? null : await authenticate(key)
    if (principal === null) {
      const said = key === undefined ? '' : ', error="invalid_token"'
      void reply.header('www-authenticate', `Bearer realm="legwork"${said}`)
      return refuse(reply, problemOf('UNAUTHORIZED', key === undefined ? 'no key was given' : 'the key is not known'))
    }
    const needed = request.routeOptions.config.role ?? 'admin'
    if (!isAtLeast(principal, needed)) {
      return refuse(reply, problemOf('FORBIDDEN', `this needs the role ${needed}; the key has ${principal.role}`))
    }
    request.principal = principal
    return undefined
  }
}

/** The key that an Authorization header brings, if it brings one. */
export function keyOf(authorization: string | undefined): string | undefined {
  return BEARER.exec(authorization ?? '')?.[1]
}

export function isAtLeast({ role }: Principal, needed: Role): boolean {
  return RANK[role] >= RANK[needed]
}

/** Whether a principal may see what these users took part in. */
export function maySee({ role, userId }: Principal, userIds: readonly string[]): boolean {
  return role !== 'trader' || (userId !== null && userIds.includes(userId))
}
