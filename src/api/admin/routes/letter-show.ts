import { parseUuid } from '../../../core/ids.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { noLetter } from '../changing.ts'
import { LetterAnswer, TradeIdParams } from '../contract.ts'
import { viewLetter } from '../letter-view.ts'
import type { AdminServices } from '../plugin.ts'

/** `GET /v1/admin/dead-letters/{trade_id}`, also when it is resolved. */
export function letterShowRoute(app: App, { operators, instruments }: AdminServices): void {
  const schema = {
    tags: ['operation'],
    summary: 'The dead letter of a trade',
    params: TradeIdParams,
    response: { 200: LetterAnswer, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/admin/dead-letters/:trade_id', { schema, config: { role: 'viewer' } }, async ({ params }, reply) => {
    const tradeId = parseUuid(params.trade_id)
    const letter = tradeId === null ? null : await operators.letter(tradeId)
    if (letter === null) return refuse(reply, noLetter())
    return { dead_letter: viewLetter(letter, instruments) }
  })
}
