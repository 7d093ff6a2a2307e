import { formatDecimal } from '../../../core/money.ts'
import type { KeyRecord } from '../../../wallet/wallet.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { formatInstant } from '../../instant.ts'
import { problemOf, refuse } from '../../problem.ts'
import { refusalOf } from '../answers.ts'
import { KeyParams, KeyView } from '../contract.ts'
import type { WalletServices } from '../plugin.ts'
import { scaleOf } from '../reading.ts'

/** `GET /v1/operations/{key}`: the key's first answer, with the status it has now. */
export function keyShowRoute(app: App, { wallet, assets }: WalletServices): void {
  const schema = {
    tags: ['wallet'],
    summary: 'What a key has done',
    params: KeyParams,
    response: { 200: KeyView, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/operations/:key', { schema, config: { role: 'viewer' } }, async ({ params }, reply) => {
    const answer = await wallet.keyRecord(params.key)
    if (answer === null) return refuse(reply, problemOf('NOT_FOUND', 'nobody has used this key'))
    return viewKey(answer, assets)
  })
}

/** Fields of what the key never was are left out. */
function viewKey(answer: KeyRecord, assets: WalletServices['assets']): KeyView {
  const { key, kind, status, tradeId, movement, balanceAfter, hold, held, refusal, atMs } = answer
  const currency = movement?.currency ?? held?.currency ?? ''
  const scale = scaleOf(assets, currency)
  const view: KeyView = { key, type: kind, trade_id: tradeId, status, replayed: false }
  if (movement !== null) {
    Object.assign(view, {
      user_id: movement.userId,
      currency,
      amount: formatDecimal(movement.amount, scale),
      reason: movement.reason,
    })
    if (movement.hold !== undefined) view.hold = movement.hold
  }
  if (hold !== null) view.hold = hold
  if (held !== null) {
    const [amount, remaining] = [formatDecimal(held.amount, scale), formatDecimal(held.remaining, scale)]
    Object.assign(view, { user_id: held.userId, currency, amount, remaining })
  }
  if (balanceAfter !== null) view.balance_after = formatDecimal(balanceAfter, scale)
  if (refusal === null && kind !== 'reversal') view.applied_at = formatInstant(atMs)
  if (refusal !== null) {
    view.problem = refusalOf(refusal.code, refusal.detail, refusal.amounts, assets)
  }
  return view
}
