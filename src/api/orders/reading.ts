/** From the orders of a request to those that the desk takes. */
import type { Instruments } from '../../core/instruments.ts'
import type { Market } from '../../core/market.ts'
import { shapeFaults } from '../../matching/order-rules.ts'
import type { NewOrder } from '../../orders/accept.ts'
import { onlyOf, type Principal } from '../auth.ts'
import type { Fault, Problem } from '../contract.ts'
import { problemOf } from '../problem.ts'
import type { NewOrderBody } from './contract.ts'

/** `faults`: the request is malformed; `problem`: this one order may not be placed. */
export type ReadOrder =
  | { readonly order: NewOrder }
  | { readonly faults: readonly Fault[] }
  | { readonly problem: Problem }

/** @param at where the order stands in the body, as a JSON pointer. */
export function readOrder(body: NewOrderBody, principal: Principal, at = ''): ReadOrder {
  const own = onlyOf(principal)
  const userId = body.user_id?.toLowerCase() ?? own
  if (own !== null && userId !== own) return { problem: othersOrder() }
  const order: NewOrder = {
    userId: userId ?? '',
    clientOrderId: body.client_order_id ?? null,
    symbol: body.symbol,
    side: body.side,
    type: body.type,
    price: body.price ?? null,
    quantity: body.quantity ?? null,
    quoteQuantity: body.quote_quantity ?? null,
    timeInForce: body.time_in_force ?? null,
    postOnly: body.post_only ?? false,
    selfTradePrevention: body.self_trade_prevention ?? null,
  }
  const faults = shapeFaults(order).map(({ field, detail }): Fault => ({ pointer: `${at}/${field}`, detail }))
  if (userId === null) faults.unshift({ pointer: `${at}/user_id`, detail: 'is missing' })
  return faults.length === 0 ? { order } : { faults }
}

export function othersOrder(): Problem {
  return problemOf('FORBIDDEN', 'the key is for the orders of its own user alone')
}

/** The market that a path names as BASE-QUOTE. */
export function marketIn({ market }: { readonly market: string }, { markets }: Instruments): Market | null {
  return /^[A-Z0-9]+-[A-Z0-9]+$/.test(market) ? (markets.get(market.replace('-', '/')) ?? null) : null
}

export function noMarket(): Problem {
  return problemOf('NOT_FOUND', 'there is no market of this name')
}

export function noOrder(): Problem {
  return problemOf('NOT_FOUND', 'there is no order of this id')
}
