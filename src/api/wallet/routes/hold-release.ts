import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { replayed } from '../../said.ts'
import { callingOf, releaseHold } from '../calls.ts'
import { HoldView, KeyHeader, ReleaseBody } from '../contract.ts'
import type { WalletServices } from '../plugin.ts'

/** `POST /v1/holds/release`: gives back what remains of a hold, or a part of it; the key in the header is the call's own. */
export function holdReleaseRoute(app: App, services: WalletServices): void {
  const schema = {
    tags: ['wallet'],
    summary: 'Give back what was set aside',
    headers: KeyHeader,
    body: ReleaseBody,
    response: { 200: HoldView, ...PROBLEM_ANSWERS },
  }
  app.post('/v1/holds/release', { schema, config: { role: 'operator' } }, async (request, reply) => {
    const { body, headers } = request
    const said = await releaseHold(body, headers['idempotency-key'], callingOf(services, request))
    if ('problem' in said) return refuse(reply, said.problem)
    if (said.isReplayed) replayed(reply)
    return said.body
  })
}
