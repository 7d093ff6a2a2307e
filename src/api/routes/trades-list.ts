import { parseUuid } from '../../core/ids.ts'
import type { SettlementStatus, TradeQuery } from '../../store/store.ts'
import type { App } from '../app.ts'
import { maySee, type Principal } from '../auth.ts'
import { PROBLEM_ANSWERS, TradesPage, TradesQuery } from '../contract.ts'
import { invalid } from '../faults.ts'
import { limitOf, pageOf, partsOf } from '../page.ts'
import { refuse } from '../problem.ts'
import { viewTrade } from '../trade-view.ts'
import type { TradeServices } from './trade-services.ts'

/** `GET /v1/trades`: newest first. */
export function tradesListRoute(app: App, { store, instruments }: TradeServices): void {
  const schema = {
    tags: ['trades'],
    summary: 'Trades, newest first',
    querystring: TradesQuery,
    response: { 200: TradesPage, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/trades', { schema, config: { role: 'viewer', traders: 'own' } }, async ({ query, principal }, reply) => {
    const before = query.cursor === undefined ? null : positionOf(query.cursor)
    if (before === undefined) return refuse(reply, invalid('/cursor', 'must be a cursor that an answer gave'))
    const userIds = visibleUsers(query.user_id?.toLowerCase().split(',') ?? [], principal)
    if (userIds === null) return { trades: [], next_cursor: null }
    const limit = limitOf(query.limit)
    const found = await store.trades({
      statuses: (query.settlement_status?.split(',') ?? []) as SettlementStatus[],
      symbols: query.symbol?.replaceAll('-', '/').split(',') ?? [],
      userIds,
      before,
      limit: limit + 1,
    })
    const { items, next_cursor } = pageOf(found, limit, ({ recordedAtMs, trade }) => [recordedAtMs, trade.id])
    return { trades: items.map(stored => viewTrade(stored, instruments)), next_cursor }
  })
}

/** Whose trades are shown; empty: everybody's. A trader's filter can only name the trader; null: it names others alone. */
function visibleUsers(asked: readonly string[], principal: Principal): readonly string[] | null {
  if (principal.role !== 'trader') return asked
  if (principal.userId === null || (asked.length > 0 && !maySee(principal, asked))) return null
  return [principal.userId]
}

/** Undefined: no cursor of ours. */
function positionOf(cursor: string): TradeQuery['before'] | undefined {
  const [time = '', id = '', ...rest] = partsOf(cursor)
  const uuid = parseUuid(id)
  return uuid === null || rest.length > 0 || !/^[0-9]{1,15}$/.test(time)
    ? undefined
    : { recordedAtMs: Number(time), id: uuid }
}
