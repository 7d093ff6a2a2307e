import { parseUuid } from '../../../core/ids.ts'
import type { KeyQuery } from '../../../store/access-store.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { limitOf, pageOf, partsOf } from '../../page.ts'
import { refuse } from '../../problem.ts'
import { KeysPage, KeysQuery } from '../contract.ts'
import { viewKey } from '../key-view.ts'
import type { KeyServices } from '../plugin.ts'

/** `GET /v1/admin/keys`: newest first, also those that were revoked; never a key itself. */
export function keysListRoute(app: App, { store }: KeyServices): void {
  const schema = {
    tags: ['keys'],
    summary: 'Keys that were made, newest first',
    querystring: KeysQuery,
    response: { 200: KeysPage, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/admin/keys', { schema, config: { role: 'admin' } }, async ({ query }, reply) => {
    const before = query.cursor === undefined ? null : positionOf(query.cursor)
    if (before === undefined) return refuse(reply, invalid('/cursor', 'must be a cursor that an answer gave'))
    const statuses = new Set(query.status?.split(',') ?? [])
    const isRevoked = statuses.size === 1 ? statuses.has('revoked') : null
    const limit = limitOf(query.limit)
    const found = await store.keys({ roles: query.role?.split(',') ?? [], isRevoked, before, limit: limit + 1 })
    const { items, next_cursor } = pageOf(found, limit, last => [last.createdAtMs, last.id])
    return { keys: items.map(viewKey), next_cursor }
  })
}

/** Undefined: no cursor of ours. */
function positionOf(cursor: string): KeyQuery['before'] | undefined {
  const [time = '', text = '', ...rest] = partsOf(cursor)
  const id = parseUuid(text)
  return id === null || rest.length > 0 || !/^[0-9]{1,15}$/.test(time) ? undefined : { createdAtMs: Number(time), id }
}
