/** The fee leg: it never turns a settlement around. What is owed is retried on its own, and parked by itself. */
import type { Failure, Next, Settlement } from './settlement.ts'
import { type Answered, type Context, isUsedUp, learn, rest, retryAt, stepAt } from './steps.ts'

/** What follows from the answer to the call of the fee leg. */
export function feeAnswered(settlement: Settlement, event: Answered, context: Context): Next {
  const { plan, policy } = context
  const learnt: Settlement = { ...learn(settlement, event, plan), phase: 'settled' }
  const step = stepAt(learnt, event.step)
  const { answer } = event
  switch (answer.outcome) {
    case 'applied':
      return rest({ ...learnt, fee: 'none' }, null)
    case 'fault':
      return parkFee(learnt, step.lastError)
    case 'refused':
      if (step.state === 'refused' || isUsedUp(step, policy)) return parkFee(learnt, step.lastError)
      return rest({ ...learnt, fee: 'owed' }, retryAt(step, null, event.random, context))
    case 'deferred':
    case 'unanswered': {
      const mayNotRepeat = answer.outcome === 'unanswered' && !plan.repeatable
      if (mayNotRepeat || isUsedUp(step, policy)) return parkFee(learnt, step.lastError)
      return rest({ ...learnt, fee: 'owed' }, retryAt(step, answer.retryAfterMs, event.random, context))
    }
  }
}

/** The fee is owed for good as far as we are concerned: a person has to look. */
export function parkFee(settlement: Settlement, failure: Failure | null): Next {
  return rest({ ...settlement, fee: 'parked', failure }, null)
}
