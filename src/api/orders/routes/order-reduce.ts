import { parseUuid } from '../../../core/ids.ts'
import type { App } from '../../app.ts'
import { onlyOf } from '../../auth.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { OrderAnswer, OrderParams, ReduceBody } from '../contract.ts'
import { viewOrder } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'
import { noOrder } from '../reading.ts'
import { problemOfRefusal } from '../refusals.ts'

/** `PATCH /v1/orders/{id}`: a smaller quantity; the order keeps its place. */
export function orderReduceRoute(app: App, { orders, instruments }: OrderServices): void {
  const schema = {
    tags: ['orders'],
    summary: 'Reduce an order',
    params: OrderParams,
    body: ReduceBody,
    response: { 200: OrderAnswer, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'operator', traders: 'own' } as const
  app.patch('/v1/orders/:id', { schema, config }, async ({ params, body, principal }, reply) => {
    const id = parseUuid(params.id)
    if (id === null) return refuse(reply, noOrder())
    const answer = await orders.reduce(id, body.quantity, onlyOf(principal))
    if ('refusal' in answer) return refuse(reply, problemOfRefusal(answer.refusal, instruments))
    return { order: viewOrder(answer.order, instruments) }
  })
}
