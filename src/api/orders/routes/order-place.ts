import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { problemOfFaults } from '../../faults.ts'
import { refuse } from '../../problem.ts'
import { replayed } from '../../wallet/replayed.ts'
import { NewOrderBody, PlacedAnswer } from '../contract.ts'
import { viewPlaced } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'
import { readOrder } from '../reading.ts'
import { problemOfRefusal } from '../refusals.ts'

/** `POST /v1/orders`: answered once it is durable, with the trades it took; 200 where its client order id is known. */
export function orderPlaceRoute(app: App, { orders, instruments }: OrderServices): void {
  const schema = {
    tags: ['orders'],
    summary: 'Place an order',
    body: NewOrderBody,
    response: { 200: PlacedAnswer, 201: PlacedAnswer, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'operator', traders: 'own' } as const
  app.post('/v1/orders', { schema, config }, async ({ body, principal }, reply) => {
    const read = readOrder(body, principal)
    if ('fault' in read) return refuse(reply, problemOfFaults([read.fault]))
    if ('problem' in read) return refuse(reply, read.problem)
    const [answer] = await orders.place([read.order])
    if (answer === undefined) throw new Error('the desk answered nothing')
    if ('refusal' in answer) return refuse(reply, problemOfRefusal(answer.refusal, instruments))
    if (!answer.isNew) replayed(reply)
    return reply.code(answer.isNew ? 201 : 200).send(viewPlaced(answer, instruments))
  })
}
