import type { FastifyReply } from 'fastify'
import type { Problem } from './contract.ts'

/** What a call comes to, whatever its way in. `isReplayed`: this is the answer that the key's first call got. */
export type Said<Body> = { readonly body: Body; readonly isReplayed: boolean } | { readonly problem: Problem }

/** Says of an answer that it is the one the key's first call got. */
export function replayed(reply: FastifyReply): void {
  void reply.header('idempotent-replayed', 'true')
}
