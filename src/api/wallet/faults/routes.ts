/** The script of faults over HTTP: `GET` and `PUT /v1/faults`, and `GET /v1/faults/log` (docs/faults.md). */
import { Type } from 'typebox'
import type { AppliedFault, FaultBook } from '../../../wallet/faults/fault-book.ts'
import type { App } from '../../app.ts'
import { CLOSED, type Fault, orNull, PROBLEM_ANSWERS } from '../../contract.ts'
import { formatInstant } from '../../instant.ts'
import { problemOf, refuse } from '../../problem.ts'

/** The script in force, to be looked at and replaced. */
export interface FaultControl {
  book(): FaultBook | null
  /** As it was given. */
  source(): readonly unknown[]
  /** Puts a script in force, counting from zero; none of it where there is a fault in it. */
  replace(rules: readonly unknown[]): readonly Fault[]
}

const Rules = Type.Array(Type.Unknown())
const ScriptBody = Type.Object({ rules: Rules }, CLOSED)
const ScriptView = Type.Object({ rules: Rules, calls: Type.Integer(), applied: Type.Integer() })
const LogView = Type.Object({
  applied: Type.Integer({ description: 'Of all that were; the list has the last 10,000, oldest first.' }),
  faults: Type.Array(
    Type.Object({
      at: Type.String({ format: 'date-time' }),
      rule: Type.Integer({ description: 'Its place in the script, from 0.' }),
      call: Type.String(),
      key: orNull(Type.String()),
      trade_id: orNull(Type.String()),
      leg: orNull(Type.String()),
      attempt: Type.Integer(),
      fault: Type.String(),
      arrived: Type.Boolean({ description: 'Of a late call: it has had its effect now.' }),
    }),
  ),
})

export function faultRoutes(app: App, control: FaultControl): void {
  const view = () => {
    const { calls, applied } = control.book()?.counts() ?? { calls: 0, applied: 0 }
    return { rules: [...control.source()], calls, applied }
  }
  const config = { role: 'operator' } as const
  const tags = ['faults']
  app.get(
    '/v1/faults',
    {
      schema: { tags, summary: 'The script of faults in force', response: { 200: ScriptView, ...PROBLEM_ANSWERS } },
      config,
    },
    async () => view(),
  )
  app.put(
    '/v1/faults',
    {
      schema: {
        tags,
        summary: 'Put a script of faults in force; without rules nothing goes wrong',
        body: ScriptBody,
        response: { 200: ScriptView, ...PROBLEM_ANSWERS },
      },
      config,
    },
    async ({ body: { rules } }, reply) => {
      const errors = control.replace(rules)
      const [first] = errors
      if (first === undefined) return view()
      return refuse(reply, problemOf('INVALID_REQUEST', `${first.pointer}: ${first.detail}`, { errors }))
    },
  )
  app.get(
    '/v1/faults/log',
    {
      schema: { tags, summary: 'The faults that were applied', response: { 200: LogView, ...PROBLEM_ANSWERS } },
      config,
    },
    async () => {
      const book = control.book()
      return { applied: book?.counts().applied ?? 0, faults: (book?.log() ?? []).map(viewFault) }
    },
  )
}

function viewFault({ atMs, rule, call, attempt, action, hasArrived }: AppliedFault) {
  return {
    at: formatInstant(atMs),
    rule,
    call: call.call,
    key: call.key === '' ? null : call.key,
    trade_id: call.tradeId,
    leg: call.leg,
    attempt,
    fault: action.fault,
    arrived: hasArrived,
  }
}
