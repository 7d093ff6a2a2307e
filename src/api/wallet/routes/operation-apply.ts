import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { applyOperation } from '../calls.ts'
import { KeyHeader, OperationBody, OperationView } from '../contract.ts'
import type { WalletServices } from '../plugin.ts'
import { replayed } from '../replayed.ts'

/** `POST /v1/debits` and `POST /v1/credits`. */
export function operationApplyRoutes(app: App, services: WalletServices): void {
  for (const type of ['debit', 'credit'] as const) {
    const schema = {
      tags: ['wallet'],
      summary: type === 'debit' ? 'Take from an account' : 'Give to an account',
      headers: KeyHeader,
      body: OperationBody,
      response: { 200: OperationView, 201: OperationView, ...PROBLEM_ANSWERS },
    }
    app.post(`/v1/${type}s`, { schema, config: { role: 'operator' } }, async ({ body, headers, log }, reply) => {
      const said = await applyOperation(body, { key: headers['idempotency-key'], type }, { ...services, log })
      if ('problem' in said) return refuse(reply, said.problem)
      if (said.isReplayed) replayed(reply)
      return reply.code(said.isReplayed ? 200 : 201).send(said.body)
    })
  }
}
