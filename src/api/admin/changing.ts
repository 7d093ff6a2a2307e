/** What all changes of operators have in common: who asks and under which key, and how the desk's words are answered. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Changed } from '../../store/operator-store.ts'
import type { AdminRequest, DeskRefusal } from '../../worker/dead-letter-desk.ts'
import type { Problem } from '../contract.ts'
import { type ProblemCode, problemOf, refuse } from '../problem.ts'
import { replayed } from '../said.ts'

/** The request as the desk takes it. */
export function adminRequestOf(request: FastifyRequest, reason: string | undefined): AdminRequest {
  const key = request.headers['idempotency-key']
  const [path = ''] = request.url.split('?')
  return {
    actor: request.principal.name,
    reason: reason ?? null,
    idempotencyKey: typeof key === 'string' ? key : null,
    content: `${request.method} ${path.toLowerCase()} ${sorted(request.body ?? {})}`,
  }
}

/** JSON in which the order of fields says nothing. */
function sorted(body: object): string {
  return JSON.stringify(Object.fromEntries(Object.entries(body).toSorted(([a], [b]) => (a < b ? -1 : 1))))
}

const WHY: Readonly<Record<Exclude<DeskRefusal, 'unknown'>, string>> = {
  settled: 'the trade is settled',
  pending: 'the settlement is still under way',
  'no-letter': 'no dead letter was kept of it (settlement.dead_letter_queue_enabled)',
  retrying: 'it is being retried already',
  resolved: 'its dead letter was resolved',
  'in-hand': 'a worker is at its rollback just now; ask again in a few seconds',
}

/** Sends what came of a change; `code` is that of a refusal for the state of the letter. */
export function answerChange<Answer>(
  reply: FastifyReply,
  changed: Changed<Answer, DeskRefusal>,
  { status, code }: { readonly status: 200 | 202; readonly code: ProblemCode },
): FastifyReply {
  switch (changed.outcome) {
    case 'done':
      return reply.code(status).send(changed.answer)
    case 'replayed':
      replayed(reply)
      return reply.code(status).send(changed.answer)
    case 'key-reused':
      return refuse(reply, problemOf('IDEMPOTENCY_KEY_REUSED', 'the key was used before for another change'))
    case 'refused':
      return refuse(reply, refusalOf(changed.refusal, code))
  }
}

function refusalOf(refusal: DeskRefusal, code: ProblemCode): Problem {
  if (refusal === 'unknown') return noLetter()
  return problemOf(code, WHY[refusal])
}

/** What can't be an id is no trade's id. */
export function noLetter(): Problem {
  return problemOf('NOT_FOUND', 'there is no dead letter of this trade')
}
