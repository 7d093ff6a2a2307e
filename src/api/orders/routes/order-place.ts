import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { replayed } from '../../said.ts'
import { PLACING, placeOrder } from '../calls.ts'
import { NewOrderBody, PlacedAnswer } from '../contract.ts'
import type { OrderServices } from '../plugin.ts'

/** `POST /v1/orders`: answered once it is durable, with the trades it took; 200 where its client order id is known. */
export function orderPlaceRoute(app: App, services: OrderServices): void {
  const schema = {
    tags: ['orders'],
    summary: 'Place an order',
    body: NewOrderBody,
    response: { 200: PlacedAnswer, 201: PlacedAnswer, ...PROBLEM_ANSWERS },
  }
  app.post('/v1/orders', { schema, config: PLACING }, async ({ body, principal }, reply) => {
    const said = await placeOrder(body, principal, services)
    if ('problem' in said) return refuse(reply, said.problem)
    if (said.isReplayed) replayed(reply)
    return reply.code(said.isReplayed ? 200 : 201).send(said.body)
  })
}
