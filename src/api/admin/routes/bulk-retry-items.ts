import { parseUuid } from '../../../core/ids.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { formatInstant } from '../../instant.ts'
import { limitOf, pageOf, partsOf } from '../../page.ts'
import { problemOf, refuse } from '../../problem.ts'
import { IdParams, ItemsPage, ItemsQuery } from '../contract.ts'
import type { AdminServices } from '../plugin.ts'

/** `GET /v1/admin/bulk-retries/{id}/items`: what came of each, in order of trade ids. */
export function bulkRetryItemsRoute(app: App, { operators }: AdminServices): void {
  const schema = {
    tags: ['operation'],
    summary: 'What came of each item of a bulk retry',
    params: IdParams,
    querystring: ItemsQuery,
    response: { 200: ItemsPage, ...PROBLEM_ANSWERS },
  }
  const path = '/v1/admin/bulk-retries/:id/items'
  app.get(path, { schema, config: { role: 'viewer' } }, async ({ params, query }, reply) => {
    const id = parseUuid(params.id)
    if (id === null || (await operators.bulkRetry(id)) === null) {
      return refuse(reply, problemOf('NOT_FOUND', 'there is no bulk retry of this id'))
    }
    const after = query.cursor === undefined ? null : parseUuid(partsOf(query.cursor)[0] ?? '')
    if (after === null && query.cursor !== undefined) {
      return refuse(reply, invalid('/cursor', 'must be a cursor that an answer gave'))
    }
    const limit = limitOf(query.limit)
    const found = await operators.retryItems(id, { results: query.result?.split(',') ?? [], after, limit: limit + 1 })
    const { items, next_cursor } = pageOf(found, limit, last => [last.tradeId])
    const shown = items.map(({ tradeId, result, code, lastError, endedAtMs }) => ({
      trade_id: tradeId,
      result,
      code,
      last_error: lastError,
      ended_at: endedAtMs === null ? null : formatInstant(endedAtMs),
    }))
    return { items: shown, next_cursor }
  })
}
