import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { replayed } from '../../said.ts'
import { callingOf, placeHold } from '../calls.ts'
import { HoldBody, HoldView, KeyHeader } from '../contract.ts'
import type { WalletServices } from '../plugin.ts'

/** `POST /v1/holds`: sets funds aside for the debits that will name the hold. */
export function holdPlaceRoute(app: App, services: WalletServices): void {
  const schema = {
    tags: ['wallet'],
    summary: 'Set funds aside',
    headers: KeyHeader,
    body: HoldBody,
    response: { 200: HoldView, 201: HoldView, ...PROBLEM_ANSWERS },
  }
  app.post('/v1/holds', { schema, config: { role: 'operator' } }, async (request, reply) => {
    const { body, headers } = request
    const said = await placeHold(body, headers['idempotency-key'], callingOf(services, request))
    if ('problem' in said) return refuse(reply, said.problem)
    if (said.isReplayed) replayed(reply)
    return reply.code(said.isReplayed ? 200 : 201).send(said.body)
  })
}
