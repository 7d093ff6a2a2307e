import { parseUuid } from '../../../core/ids.ts'
import type { OrderStatus } from '../../../core/order.ts'
import type { App } from '../../app.ts'
import { visibleUsers } from '../../auth.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { limitOf, pageOf, partsOf } from '../../page.ts'
import { refuse } from '../../problem.ts'
import { OrdersPage, OrdersQuery } from '../contract.ts'
import { viewOrder } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'

/** `GET /v1/orders`: newest first. */
export function ordersListRoute(app: App, { orderStore, instruments }: OrderServices): void {
  const schema = {
    tags: ['orders'],
    summary: 'Orders, newest first',
    querystring: OrdersQuery,
    response: { 200: OrdersPage, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/orders', { schema, config: { role: 'viewer', traders: 'own' } }, async ({ query, principal }, reply) => {
    const belowId = query.cursor === undefined ? null : idOf(query.cursor)
    if (belowId === undefined) return refuse(reply, invalid('/cursor', 'must be a cursor that an answer gave'))
    const userIds = visibleUsers(query.user_id?.toLowerCase().split(',') ?? [], principal)
    if (userIds === null) return { orders: [], next_cursor: null }
    const limit = limitOf(query.limit)
    const found = await orderStore.orders({
      userIds,
      symbols: query.symbol?.replaceAll('-', '/').split(',') ?? [],
      statuses: (query.status?.split(',') ?? []) as OrderStatus[],
      belowId,
      limit: limit + 1,
    })
    const { items, next_cursor } = pageOf(found, limit, last => [last.id])
    return { orders: items.map(order => viewOrder(order, instruments)), next_cursor }
  })
}

/** Undefined: no cursor of ours. */
function idOf(cursor: string): string | undefined {
  const [text = '', ...rest] = partsOf(cursor)
  const id = parseUuid(text)
  return id === null || rest.length > 0 ? undefined : id
}
