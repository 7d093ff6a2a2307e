import { parseUuid } from '../../../core/ids.ts'
import type { Order } from '../../../core/order.ts'
import type { App } from '../../app.ts'
import { maySee, onlyOf, type Principal } from '../../auth.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { problemOf, refuse } from '../../problem.ts'
import { CLIENT_ORDER_ID, ClientOrderParams, OrderAnswer } from '../contract.ts'
import { viewOrder } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'
import { problemOfRefusal } from '../refusals.ts'

const PATH = '/v1/orders/by-client-id/:user_id/:client_order_id'

/** `GET` and `DELETE /v1/orders/by-client-id/{user_id}/{client_order_id}`: as by the order's own id. */
export function clientOrderRoutes(app: App, { orders, orderStore, instruments }: OrderServices): void {
  const schema = {
    tags: ['orders'],
    params: ClientOrderParams,
    response: { 200: OrderAnswer, ...PROBLEM_ANSWERS },
  }

  /** What can't be one of these ids is nobody's. */
  async function find(
    params: { readonly user_id: string; readonly client_order_id: string },
    principal: Principal,
  ): Promise<Order | null> {
    const userId = parseUuid(params.user_id)
    const clientOrderId = params.client_order_id
    if (userId === null || !CLIENT_ORDER_ID.test(clientOrderId) || !maySee(principal, [userId])) return null
    const [order] = await orderStore.byClientOrderIds([{ userId, clientOrderId }])
    return order ?? null
  }

  const looking = {
    schema: { ...schema, summary: 'An order, by its client order id' },
    config: { role: 'viewer', traders: 'own' } as const,
  }
  app.get(PATH, looking, async ({ params, principal }, reply) => {
    const order = await find(params, principal)
    return order === null ? refuse(reply, noClientOrder()) : { order: viewOrder(order, instruments) }
  })

  const cancelling = {
    schema: { ...schema, summary: 'Cancel an order, by its client order id' },
    config: { role: 'operator', traders: 'own' } as const,
  }
  app.delete(PATH, cancelling, async ({ params, principal }, reply) => {
    const order = await find(params, principal)
    if (order === null) return refuse(reply, noClientOrder())
    const answer = await orders.cancel(order.id, onlyOf(principal))
    if ('refusal' in answer) return refuse(reply, problemOfRefusal(answer.refusal, instruments))
    return { order: viewOrder(answer.order, instruments) }
  })
}

function noClientOrder() {
  return problemOf('NOT_FOUND', 'no order was accepted under this client order id')
}
