import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { adminRequestOf, answerChange } from '../changing.ts'
import { ChangeHeaders, ReasonBody, SwitchAnswer } from '../contract.ts'
import type { AdminServices } from '../plugin.ts'

/**
 * `POST /v1/admin/settlement/pause` and `/resume`. It is kept in the database: every process obeys, this one at once and
 * the others within a poll, also after a restart. Trades are still taken.
 */
export function settlementSwitchRoutes(app: App, { desk }: AdminServices): void {
  for (const paused of [true, false]) {
    const schema = {
      tags: ['operation'],
      summary: paused ? 'Claim nothing and begin nothing' : 'Go on settling',
      headers: ChangeHeaders,
      body: ReasonBody,
      response: { 200: SwitchAnswer, ...PROBLEM_ANSWERS },
    }
    const path = `/v1/admin/settlement/${paused ? 'pause' : 'resume'}`
    app.post(path, { schema, config: { role: 'operator' } }, async (request, reply) => {
      const asked = adminRequestOf(request, request.body?.reason)
      const changed = await desk.setPaused(paused, asked, { settlement: { paused } })
      return answerChange(reply, changed, { status: 200, code: 'INTERNAL' })
    })
  }
}
