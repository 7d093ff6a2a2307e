import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { replayed } from '../../said.ts'
import { applyOperation, callingOf } from '../calls.ts'
import { KeyHeader, OperationBody, OperationView } from '../contract.ts'
import type { WalletServices } from '../plugin.ts'

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
    app.post(`/v1/${type}s`, { schema, config: { role: 'operator' } }, async (request, reply) => {
      const identity = { key: request.headers['idempotency-key'], type }
      const said = await applyOperation(request.body, identity, callingOf(services, request))
      if ('problem' in said) return refuse(reply, said.problem)
      if (said.isReplayed) replayed(reply)
      return reply.code(said.isReplayed ? 200 : 201).send(said.body)
    })
  }
}
