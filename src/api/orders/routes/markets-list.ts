import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { MarketsPage } from '../contract.ts'
import { viewMarket } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'

/** `GET /v1/markets`: all of them, from any process. */
export function marketsListRoute(app: App, { orderStore, instruments }: OrderServices): void {
  const schema = {
    tags: ['markets'],
    summary: 'Markets, and whether they take orders',
    response: { 200: MarketsPage, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/markets', { schema, config: { role: 'viewer', traders: 'all' } }, async () => {
    const halted = await orderStore.haltedMarkets()
    const markets = [...instruments.markets.values()].map(market => viewMarket(market, halted.has(market.symbol)))
    return { markets, next_cursor: null }
  })
}
