import { parseUuid } from '../../../core/ids.ts'
import type { AuditEntry, AuditQuery as StoreQuery } from '../../../store/operator-store.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { formatInstant } from '../../instant.ts'
import { limitOf, pageOf, partsOf } from '../../page.ts'
import { refuse } from '../../problem.ts'
import { AuditPage, AuditQuery } from '../contract.ts'

/** A part of the log; settlements and keys have one each. */
interface AuditLog {
  auditLog(query: StoreQuery): Promise<readonly AuditEntry[]>
}

/** `GET /v1/admin/audit-log`: who changed what, newest first; of one trade, if it is named. */
export function auditListRoute(app: App, logs: readonly AuditLog[]): void {
  const schema = {
    tags: ['operation'],
    summary: 'Who changed what, when and why',
    querystring: AuditQuery,
    response: { 200: AuditPage, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/admin/audit-log', { schema, config: { role: 'viewer' } }, async ({ query }, reply) => {
    const before = query.cursor === undefined ? null : positionOf(query.cursor)
    if (before === undefined) return refuse(reply, invalid('/cursor', 'must be a cursor that an answer gave'))
    const tradeId = query.trade_id === undefined ? null : parseUuid(query.trade_id)
    if (tradeId === null && query.trade_id !== undefined) return refuse(reply, invalid('/trade_id', 'must be a UUID'))
    const limit = limitOf(query.limit)
    const asked = { tradeIds: tradeId === null ? [] : [tradeId], before, limit: limit + 1 }
    const found = await Promise.all(logs.map(log => log.auditLog(asked)))
    const { items, next_cursor } = pageOf(found.flat().toSorted(newestFirst), limit, last => [last.atMs, last.id])
    return { entries: items.map(({ atMs, ...entry }) => ({ ...entry, at: formatInstant(atMs) })), next_cursor }
  })
}

/** As the database orders them, whose UUIDs go by their bytes. */
function newestFirst(one: AuditEntry, other: AuditEntry): number {
  return other.atMs - one.atMs || (one.id < other.id ? 1 : -1)
}

/** Undefined: no cursor of ours. */
function positionOf(cursor: string): StoreQuery['before'] | undefined {
  const [time = '', text = '', ...rest] = partsOf(cursor)
  const id = parseUuid(text)
  return id === null || rest.length > 0 || !/^[0-9]{1,15}$/.test(time) ? undefined : { atMs: Number(time), id }
}
