import { parseUuid } from '../../../core/ids.ts'
import { uuidV7 } from '../../../uuid.ts'
import { adminRequestOf } from '../../admin/changing.ts'
import { ChangeHeaders, IdParams, ReasonBody } from '../../admin/contract.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { problemOf, refuse } from '../../problem.ts'
import { KeyAnswer } from '../contract.ts'
import { viewKey } from '../key-view.ts'
import type { KeyServices } from '../plugin.ts'

/** `POST /v1/admin/keys/{id}/revoke`: refused from now on here, within five seconds everywhere. Again it changes nothing. */
export function keyRevokeRoute(app: App, { store, holders, clock }: KeyServices): void {
  const schema = {
    tags: ['keys'],
    summary: 'Refuse a key for ever',
    description: 'This server refuses it at once; others on the same database within five seconds.',
    params: IdParams,
    headers: ChangeHeaders,
    body: ReasonBody,
    response: { 200: KeyAnswer, ...PROBLEM_ANSWERS },
  }
  app.post('/v1/admin/keys/:id/revoke', { schema, config: { role: 'admin' } }, async (request, reply) => {
    const { actor, reason } = adminRequestOf(request, request.body?.reason)
    const id = parseUuid(request.params.id)
    const atMs = clock.now()
    const revoked = id === null ? null : await store.revoke(id, { id: uuidV7(atMs), atMs, actor, reason })
    if (revoked === null) return refuse(reply, problemOf('NOT_FOUND', 'there is no key of this id'))
    holders.revoked(revoked.hash)
    return { key: viewKey(revoked.key) }
  })
}
