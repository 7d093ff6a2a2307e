import { Type } from 'typebox'
import { parseUuid } from '../../core/ids.ts'
import type { App } from '../app.ts'
import { maySee } from '../auth.ts'
import { CLOSED, PROBLEM_ANSWERS, TradeAnswer } from '../contract.ts'
import { problemOf, refuse } from '../problem.ts'
import { viewTradeDetail } from '../trade-view.ts'
import type { TradeServices } from './trade-services.ts'

/** `GET /v1/trades/{id}`: the trade with its legs. What can't be an id is no trade's id: 404. */
export function tradeShowRoute(app: App, { store, instruments }: TradeServices): void {
  const schema = {
    tags: ['trades'],
    summary: 'A trade, its settlement and its legs',
    params: Type.Object({ id: Type.String() }, CLOSED),
    response: { 200: TradeAnswer, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/trades/:id', { schema, config: { role: 'viewer', traders: 'own' } }, async (request, reply) => {
    const id = parseUuid(request.params.id)
    const stored = id === null ? null : await store.trade(id)
    if (stored === null || !maySee(request.principal, [stored.trade.buyerUserId, stored.trade.sellerUserId])) {
      return refuse(reply, problemOf('NOT_FOUND', 'there is no trade of this id'))
    }
    return { trade: viewTradeDetail(stored, instruments) }
  })
}
