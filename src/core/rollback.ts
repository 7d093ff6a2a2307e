/** The way back: legs that may have been applied are undone, newest first, until nothing is left or a person is needed. */
import { askedMs, backoffMs } from './backoff.ts'
import { parkFee } from './fee-leg.ts'
import type { Answer, Failure, Next, Plan, Settlement } from './settlement.ts'
import {
  type Answered,
  type Context,
  failureOf,
  learn,
  mayBeApplied,
  newSettlement,
  rest,
  stepAt,
  wait,
  withStep,
} from './steps.ts'

const KEY_REUSED = 'IDEMPOTENCY_KEY_REUSED'

/** The decision to go backward is stored before the first undo; from then on no leg of this epoch is applied. */
export function turn(settlement: Settlement, index: number, retryAfterMs: number | null, context: Context): Next {
  const failure = stepAt(settlement, index).lastError
  if (!settlement.steps.some(mayBeApplied)) return rest({ ...settlement, phase: 'failed', failure }, null)
  const turned: Settlement = { ...settlement, phase: 'backward', rollback: 'running', undoAttempts: 0, failure }
  // The wallet that asked for a pause is the one the undo would go to.
  if (askedMs(retryAfterMs) > 0) return wait(turned, context.now + askedMs(retryAfterMs))
  return savedFirst(takeBack(turned, context))
}

/** What was decided or learnt is stored before the call that follows from it. */
function savedFirst({ settlement, effects }: Next): Next {
  const isStored = effects[0]?.type !== 'apply' && effects[0]?.type !== 'undo'
  return { settlement, effects: isStored ? effects : [{ type: 'save' }, ...effects] }
}

/** Nobody sends a leg before the one in front of it is applied, so one that is refused was the last that was sent. */
export function neverSentAfter(settlement: Settlement, index: number): Settlement {
  const steps = settlement.steps.map((step, at) =>
    at > index && step.state === 'waiting' ? { ...step, inDoubt: false } : step,
  )
  return { ...settlement, steps }
}

/** The next call on the way back, or its end. */
export function takeBack(settlement: Settlement, context: Context): Next {
  const { plan } = context
  if (settlement.held) return rest(settlement, null)
  if (asksFirst(plan)) {
    // A leg in doubt is repeated under its key until the answer is known. Oldest first: the repeat may be what applies
    // it, and a later leg applied before an earlier one pays out what nobody has paid in.
    const doubted = settlement.steps.findIndex(step => step.inDoubt)
    if (doubted !== -1) return { settlement, effects: [{ type: 'apply', step: doubted }] }
  }
  const index = settlement.steps.findLastIndex(mayBeApplied)
  if (index === -1) return rolledBack(settlement, context)
  const { state, lastError } = stepAt(settlement, index)
  // Under its key somebody else's money has moved, which is not ours to take back, whoever asks for it.
  if (state === 'unanswered' && lastError?.code === KEY_REUSED) return hold(settlement, plan, index, lastError)
  if (plan.undo === 'reversal') return { settlement, effects: [{ type: 'undo', step: index, how: 'reversal' }] }
  if (plan.repeatable) return { settlement, effects: [{ type: 'undo', step: index, how: 'opposite' }] }
  const step = stepAt(settlement, index)
  if (step.undoSent || step.inDoubt) return hold(settlement, plan, index, step.lastError ?? noAnswer(plan, index))
  return {
    settlement: withStep(settlement, index, { undoSent: true }),
    effects: [{ type: 'save' }, { type: 'undo', step: index, how: 'opposite' }],
  }
}

/** Without reversals what became of a leg in doubt must be known before it is undone. */
export function asksFirst(plan: Plan): boolean {
  return plan.undo === 'opposite' && plan.repeatable
}

