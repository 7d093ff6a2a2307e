import { parseUuid } from '../../../core/ids.ts'
import type { LetterQuery } from '../../../store/operator-store.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { limitOf, pageOf, partsOf } from '../../page.ts'
import { refuse } from '../../problem.ts'
import { LettersPage, LettersQuery } from '../contract.ts'
import { filterOf, viewLetter } from '../letter-view.ts'
import type { AdminServices } from '../plugin.ts'

/** `GET /v1/admin/dead-letters`: newest first, by when the trade first failed. */
export function lettersListRoute(app: App, { operators, instruments }: AdminServices): void {
  const schema = {
    tags: ['operation'],
    summary: 'Dead letters, newest first',
    querystring: LettersQuery,
    response: { 200: LettersPage, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/admin/dead-letters', { schema, config: { role: 'viewer' } }, async ({ query }, reply) => {
    const before = query.cursor === undefined ? null : positionOf(query.cursor)
    if (before === undefined) return refuse(reply, invalid('/cursor', 'must be a cursor that an answer gave'))
    const limit = limitOf(query.limit)
    const found = await operators.letters({ ...filterOf(query), before, limit: limit + 1 })
    const { items, next_cursor } = pageOf(found, limit, last => [last.firstFailedAtMs, last.stored.trade.id])
    return { dead_letters: items.map(letter => viewLetter(letter, instruments)), next_cursor }
  })
}

/** Undefined: no cursor of ours. */
function positionOf(cursor: string): LetterQuery['before'] | undefined {
  const [time = '', id = '', ...rest] = partsOf(cursor)
  const tradeId = parseUuid(id)
  return tradeId === null || rest.length > 0 || !/^[0-9]{1,15}$/.test(time)
    ? undefined
    : { firstFailedAtMs: Number(time), tradeId }
}
