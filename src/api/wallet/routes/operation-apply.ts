import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { problemOfOutcome, viewOperation } from '../answers.ts'
import { KeyHeader, OperationBody, OperationView } from '../contract.ts'
import type { WalletServices } from '../plugin.ts'
import { readOperation, scaleOf } from '../reading.ts'
import { replayed } from '../replayed.ts'

/** `POST /v1/debits` and `POST /v1/credits`. */
export function operationApplyRoutes(app: App, { wallet, assets }: WalletServices): void {
  for (const type of ['debit', 'credit'] as const) {
    const schema = {
      tags: ['wallet'],
      summary: type === 'debit' ? 'Take from an account' : 'Give to an account',
      headers: KeyHeader,
      body: OperationBody,
      response: { 200: OperationView, 201: OperationView, ...PROBLEM_ANSWERS },
    }
    app.post(`/v1/${type}s`, { schema, config: { role: 'operator' } }, async ({ body, headers, log }, reply) => {
      const read = readOperation(body, { key: headers['idempotency-key'], type }, assets)
      if ('problem' in read) return refuse(reply, read.problem)
      const outcome = await wallet.apply(read.value)
      const scale = scaleOf(assets, read.value.currency)
      if (outcome.outcome !== 'applied') return refuse(reply, problemOfOutcome(outcome, assets, log))
      if (outcome.replayed) replayed(reply)
      return reply.code(outcome.replayed ? 200 : 201).send(viewOperation(read.value, outcome, scale))
    })
  }
}
