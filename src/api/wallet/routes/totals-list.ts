import { formatDecimal } from '../../../core/money.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { TotalsAnswer } from '../contract.ts'
import type { WalletServices } from '../plugin.ts'
import { scaleOf } from '../reading.ts'

/** `GET /v1/totals`: of each currency, balances + clearing = deposits − withdrawals. */
export function totalsListRoute(app: App, { wallet, assets }: WalletServices): void {
  const schema = {
    tags: ['wallet'],
    summary: 'The sums of each currency',
    response: { 200: TotalsAnswer, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/totals', { schema, config: { role: 'viewer' } }, async () => {
    const totals = await wallet.totals()
    return {
      totals: totals.map(({ currency, balances, clearing, deposits, withdrawals }) => {
        const text = (units: bigint): string => formatDecimal(units, scaleOf(assets, currency))
        return {
          currency,
          balances: text(balances),
          clearing: text(clearing),
          deposits: text(deposits),
          withdrawals: text(withdrawals),
        }
      }),
    }
  })
}
