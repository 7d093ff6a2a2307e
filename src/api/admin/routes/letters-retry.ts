import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { refuse } from '../../problem.ts'
import { adminRequestOf, answerChange } from '../changing.ts'
import { BulkRetryAnswer, BulkRetryBody, ChangeHeaders } from '../contract.ts'
import { filterOf } from '../letter-view.ts'
import type { AdminServices } from '../plugin.ts'

const NOTHING_YET = { settled: 0, collected: 0, failed: 0 } as const

/**
 * `POST /v1/admin/dead-letters/retry`: all open letters that match are put back to work in one transaction; how they end
 * is read at `/v1/admin/bulk-retries/{id}`.
 */
export function lettersRetryRoute(app: App, { desk, operators }: AdminServices): void {
  const schema = {
    tags: ['operation'],
    summary: 'Retry all dead letters that match a filter',
    description: 'Those that are open, the oldest first; at most 25,000 in a call. The rest stays open for the next.',
    headers: ChangeHeaders,
    body: BulkRetryBody,
    response: { 200: BulkRetryAnswer, 202: BulkRetryAnswer, ...PROBLEM_ANSWERS },
  }
  app.post('/v1/admin/dead-letters/retry', { schema, config: { role: 'operator' } }, async (request, reply) => {
    const { dry_run, rate, reason, ...fields } = request.body
    const filter = filterOf(fields)
    if (dry_run === true) {
      const count = await operators.countOpen(filter)
      return { bulk_retry: { id: null, dry_run, status: 'done' as const, count, retrying: 0, ...NOTHING_YET } }
    }
    if (reason === undefined) return refuse(reply, invalid('/reason', 'is missing'))
    const changed = await desk.retryAll(filter, rate ?? null, adminRequestOf(request, reason), ({ id, count }) => {
      const status = count === 0 ? 'done' : 'running'
      return { bulk_retry: { id, dry_run: false, status, count, retrying: count, ...NOTHING_YET } }
    })
    return answerChange(reply, changed, { status: 202, code: 'NOT_RETRYABLE' })
  })
}
