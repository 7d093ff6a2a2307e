import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { limitOf, pageOf, partsOf } from '../../page.ts'
import { refuse } from '../../problem.ts'
import { MarketsPage, PageQuery } from '../contract.ts'
import { viewMarket } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'

/** `GET /v1/markets`: as they are configured, from any process. */
export function marketsListRoute(app: App, { orderStore, instruments }: OrderServices): void {
  const schema = {
    tags: ['markets'],
    summary: 'Markets, and whether they take orders',
    querystring: PageQuery,
    response: { 200: MarketsPage, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/markets', { schema, config: { role: 'viewer', traders: 'all' } }, async ({ query }, reply) => {
    const all = [...instruments.markets.values()]
    const from = query.cursor === undefined ? 0 : all.findIndex(({ symbol }) => symbol === after(query.cursor)) + 1
    if (query.cursor !== undefined && from === 0) {
      return refuse(reply, invalid('/cursor', 'must be a cursor that an answer gave'))
    }
    const limit = limitOf(query.limit)
    const { items, next_cursor } = pageOf(all.slice(from), limit, last => [last.symbol])
    const halted = await orderStore.haltedMarkets()
    return { markets: items.map(market => viewMarket(market, halted.has(market.symbol))), next_cursor }
  })
}

function after(cursor = ''): string | undefined {
  const [symbol] = partsOf(cursor)
  return symbol
}
