import type { WalletLevel } from '../../../wallet/wallet.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { problemOf, refuse } from '../../problem.ts'
import { checked, type NotReady } from '../../routes/health-show.ts'
import { CapabilitiesAnswer } from '../contract.ts'
import type { WalletServices } from '../plugin.ts'

const LEVELS: readonly WalletLevel[] = ['basic', 'reversals', 'batch', 'settlements']

/**
 * `GET /v1/capabilities`: what the wallet can do, and the currencies it knows. By it clients find out whether the wallet is
 * there again, so one that can do nothing just now says so.
 */
export function capabilitiesShowRoute(app: App, { wallet, assets }: WalletServices, notReady: NotReady): void {
  const schema = {
    tags: ['wallet'],
    summary: 'What this wallet can do',
    response: { 200: CapabilitiesAnswer, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/capabilities', { schema, config: { role: 'viewer' } }, async (_request, reply) => {
    const lacking = await checked(notReady)
    if (lacking.length > 0) return refuse(reply, problemOf('UNAVAILABLE', `not ready: ${lacking.join(', ')}`))
    const { level, holds, batchMax, settlementsMax } = await wallet.capabilities()
    return {
      protocol: 1,
      levels: LEVELS.slice(0, LEVELS.indexOf(level) + 1),
      holds,
      batch: { max: batchMax },
      settlements: { max: settlementsMax },
      currencies: [...assets.values()].map(({ code, scale }) => ({ code, scale })),
    }
  })
}

/** Whether a wallet of a level has what another one has. */
export function reaches(level: WalletLevel, needed: WalletLevel): boolean {
  return LEVELS.indexOf(level) >= LEVELS.indexOf(needed)
}
