import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { replayed } from '../../said.ts'
import { callingOf, reverseKey } from '../calls.ts'
import { ReversalBody, ReversalView } from '../contract.ts'
import type { WalletServices } from '../plugin.ts'

/** `POST /v1/reversals`: undoes what a key has done, and refuses the key from now on. */
export function keyReverseRoute(app: App, services: WalletServices): void {
  const schema = {
    tags: ['wallet'],
    summary: 'Undo whatever a key has done',
    body: ReversalBody,
    response: { 200: ReversalView, ...PROBLEM_ANSWERS },
  }
  app.post('/v1/reversals', { schema, config: { role: 'operator' } }, async (request, reply) => {
    const said = await reverseKey(request.body.key, callingOf(services, request))
    if ('problem' in said) return refuse(reply, said.problem)
    if (said.isReplayed) replayed(reply)
    return said.body
  })
}
