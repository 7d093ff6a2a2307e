import { parseUuid } from '../../../core/ids.ts'
import type { App } from '../../app.ts'
import { maySee } from '../../auth.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { OrderAnswer, OrderParams } from '../contract.ts'
import { viewOrder } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'
import { noOrder } from '../reading.ts'

/** `GET /v1/orders/{id}`: as it is stored, from any process. */
export function orderShowRoute(app: App, { orderStore, instruments }: OrderServices): void {
  const schema = {
    tags: ['orders'],
    summary: 'An order',
    params: OrderParams,
    response: { 200: OrderAnswer, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'viewer', traders: 'own' } as const
  app.get('/v1/orders/:id', { schema, config }, async ({ params, principal }, reply) => {
    const id = parseUuid(params.id)
    const order = id === null ? null : await orderStore.order(id)
    if (order === null || !maySee(principal, [order.userId])) return refuse(reply, noOrder())
    return { order: viewOrder(order, instruments) }
  })
}
