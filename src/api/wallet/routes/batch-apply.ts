import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { atMost } from '../../too-many.ts'
import { applyItem, callingOf } from '../calls.ts'
import { BatchBody, BatchBodyDescribed, BatchResults } from '../contract.ts'
import { checkWith } from '../items.ts'
import type { WalletServices } from '../plugin.ts'

/** `POST /v1/batch`: many operations in a call, in order; each stands alone. */
export function batchApplyRoute(app: App, services: WalletServices, max: number): void {
  const schema = {
    tags: ['wallet'],
    summary: 'Many operations in one call',
    body: BatchBody,
    response: { 200: BatchResults, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'operator', describedBody: BatchBodyDescribed } as const
  app.post('/v1/batch', { schema, config, preValidation: atMost('operations', max) }, async request => {
    const calling = callingOf(services, request)
    const check = checkWith(item => request.compileValidationSchema(item))
    // Each is handed to the wallet at once, in the order of the call; only then is any waited for.
    return { results: await Promise.all(request.body.operations.map(item => applyItem(item, calling, check))) }
  })
}
