import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { problemOfOutcome } from '../answers.ts'
import { ReversalBody, ReversalView } from '../contract.ts'
import type { WalletServices } from '../plugin.ts'
import { replayed } from '../replayed.ts'

/** `POST /v1/reversals`: undoes what a key has done, and refuses the key from now on. */
export function keyReverseRoute(app: App, { wallet, assets }: WalletServices): void {
  const schema = {
    tags: ['wallet'],
    summary: 'Undo whatever a key has done',
    body: ReversalBody,
    response: { 200: ReversalView, ...PROBLEM_ANSWERS },
  }
  app.post('/v1/reversals', { schema, config: { role: 'operator' } }, async ({ body: { key }, log }, reply) => {
    const outcome = await wallet.reverse(key)
    if (outcome.outcome !== 'applied') return refuse(reply, problemOfOutcome(outcome, assets, log))
    if (outcome.replayed) replayed(reply)
    return { key, status: outcome.done.status, replayed: outcome.replayed }
  })
}
