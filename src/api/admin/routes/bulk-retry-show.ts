import { parseUuid } from '../../../core/ids.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { problemOf, refuse } from '../../problem.ts'
import { BulkRetryAnswer, IdParams } from '../contract.ts'
import type { AdminServices } from '../plugin.ts'

/** `GET /v1/admin/bulk-retries/{id}`: how far it has come. */
export function bulkRetryShowRoute(app: App, { operators }: AdminServices): void {
  const schema = {
    tags: ['operation'],
    summary: 'How far a bulk retry has come',
    params: IdParams,
    response: { 200: BulkRetryAnswer, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/admin/bulk-retries/:id', { schema, config: { role: 'viewer' } }, async ({ params }, reply) => {
    const id = parseUuid(params.id)
    const found = id === null ? null : await operators.bulkRetry(id)
    if (found === null) return refuse(reply, problemOf('NOT_FOUND', 'there is no bulk retry of this id'))
    const { count, retrying, settled, collected, failed } = found
    const status = retrying === 0 ? ('done' as const) : ('running' as const)
    return { bulk_retry: { id: found.id, dry_run: false, status, count, retrying, settled, collected, failed } }
  })
}
