import type { PlaceAnswer } from '../../../orders/desk.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { problemOfFaults } from '../../faults.ts'
import { refuse } from '../../problem.ts'
import { atMost } from '../../too-many.ts'
import { PLACING } from '../calls.ts'
import { type BatchResult, BatchResults, MAX_ORDERS, NewOrdersBody } from '../contract.ts'
import { viewPlaced } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'
import { readOrder } from '../reading.ts'
import { problemOfRefusal } from '../refusals.ts'

/**
 * `POST /v1/orders/batch`: in order, each answered on its own. Where any of them is malformed the call is, and nothing of
 * it is taken.
 */
export function ordersPlaceRoute(app: App, { orders, instruments }: OrderServices): void {
  const schema = {
    tags: ['orders'],
    summary: `Place up to ${MAX_ORDERS} orders, each on its own`,
    body: NewOrdersBody,
    response: { 200: BatchResults, ...PROBLEM_ANSWERS },
  }
  const preValidation = atMost('orders', MAX_ORDERS)
  app.post('/v1/orders/batch', { schema, config: PLACING, preValidation }, async ({ body, principal }, reply) => {
    const read = body.orders.map((order, index) => readOrder(order, principal, `/orders/${index}`))
    const faults = read.flatMap(each => ('faults' in each ? each.faults : []))
    if (faults.length > 0) return refuse(reply, problemOfFaults(faults))
    const answers = (await orders.place(read.flatMap(each => ('order' in each ? [each.order] : [])))).values()
    const results = read.map((each, index): BatchResult => {
      if ('problem' in each) return { problem: each.problem }
      const answer = answers.next().value as PlaceAnswer
      return 'refusal' in answer
        ? { problem: problemOfRefusal(answer.refusal, instruments, `/orders/${index}`) }
        : viewPlaced(answer, instruments)
    })
    return { results }
  })
}
