import type { NewTrade } from '../../store/store.ts'
import type { App } from '../app.ts'
import { MAX_TRADES, NewTradesBody, PROBLEM_ANSWERS, type Problem, TradesTaken } from '../contract.ts'
import { problemOf, refuse } from '../problem.ts'
import { atMost } from '../too-many.ts'
import { readTrades } from '../trade-reading.ts'
import type { TradeServices } from './trade-services.ts'

/** `POST /v1/trades`: all trades of the call are durable when it answers, or none was taken. */
export function tradesTakeRoute(app: App, services: TradeServices): void {
  const schema = {
    tags: ['trades'],
    summary: 'Hand in trades of another matching engine',
    body: NewTradesBody,
    response: { 202: TradesTaken, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'operator' } as const
  app.post('/v1/trades', { schema, config, preValidation: atMost('trades', MAX_TRADES) }, async ({ body }, reply) => {
    const read = readTrades(body.trades, services)
    if ('problem' in read) return refuse(reply, read.problem)
    const { acceptedIds, duplicates, reusedIds } = await services.intake.take(read.trades)
    if (reusedIds.length > 0) return refuse(reply, reused(reusedIds, read.trades))
    return reply.code(202).send({ accepted: acceptedIds.length, duplicates: duplicates.length })
  })
}

function reused(ids: readonly string[], trades: readonly NewTrade[]): Problem {
  const isReused = new Set(ids)
  const errors = trades.flatMap(({ trade: { id } }, index) =>
    isReused.has(id) ? [{ pointer: `/trades/${index}/id`, detail: `${id} was used before with other content` }] : [],
  )
  return problemOf('TRADE_ID_REUSED', `used before with other content: ${ids.join(', ')}`, { errors, trade_ids: ids })
}
