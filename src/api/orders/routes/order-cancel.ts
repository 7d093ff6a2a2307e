import { parseUuid } from '../../../core/ids.ts'
import type { App } from '../../app.ts'
import { onlyOf } from '../../auth.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { OrderAnswer, OrderParams } from '../contract.ts'
import { viewOrder } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'
import { noOrder } from '../reading.ts'
import { problemOfRefusal } from '../refusals.ts'

/** `DELETE /v1/orders/{id}`: harmless when it comes again. */
export function orderCancelRoute(app: App, { orders, instruments }: OrderServices): void {
  const schema = {
    tags: ['orders'],
    summary: 'Cancel an order',
    params: OrderParams,
    response: { 200: OrderAnswer, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'operator', traders: 'own' } as const
  app.delete('/v1/orders/:id', { schema, config }, async ({ params, principal }, reply) => {
    const id = parseUuid(params.id)
    if (id === null) return refuse(reply, noOrder())
    const answer = await orders.cancel(id, onlyOf(principal))
    if ('refusal' in answer) return refuse(reply, problemOfRefusal(answer.refusal, instruments))
    return { order: viewOrder(answer.order, instruments) }
  })
}
