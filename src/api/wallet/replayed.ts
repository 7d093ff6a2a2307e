import type { FastifyReply } from 'fastify'

/** Says of an answer that it is the one the key's first call got. */
export function replayed(reply: FastifyReply): void {
  void reply.header('idempotent-replayed', 'true')
}
