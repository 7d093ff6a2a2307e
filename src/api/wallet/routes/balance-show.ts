import type { App } from '../../app.ts'
import { maySee } from '../../auth.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { problemOf, refuse } from '../../problem.ts'
import { showBalance } from '../calls.ts'
import { BalanceParams, BalanceView } from '../contract.ts'
import type { WalletServices } from '../plugin.ts'

/** `GET /v1/balances/{user_id}/{currency}`: of an account that was never used zeros. */
export function balanceShowRoute(app: App, services: WalletServices): void {
  const schema = {
    tags: ['wallet'],
    summary: 'What an account holds',
    params: BalanceParams,
    response: { 200: BalanceView, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'viewer', traders: 'own' } as const
  app.get('/v1/balances/:user_id/:currency', { schema, config }, async ({ params, principal }, reply) => {
    if (!maySee(principal, [params.user_id.toLowerCase()])) {
      return refuse(reply, problemOf('NOT_FOUND', 'there is no account of this user'))
    }
    const said = await showBalance(params, services)
    return 'problem' in said ? refuse(reply, said.problem) : said.body
  })
}
