import type { FastifyReply, FastifyRequest } from 'fastify'
import type { KeyRole } from '../store/access-store.ts'
import { problemOf, refuse } from './problem.ts'

export type Role = KeyRole
/** The roles of which each may do all that the one before may; a trader stands beside them. */
export type RankedRole = Exclude<Role, 'trader'>

/** Who a key belongs to. `userId`: the one user a trader may act for; null for all other roles. */
export interface Principal {
  readonly role: Role
  readonly userId: string | null
  /** For the log of who did what; never the key. */
  readonly name: string
  /** Of a key that may be revoked; not there: it is good for as long as the process is. */
  readonly keyId?: string
}

/** Null: there is no such key. `busy`: too many are being looked up to say. */
export type Found = Principal | null | 'busy'
/** At once where that can be, since every request waits for it. */
export type Authenticate = (key: string) => Found | Promise<Found>

/** Who may call a route. Every route that needs a key says so in its configuration (server.ts refuses to start else). */
export interface RouteAccess {
  /** The least role. */
  readonly role?: RankedRole
  /**
   * Traders may call it as well; `own`: they are shown, and may touch, what is their own alone: the route sees to that.
   * `all`: it shows nothing that is anybody's.
   */
  readonly traders?: 'own' | 'all'
}

const RANK: Readonly<Record<RankedRole, number>> = { viewer: 0, operator: 1, admin: 2 }
const BEARER = /^Bearer +([\x21-\x7e]{1,512})$/i

/** The first admin key: the one of the environment or the data folder. */
export function adminKeyOnly(matches: (key: string) => boolean): Authenticate {
  const admin: Principal = { role: 'admin', userId: null, name: 'admin' }
  return key => (matches(key) ? admin : null)
}

/** Asks the second only for what the first does not know. */
export function eitherOf(first: Authenticate, second: Authenticate): Authenticate {
  return key => {
    const found = first(key)
    if (found instanceof Promise) return found.then(known => known ?? second(key))
    return found ?? second(key)
  }
}

/**
 * A hook that lets a request through only with a key that may call its route.
 *
 * @param why other keys than the first can't be known, where they can't; for whoever brings one.
 */
export function requireRole(
  authenticate: Authenticate,
  why: string | null,
): (request: FastifyRequest, reply: FastifyReply) => Promise<unknown> {
  return async (request, reply) => {
    const key = keyOf(request.headers.authorization)
    const found = key === undefined ? null : await authenticate(key)
    if (found === 'busy') return refuse(reply, problemOf('RATE_LIMITED', 'too many keys are being looked up just now'))
    if (found === null) {
      const said = key === undefined ? '' : ', error="invalid_token"'
      void reply.header('www-authenticate', `Bearer realm="legwork"${said}`)
      const unknown = why === null ? 'the key is not known' : `the key is not known: ${why}`
      return refuse(reply, problemOf('UNAUTHORIZED', key === undefined ? 'no key was given' : unknown))
    }
    const access: RouteAccess = request.routeOptions.config
    if (!mayCall(found, access)) {
      const { role: needed = 'admin' } = access
      return refuse(reply, problemOf('FORBIDDEN', `this needs the role ${needed}; the key has ${found.role}`))
    }
    request.principal = found
    return undefined
  }
}

/** The key that an Authorization header brings, if it brings one. */
export function keyOf(authorization: string | undefined): string | undefined {
  return BEARER.exec(authorization ?? '')?.[1]
}

export function mayCall(principal: Principal, { role: needed = 'admin', traders }: RouteAccess): boolean {
  return isAtLeast(principal, needed) || (principal.role === 'trader' && traders !== undefined)
}

/** A trader is at least nothing: what it may do, its routes say. */
export function isAtLeast({ role }: Principal, needed: RankedRole): boolean {
  return role !== 'trader' && RANK[role] >= RANK[needed]
}

/** Whose things a principal may see or touch alone; null: anybody's. */
export function onlyOf({ role, userId }: Principal): string | null {
  return role === 'trader' ? (userId ?? NOBODY) : null
}

/** A trader's key has a user; one that had none would have nothing. */
const NOBODY = '00000000-0000-0000-0000-000000000000'

/** Whose things a list shows; empty: everybody's. A trader's filter can only name the trader; null: it names others alone. */
export function visibleUsers(asked: readonly string[], principal: Principal): readonly string[] | null {
  const own = onlyOf(principal)
  if (own === null) return asked
  return asked.length > 0 && !asked.includes(own) ? null : [own]
}

/** Whether a principal may see what these users took part in. */
export function maySee({ role, userId }: Principal, userIds: readonly string[]): boolean {
  return role !== 'trader' || (userId !== null && userIds.includes(userId))
}
