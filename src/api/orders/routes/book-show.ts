import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { BookView, DepthQuery, MAX_DEPTH, MarketParams } from '../contract.ts'
import { viewBook } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'
import { marketIn, noMarket } from '../reading.ts'

const DEFAULT_DEPTH = 50

/** `GET /v1/markets/{BASE-QUOTE}/book`: the best levels of each side, as they are stored. */
export function bookShowRoute(app: App, { orders, instruments }: OrderServices): void {
  const schema = {
    tags: ['markets'],
    summary: 'The order book of a market',
    params: MarketParams,
    querystring: DepthQuery,
    response: { 200: BookView, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'viewer', traders: 'all' } as const
  app.get('/v1/markets/:market/book', { schema, config }, async ({ params, query }, reply) => {
    const market = marketIn(params, instruments)
    if (market === null) return refuse(reply, noMarket())
    const limit = query.depth === undefined ? DEFAULT_DEPTH : Math.min(Number(query.depth), MAX_DEPTH)
    const depth = await orders.depth(market.symbol, limit)
    return depth === null ? refuse(reply, noMarket()) : viewBook(depth, market)
  })
}
