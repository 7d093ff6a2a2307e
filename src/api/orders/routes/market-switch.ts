import { uuidV7 } from '../../../uuid.ts'
import { adminRequestOf, answerChange } from '../../admin/changing.ts'
import { ChangeHeaders, ReasonBody } from '../../admin/contract.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { MarketAnswer, MarketParams } from '../contract.ts'
import { viewMarket } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'
import { marketIn, noMarket } from '../reading.ts'

/**
 * `POST /v1/admin/markets/{BASE-QUOTE}/halt` and `/resume`: a halted market takes no orders, and goes on cancelling. It is
 * kept with the book; were the process to die between that and the entry in the log, the market is halted without one,
 * and doing it again enters it.
 */
export function marketSwitchRoutes(app: App, { orders, operators, instruments, clock }: OrderServices): void {
  for (const isHalted of [true, false]) {
    const schema = {
      tags: ['operation'],
      summary: isHalted ? 'Take no orders for a market' : 'Take orders again',
      params: MarketParams,
      headers: ChangeHeaders,
      body: ReasonBody,
      response: { 200: MarketAnswer, ...PROBLEM_ANSWERS },
    }
    const path = `/v1/admin/markets/:market/${isHalted ? 'halt' : 'resume'}`
    app.post(path, { schema, config: { role: 'operator' } }, async (request, reply) => {
      const market = marketIn(request.params, instruments)
      if (market === null) return refuse(reply, noMarket())
      const { symbol } = market
      const atMs = clock.now()
      const changed = await operators.change<MarketAnswer, 'unknown'>(
        {
          ...adminRequestOf(request, request.body?.reason),
          ...{ id: uuidV7(atMs), atMs, action: isHalted ? 'market-halt' : 'market-resume', detail: { symbol } },
        },
        async () =>
          (await orders.setHalted(symbol, isHalted))
            ? { answer: { market: viewMarket(market, isHalted) }, tradeIds: [] }
            : { refusal: 'unknown' },
      )
      if (changed.outcome === 'refused') return refuse(reply, noMarket())
      return answerChange(reply, changed, { status: 200, code: 'INTERNAL' })
    })
  }
}
