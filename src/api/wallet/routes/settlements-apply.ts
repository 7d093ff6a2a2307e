import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { atMost } from '../../too-many.ts'
import { callingOf, settleItem } from '../calls.ts'
import { SettlementResults, SettlementsBody, SettlementsBodyDescribed } from '../contract.ts'
import { checkWith } from '../items.ts'
import type { WalletServices } from '../plugin.ts'

/** `POST /v1/settlements`: all legs of a trade or none; the settlements of a call in order, each standing alone. */
export function settlementsApplyRoute(app: App, services: WalletServices, max: number): void {
  const schema = {
    tags: ['wallet'],
    summary: 'All legs of each trade in one step',
    body: SettlementsBody,
    response: { 200: SettlementResults, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'operator', describedBody: SettlementsBodyDescribed } as const
  app.post('/v1/settlements', { schema, config, preValidation: atMost('settlements', max) }, async request => {
    const calling = callingOf(services, request)
    const check = checkWith(item => request.compileValidationSchema(item))
    return { results: await Promise.all(request.body.settlements.map(item => settleItem(item, calling, check))) }
  })
}
