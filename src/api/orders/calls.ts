/** What placing an order comes to, from a body that its schema has accepted to what is answered, whatever its way in. */
import type { Instruments } from '../../core/instruments.ts'
import type { OrderDesk } from '../../orders/desk.ts'
import type { Principal, RouteAccess } from '../auth.ts'
import { problemOfFaults } from '../faults.ts'
import type { Said } from '../said.ts'
import type { NewOrderBody } from './contract.ts'
import { viewPlaced } from './order-view.ts'
import { readOrder } from './reading.ts'
import { problemOfRefusal } from './refusals.ts'

export const PLACING = { role: 'operator', traders: 'own' } as const satisfies RouteAccess

export async function placeOrder(
  body: NewOrderBody,
  principal: Principal,
  { orders, instruments }: { readonly orders: Pick<OrderDesk, 'place'>; readonly instruments: Instruments },
): Promise<Said<ReturnType<typeof viewPlaced>>> {
  const read = readOrder(body, principal)
  if ('faults' in read) return { problem: problemOfFaults(read.faults) }
  if ('problem' in read) return read
  const [answer] = await orders.place([read.order])
  if (answer === undefined) throw new Error('the desk answered nothing')
  if ('refusal' in answer) return { problem: problemOfRefusal(answer.refusal, instruments) }
  return { body: viewPlaced(answer, instruments), isReplayed: !answer.isNew }
}
