import { parseUuid } from '../../../core/ids.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { adminRequestOf, answerChange, noLetter } from '../changing.ts'
import { ChangeHeaders, LetterAnswer, ResolveBody, TradeIdParams } from '../contract.ts'
import { viewLetter } from '../letter-view.ts'
import type { AdminServices } from '../plugin.ts'

/** `POST /v1/admin/dead-letters/{trade_id}/resolve`: nothing more is done about it, and the trade's status stays. */
export function letterResolveRoute(app: App, { desk, instruments }: AdminServices): void {
  const schema = {
    tags: ['operation'],
    summary: 'Say what became of it',
    params: TradeIdParams,
    headers: ChangeHeaders,
    body: ResolveBody,
    response: { 200: LetterAnswer, ...PROBLEM_ANSWERS },
  }
  const path = '/v1/admin/dead-letters/:trade_id/resolve'
  app.post(path, { schema, config: { role: 'operator' } }, async (request, reply) => {
    const tradeId = parseUuid(request.params.trade_id)
    if (tradeId === null) return refuse(reply, noLetter())
    const { resolution, note, reason } = request.body
    const changed = await desk.resolve(tradeId, { resolution, note }, adminRequestOf(request, reason), letter => ({
      dead_letter: viewLetter(letter, instruments),
    }))
    return answerChange(reply, changed, { status: 200, code: 'NOT_RESOLVABLE' })
  })
}
