import type { App } from '../../app.ts'
import { onlyOf } from '../../auth.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { problemOf, refuse } from '../../problem.ts'
import { CancelledOrders, CancelQuery } from '../contract.ts'
import { viewOrder } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'
import { othersOrder } from '../reading.ts'

/** `DELETE /v1/orders`: all open orders of a user, or those in some markets. A market that is none is no success. */
export function ordersCancelRoute(app: App, { orders, instruments }: OrderServices): void {
  const schema = {
    tags: ['orders'],
    summary: 'Cancel all orders of a user',
    querystring: CancelQuery,
    response: { 200: CancelledOrders, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'operator', traders: 'own' } as const
  app.delete('/v1/orders', { schema, config }, async ({ query, principal }, reply) => {
    const own = onlyOf(principal)
    const userId = query.user_id?.toLowerCase() ?? own
    if (userId === null) return refuse(reply, invalid('/user_id', 'is missing'))
    if (own !== null && userId !== own) return refuse(reply, othersOrder())
    const symbols = query.symbol?.replaceAll('-', '/').split(',') ?? [null]
    const unknown = symbols.find(symbol => symbol !== null && !instruments.markets.has(symbol)) ?? null
    if (unknown !== null) return refuse(reply, problemOf('UNKNOWN_SYMBOL', `no market ${unknown} is configured`))
    const cancelled = await Promise.all(symbols.map(symbol => orders.cancelAll(userId, symbol)))
    return { orders: cancelled.flat().map(order => viewOrder(order, instruments)) }
  })
}
