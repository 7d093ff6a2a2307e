import type { SettlementStatus } from '../../store/store.ts'
import type { App } from '../app.ts'
import { visibleUsers } from '../auth.ts'
import { PROBLEM_ANSWERS, TradesPage, TradesQuery } from '../contract.ts'
import { invalid } from '../faults.ts'
import { limitOf } from '../page.ts'
import { refuse } from '../problem.ts'
import { pageOfTrades, tradePosition } from '../trade-page.ts'
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
    const before = query.cursor === undefined ? null : tradePosition(query.cursor)
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
    const { items, next_cursor } = pageOfTrades(found, limit)
    return { trades: items.map(stored => viewTrade(stored, instruments)), next_cursor }
  })
}
