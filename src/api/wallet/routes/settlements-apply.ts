import type { FastifyRequest } from 'fastify'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { atMost } from '../../too-many.ts'
import { problemOfOutcome } from '../answers.ts'
import {
  SettlementItem,
  type SettlementResult,
  SettlementResults,
  SettlementsBody,
  SettlementsBodyDescribed,
} from '../contract.ts'
import { checkItem, refusedItem } from '../items.ts'
import type { WalletServices } from '../plugin.ts'
import { readSettlement } from '../reading.ts'

/** `POST /v1/settlements`: all legs of a trade or none; the settlements of a call in order, each standing alone. */
export function settlementsApplyRoute(app: App, services: WalletServices, max: number): void {
  const schema = {
    tags: ['wallet'],
    summary: 'All legs of each trade in one step',
    body: SettlementsBody,
    response: { 200: SettlementResults, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'operator', describedBody: SettlementsBodyDescribed } as const
  app.post('/v1/settlements', { schema, config, preValidation: atMost('settlements', max) }, async request => ({
    results: await Promise.all(request.body.settlements.map(item => settleItem(item, services, request))),
  }))
}

async function settleItem(
  item: unknown,
  { wallet, assets }: WalletServices,
  request: FastifyRequest,
): Promise<SettlementResult> {
  const checked = checkItem(request, SettlementItem, item)
  if ('problem' in checked) return { ...refusedItem(item, checked.problem), replayed: false }
  const read = readSettlement(checked.value, assets)
  if ('problem' in read) return { ...refusedItem(item, read.problem), replayed: false }
  const outcome = await wallet.settle(read.value)
  return outcome.outcome === 'applied'
    ? { key: read.value.key, status: 'settled', replayed: outcome.replayed }
    : { ...refusedItem(item, problemOfOutcome(outcome, assets, request.log)), replayed: false }
}