/** What follows from the answer to an undo. */
export function undoAnswered(settlement: Settlement, event: Answered, context: Context): Next {
  const { plan } = context
  const { answer } = event
  if (answer.outcome === 'applied') {
    const undone = withStep(settlement, event.step, { state: 'reversed', inDoubt: false, undoSent: false })
    return takeBack({ ...undone, undoAttempts: 0 }, context)
  }
  const learnt = withStep(settlement, event.step, { lastError: failureOf(plan, event.step, answer) })
  switch (answer.outcome) {
    case 'fault':
      return hold(learnt, plan, event.step, failureOf(plan, event.step, answer))
    case 'refused':
      // Who kept the goods is not repaid: the legs before this one stay until this one is undone.
      return park(withStep(learnt, event.step, { undoSent: false }), null, context)
    case 'deferred':
    case 'unanswered':
      if (answer.outcome === 'deferred') {
        return retryUndo(withStep(learnt, event.step, { undoSent: false }), event, answer, context)
      }
      if (!plan.repeatable) return hold(learnt, plan, event.step, failureOf(plan, event.step, answer))
      return retryUndo(learnt, event, answer, context)
  }
}

/** What follows from the answer to a leg in doubt that was repeated to learn what became of it. */
export function inquiryAnswered(settlement: Settlement, event: Answered, context: Context): Next {
  const { plan, policy, now } = context
  // To ask what became of a leg is no attempt at it: settlement_retry_count stays what going forward took.
  const { attempts } = stepAt(settlement, event.step)
  const learnt = withStep(learn(settlement, event, plan), event.step, { attempts })
  const { answer } = event
  switch (answer.outcome) {
    case 'applied':
      return takeBack({ ...learnt, undoAttempts: 0 }, context)
    case 'fault':
      return hold(learnt, plan, event.step, failureOf(plan, event.step, answer))
    case 'refused':
      if (stepAt(learnt, event.step).state === 'refused') {
        // Asked again after a crash, with earlier legs undone, it could be applied: a pay-out of what nobody has paid in.
        return savedFirst(takeBack({ ...neverSentAfter(learnt, event.step), undoAttempts: 0 }, context))
      }
      return wait(learnt, now + backoffMs(policy, policy.undoBackoffMs, 1, event.random, null))
    case 'deferred':
    case 'unanswered':
      return retryUndo(learnt, event, answer, context)
  }
}

function retryUndo(
  settlement: Settlement,
  event: Answered,
  answer: Answer & { outcome: 'deferred' | 'unanswered' },
  context: Context,
): Next {
  const { policy, now } = context
  const undoAttempts = settlement.undoAttempts + (answer.reached ? 1 : 0)
  const counted: Settlement = { ...settlement, undoAttempts }
  if (settlement.phase === 'parked' || undoAttempts >= policy.undoMaxAttempts) {
    return park(counted, answer.retryAfterMs, context)
  }
  const retry = Math.max(undoAttempts, 1)
  return wait(counted, now + backoffMs(policy, policy.undoBackoffMs, retry, event.random, answer.retryAfterMs))
}

/** The rollback is incomplete: visible to a person, and retried slowly until it is complete or resolved. */
function park(settlement: Settlement, retryAfterMs: number | null, { policy, now }: Context): Next {
  const parked: Settlement = {
    ...settlement,
    phase: 'parked',
    rollback: 'incomplete',
    requeued: false,
    undoAttempts: 0,
  }
  return rest(parked, now + Math.max(policy.undoSlowRetryMs, askedMs(retryAfterMs)))
}

/** Stops where it is: what may not be repeated got no answer, or a key has moved other money. */
export function hold(settlement: Settlement, plan: Plan, index: number, failure: Failure | null): Next {
  if (plan.steps[index] === 'fee' && (settlement.phase === 'forward' || settlement.phase === 'settled')) {
    return parkFee({ ...settlement, phase: 'settled' }, failure)
  }
  return rest(
    {
      ...settlement,
      phase: 'parked',
      rollback: 'incomplete',
      requeued: false,
      held: true,
      failure: settlement.failure ?? failure,
    },
    null,
  )
}

function rolledBack(settlement: Settlement, context: Context): Next {
  if (settlement.requeued) return beginAnew(settlement, context)
  return rest({ ...settlement, phase: 'failed', rollback: 'complete' }, null)
}

/** A new epoch, with fresh keys: only after a complete rollback. */
export function beginAnew(settlement: Settlement, { plan, now }: Context): Next {
  return wait(newSettlement(plan, settlement.epoch + 1), now)
}

/** For a call that was recorded before it was sent, when nothing else is known of it. */
export function noAnswer(plan: Plan, index: number): Failure {
  return failureOf(plan, index, { code: 'UNANSWERED', detail: 'the call was recorded, and its answer never came' })
}
