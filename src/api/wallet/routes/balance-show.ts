import { formatDecimal } from '../../../core/money.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { problemOf, refuse } from '../../problem.ts'
import { BalanceParams, BalanceView } from '../contract.ts'
import type { WalletServices } from '../plugin.ts'
import { scaleOf } from '../reading.ts'

/** `GET /v1/balances/{user_id}/{currency}`: of an account that was never used zeros. */
export function balanceShowRoute(app: App, { wallet, assets }: WalletServices): void {
  const schema = {
    tags: ['wallet'],
    summary: 'What an account holds',
    params: BalanceParams,
    response: { 200: BalanceView, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/balances/:user_id/:currency', { schema, config: { role: 'operator' } }, async ({ params }, reply) => {
    const { currency } = params
    const balance = await wallet.balance(params.user_id.toLowerCase(), currency)
    if (balance === null) return refuse(reply, problemOf('UNKNOWN_CURRENCY', `no account can hold ${currency}`))
    const text = (units: bigint): string => formatDecimal(units, scaleOf(assets, currency))
    return {
      user_id: balance.userId,
      currency,
      available: text(balance.available),
      held: text(balance.held),
      total: text(balance.total),
    }
  })
}
