import type { FastifyRequest } from 'fastify'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { atMost } from '../../too-many.ts'
import { problemOfOutcome, viewOperation } from '../answers.ts'
import {
  BatchBody,
  BatchBodyDescribed,
  type BatchResult,
  BatchResults,
  OperationItem,
  ReversalItem,
} from '../contract.ts'
import { checkItem, refusedItem } from '../items.ts'
import type { WalletServices } from '../plugin.ts'
import { readOperation, scaleOf } from '../reading.ts'

/** `POST /v1/batch`: many operations in a call, in order; each stands alone. */
export function batchApplyRoute(app: App, services: WalletServices, max: number): void {
  const schema = {
    tags: ['wallet'],
    summary: 'Many operations in one call',
    body: BatchBody,
    response: { 200: BatchResults, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'operator', describedBody: BatchBodyDescribed } as const
  app.post('/v1/batch', { schema, config, preValidation: atMost('operations', max) }, async request => ({
    // Each is handed to the wallet at once, in the order of the call; only then is any waited for.
    results: await Promise.all(request.body.operations.map(item => applyItem(item, services, request))),
  }))
}

async function applyItem(
  item: unknown,
  { wallet, assets }: WalletServices,
  request: FastifyRequest,
): Promise<BatchResult> {
  if (isReversal(item)) {
    const checked = checkItem(request, ReversalItem, item)
    if ('problem' in checked) return refusedItem(item, checked.problem)
    const { key } = checked.value
    const outcome = await wallet.reverse(key)
    if (outcome.outcome !== 'applied') return refusedItem(item, problemOfOutcome(outcome, assets, request.log))
    return { key, status: outcome.done.status, replayed: outcome.replayed }
  }
  const checked = checkItem(request, OperationItem, item)
  if ('problem' in checked) return refusedItem(item, checked.problem)
  const { key, type, ...body } = checked.value
  const read = readOperation(body, { key, type }, assets)
  if ('problem' in read) return refusedItem(item, read.problem)
  const outcome = await wallet.apply(read.value)
  const scale = scaleOf(assets, body.currency)
  return outcome.outcome === 'applied'
    ? viewOperation(read.value, outcome, scale)
    : refusedItem(item, problemOfOutcome(outcome, assets, request.log))
}

function isReversal(item: unknown): boolean {
  return typeof item === 'object' && item !== null && Reflect.get(item, 'type') === 'reversal'
}
