import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { limitOf } from '../../page.ts'
import { refuse } from '../../problem.ts'
import { pageOfTrades, tradePosition } from '../../trade-page.ts'
import { MarketParams, MarketTradesPage, PageQuery } from '../contract.ts'
import { viewMarketTrade } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'
import { marketIn, noMarket } from '../reading.ts'

/** `GET /v1/markets/{BASE-QUOTE}/trades`: newest first, without who traded. */
export function marketTradesListRoute(app: App, { store, instruments }: OrderServices): void {
  const schema = {
    tags: ['markets'],
    summary: 'Recent trades of a market',
    params: MarketParams,
    querystring: PageQuery,
    response: { 200: MarketTradesPage, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'viewer', traders: 'all' } as const
  app.get('/v1/markets/:market/trades', { schema, config }, async ({ params, query }, reply) => {
    const market = marketIn(params, instruments)
    if (market === null) return refuse(reply, noMarket())
    const before = query.cursor === undefined ? null : tradePosition(query.cursor)
    if (before === undefined) return refuse(reply, invalid('/cursor', 'must be a cursor that an answer gave'))
    const limit = limitOf(query.limit)
    const asked = { statuses: [], symbols: [market.symbol], userIds: [], before, limit: limit + 1 }
    const { items, next_cursor } = pageOfTrades(await store.trades(asked), limit)
    return { trades: items.map(({ trade }) => viewMarketTrade(trade, market)), next_cursor }
  })
}
