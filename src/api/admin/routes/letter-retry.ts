import { parseUuid } from '../../../core/ids.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { adminRequestOf, answerChange, noLetter } from '../changing.ts'
import { ChangeHeaders, LetterAnswer, ReasonBody, TradeIdParams } from '../contract.ts'
import { viewLetter } from '../letter-view.ts'
import type { AdminServices } from '../plugin.ts'

/** `POST /v1/admin/dead-letters/{trade_id}/retry`: put back to work when it answers; the letter says how it ends. */
export function letterRetryRoute(app: App, { desk, instruments }: AdminServices): void {
  const schema = {
    tags: ['operation'],
    summary: 'Retry what is dead-lettered',
    params: TradeIdParams,
    headers: ChangeHeaders,
    body: ReasonBody,
    response: { 202: LetterAnswer, ...PROBLEM_ANSWERS },
  }
  const path = '/v1/admin/dead-letters/:trade_id/retry'
  app.post(path, { schema, config: { role: 'operator' } }, async (request, reply) => {
    const tradeId = parseUuid(request.params.trade_id)
    if (tradeId === null) return refuse(reply, noLetter())
    const asked = adminRequestOf(request, request.body?.reason)
    const changed = await desk.retry(tradeId, asked, letter => ({ dead_letter: viewLetter(letter, instruments) }))
    return answerChange(reply, changed, { status: 202, code: 'NOT_RETRYABLE' })
  })
}
