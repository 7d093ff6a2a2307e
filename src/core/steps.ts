/**
 * What is known of the steps of a settlement, and what an answer to the call of one teaches about it; shared by the ways
 * forward (settlement.ts), back (rollback.ts) and of the fee (fee-leg.ts).
 */
import { backoffMs, type RetryPolicy } from './backoff.ts'
import type { Event, Failure, Next, Plan, Settlement, Step } from './settlement.ts'

/** An answer to a call. */
export type Answered = Event & { readonly type: 'answer' }

/** The rules of one decision, so that each function takes only what changes. */
export interface Context {
  readonly plan: Plan
  readonly policy: RetryPolicy
  readonly now: number
}

/** A step nobody has called. */
export const FRESH: Step = {
  state: 'waiting',
  inDoubt: false,
  attempts: 0,
  refusals: 0,
  undoSent: false,
  lastError: null,
}

/** A settlement nobody has acted on. */
export function newSettlement(plan: Plan, epoch = 0): Settlement {
  return {
    phase: 'forward',
    epoch,
    feeEpoch: epoch,
    steps: plan.steps.map(() => FRESH),
    rollback: 'not_needed',
    fee: 'none',
    undoAttempts: 0,
    requeued: false,
    held: false,
    failure: null,
  }
}

/** The step as it is known after the answer to a call for it. */
export function learn(settlement: Settlement, { step: index, answer }: Answered, plan: Plan): Settlement {
  const step = stepAt(settlement, index)
  const attempts = step.attempts + 1
  if (answer.outcome === 'applied') {
    return withStep(settlement, index, { state: 'applied', inDoubt: false, attempts, refusals: 0 })
  }
  const lastError = failureOf(plan, index, answer)
  switch (answer.outcome) {
    case 'refused': {
      const refusals = step.refusals + 1
      const isBelieved = !step.inDoubt || !plan.repeatable || isForGood(answer.code, refusals, plan)
      if (!isBelieved) return withStep(settlement, index, { state: 'unanswered', attempts, refusals, lastError })
      return withStep(settlement, index, { state: 'refused', inDoubt: false, attempts, refusals, lastError })
    }
    case 'fault':
      return withStep(settlement, index, { state: 'unanswered', inDoubt: true, attempts, lastError })
    case 'deferred': {
      const counted = answer.reached ? attempts : step.attempts
      // A call that was not taken needs no record any more; doubt that was there before stays.
      const before = plan.repeatable ? {} : ({ state: 'waiting', inDoubt: false } as const)
      return withStep(settlement, index, { ...before, attempts: counted, lastError })
    }
    case 'unanswered':
      return withStep(settlement, index, {
        state: 'unanswered',
        inDoubt: true,
        attempts: answer.reached ? attempts : step.attempts,
        refusals: 0,
        lastError,
      })
  }
}

/**
 * Whether no call under the key that is still on its way can be applied any more. Where keys are spent by refusals, by those
 * alone: what was wrong with a request says nothing of the one before it. Elsewhere one more refusal, later, is asked for.
 */
function isForGood(code: string, refusals: number, { undo }: Plan): boolean {
  return undo === 'reversal' ? SPENDS_KEY.has(code) : refusals > 1
}

/** Remembered by the wallet (wallet-protocol.md, "Common to all calls"). */
const SPENDS_KEY: ReadonlySet<string> = new Set(['INSUFFICIENT_BALANCE', 'UNKNOWN_CURRENCY', 'REVERSED'])

/** The attempt and all of its retries are spent. */
export function isUsedUp(step: Step, policy: RetryPolicy): boolean {
  return step.attempts > policy.retryMaxAttempts
}

/** When the call of a step is made again. */
export function retryAt(step: Step, retryAfterMs: number | null, random: number, { policy, now }: Context): number {
  return now + backoffMs(policy, policy.retryBackoffMs, step.attempts, random, retryAfterMs)
}

/** Whether going backward has anything to undo here. */
export function mayBeApplied(step: Step): boolean {
  return step.state === 'applied' || step.inDoubt
}

/** Throws where there is no such step: a bug of the caller. */
export function stepAt(settlement: Settlement, index: number): Step {
  const step = settlement.steps[index]
  if (step === undefined) throw new Error(`no step ${index} in a settlement of ${settlement.steps.length}`)
  return step
}

/** The settlement with one step changed. */
export function withStep(settlement: Settlement, index: number, change: Partial<Step>): Settlement {
  return { ...settlement, steps: settlement.steps.with(index, { ...stepAt(settlement, index), ...change }) }
}

/** What a person is shown of an answer. */
export function failureOf(
  plan: Plan,
  index: number,
  answer: { readonly code: string; readonly detail: string },
): Failure {
  return { step: plan.steps[index] ?? 'settlement', code: answer.code, detail: answer.detail }
}

/** Stored, the lease given back, and gone on with at a time. */
export function wait(settlement: Settlement, untilMs: number): Next {
  return { settlement, effects: [{ type: 'wait', untilMs }] }
}

/** Stored as at rest; `againAtMs`: it goes on by itself then. */
export function rest(settlement: Settlement, againAtMs: number | null): Next {
  return { settlement, effects: [{ type: 'finish', againAtMs }] }
}
