import type { App } from '../app.ts'
import { created, jsonOf } from '../hot/answers.ts'
import { type HotRoute, validatorsIn } from '../hot/hot-routes.ts'
import { placeOrder } from './calls.ts'
import { NewOrderBody } from './contract.ts'
import type { OrderServices } from './plugin.ts'

const ORDERS = '/v1/orders'

/** The calls about orders that come by the ten thousands (../hot/hot-routes.ts). */
export function orderHotRoutes(app: App, services: OrderServices): readonly HotRoute[] {
  const isOrder = validatorsIn(app)(NewOrderBody)
  return [
    {
      method: 'POST',
      url: ORDERS,
      target: ORDERS,
      answer: (request, caller) => {
        const parsed = jsonOf(request)
        return isOrder(parsed) ? placeOrder(parsed, caller, services).then(created) : null
      },
    },
  ]
}
