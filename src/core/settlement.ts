/**
 * The settlement machine: what happens to one trade after each thing that can happen to it.
 *
 * `next` is a pure function of (settlement, event, now): no I/O, no clock, no randomness. Whoever drives it performs the
 * effects in order and feeds back what came of them. After a crash it is begun again from what was stored last: the keys
 * of all calls follow from the trade, so a call that may have been made is simply made again. Only what can't be derived
 * is stored: a turn backward, a wait, a new epoch, the end (`save`, `wait`, `finish`).
 *
 * Phases: `forward` (legs are applied in order) → `settled`, or → `backward` (legs that may have been applied are undone,
 * newest first) → `failed` (nothing is left of it) or `parked` (the rollback is incomplete and goes on slowly). The fee
 * never turns a settlement: it is owed, retried on its own, and parked by itself. docs/state-machine.md shows the table.
 *
 * Whoever holds the lease is authoritative; a process that lost it finds that its next `save`, `wait` or `finish`
 * changes nothing. Until then its calls are repeats of calls under the same keys, or, where the wallet keeps reversals,
 * meet the reversal of a leg that may have been sent.
 */
import { backoffMs, type RetryPolicy } from './backoff.ts'
import { feeAnswered } from './fee-leg.ts'
import type { LegName } from './legs.ts'
import {
  asksFirst,
  beginAnew,
  hold,
  inquiryAnswered,
  neverSentAfter,
  noAnswer,
  takeBack,
  turn,
  undoAnswered,
} from './rollback.ts'
import {
  type Answered,
  type Context,
  FRESH,
  failureOf,
  isUsedUp,
  learn,
  rest,
  retryAt,
  stepAt,
  wait,
  withStep,
} from './steps.ts'

export { newSettlement } from './steps.ts'

export type Rail = 'atomic' | 'saga'
/** What a call is made for: a leg on the saga rail, the whole settlement on the atomic one. */
export type StepName = LegName | 'settlement'

/** What never changes about a settlement while an epoch lasts. */
export interface Plan {
  readonly rail: Rail
  /** In the order they are applied; `fee`, if any, is last. Empty: nothing moves. */
  readonly steps: readonly StepName[]
  /** By reversal of the key where the wallet keeps reversals, else by the opposite operation under a key of its own. */
  readonly undo: 'reversal' | 'opposite'
  /** Whether the wallet recognises a repeated key; if not, no call is ever made twice. */
  readonly repeatable: boolean
}

export interface Failure {
  readonly step: StepName
  /** The wallet's own, or the client's word for what came instead of one (TIMEOUT, …); it is shown, and decides nothing. */
  readonly code: string
  readonly detail: string
}

/** What is known of one step in this epoch. `inDoubt`: somebody may have sent it, and no answer is known. */
export interface Step {
  readonly state: 'waiting' | 'applied' | 'refused' | 'unanswered' | 'reversed'
  readonly inDoubt: boolean
  /** Calls going forward that count: those the wallet took or refused to take; none while it could not be reached at all. */
  readonly attempts: number
  /** Refusals in a row while in doubt; without reversals one alone is not believed. */
  readonly refusals: number
  /** The opposite operation was sent (recorded only where no call may be repeated). */
  readonly undoSent: boolean
  readonly lastError: Failure | null
}

export type Phase = 'forward' | 'backward' | 'settled' | 'failed' | 'parked'
export type Rollback = 'not_needed' | 'running' | 'complete' | 'incomplete'
/** Of a settled trade's fee leg: `owed` is retried on its own, `parked` waits for a person. */
export type FeeState = 'none' | 'owed' | 'parked'

export interface Settlement {
  readonly phase: Phase
  /** How many times it was begun anew after a complete rollback. */
  readonly epoch: number
  /** The fee leg's own epoch: as `epoch`, and one more for each time it is tried again after a refusal. */
  readonly feeEpoch: number
  readonly steps: readonly Step[]
  readonly rollback: Rollback
  readonly fee: FeeState
  /** Calls made for the undo that is under way. */
  readonly undoAttempts: number
  /** A new epoch begins as soon as the rollback is complete. */
  readonly requeued: boolean
  /** Nothing more happens by itself: a key moved other money, or a call that may not be repeated got no answer. */
  readonly held: boolean
  /** Why it turned, or why its fee was parked; it stays when the fee is collected after all, so that the letter can close. */
  readonly failure: Failure | null
}

/** What is known after a call (the wallet port's outcomes, without what they carry for others). */
export type Answer =
  | { readonly outcome: 'applied' }
  | { readonly outcome: 'refused' | 'fault'; readonly code: string; readonly detail: string }
  | {
      readonly outcome: 'deferred' | 'unanswered'
      readonly code: string
      readonly detail: string
      /** False when the wallet could not be reached at all: that uses up no attempt. */
      readonly reached: boolean
      readonly retryAfterMs: number | null
    }

export type Event =
  /** Work begins; `resumed`: another process held the lease and may have gone further than what was stored. */
  | { readonly type: 'begin'; readonly resumed: boolean }
  /** A wait is over. */
  | { readonly type: 'due' }
  /** A call came back; `random` (0 to below 1) spreads the wait that may follow. */
  | {
      readonly type: 'answer'
      readonly call: 'apply' | 'undo'
      readonly step: number
      readonly answer: Answer
      readonly random: number
    }
  /** An operator retries a dead letter. */
  | { readonly type: 'requeue' }
  /** An operator has dealt with it elsewhere: nothing more happens by itself. */
  | { readonly type: 'resolve' }

export type Effect =
  /** Store the settlement, under the lease, before anything that follows. */
  | { readonly type: 'save' }
  | { readonly type: 'apply'; readonly step: number }
  | { readonly type: 'undo'; readonly step: number; readonly how: 'reversal' | 'opposite' }
  /** Store it, give the lease back, go on at `untilMs` with `due`. */
  | { readonly type: 'wait'; readonly untilMs: number }
  /** Store it as at rest in its phase; `againAtMs`: it goes on by itself then. */
  | { readonly type: 'finish'; readonly againAtMs: number | null }

export interface Next {
  readonly settlement: Settlement
  readonly effects: readonly Effect[]
}

/** The key of a step's call, the same in every process and after every crash (wallet-protocol.md, "Keys"). */
export function keyOf(tradeId: string, settlement: Settlement, step: StepName): string {
  if (step === 'settlement') return `${tradeId}:${settlement.epoch}`
  return `${tradeId}:${step === 'fee' ? settlement.feeEpoch : settlement.epoch}:${step}`
}

/** Retries of the step that took the most, in this epoch. */
export function retryCount(settlement: Settlement): number {
  return settlement.steps.reduce((most, step) => Math.max(most, step.attempts - 1), 0)
}

/** What follows from an event. Throws only for an event that can't happen in this phase: a bug of the caller. */
export function next(settlement: Settlement, event: Event, now: number, plan: Plan, policy: RetryPolicy): Next {
  const context: Context = { plan, policy, now }
  switch (event.type) {
    case 'begin':
      return proceed(event.resumed ? doubtAll(settlement, plan) : settlement, context)
    case 'due':
      return proceed(settlement, context)
    case 'answer':
      return answered(settlement, event, context)
    case 'requeue':
      return requeue(settlement, context)
    case 'resolve':
      return resolve(settlement)
  }
}

/**
 * A process that is gone (or asleep) may have sent any leg, an owed fee too; where calls are recorded first, the record
 * is exact. Going backward nothing new is doubted: the record of the turn names what may have been sent.
 */
function doubtAll(settlement: Settlement, plan: Plan): Settlement {
  const mayHaveSent = settlement.phase === 'forward' || settlement.phase === 'settled'
  if (!mayHaveSent || !plan.repeatable) return settlement
  const steps = settlement.steps.map(step => (step.state === 'waiting' ? { ...step, inDoubt: true } : step))
  return { ...settlement, steps }
}

function proceed(settlement: Settlement, context: Context): Next {
  switch (settlement.phase) {
    case 'forward':
      return advance(settlement, context)
    case 'backward':
    case 'parked':
      return takeBack(settlement, context)
    case 'settled':
      return settlement.fee === 'owed'
        ? applyStep(settlement, settlement.steps.length - 1, context)
        : { settlement, effects: [{ type: 'finish', againAtMs: null }] }
    case 'failed':
      return { settlement, effects: [{ type: 'finish', againAtMs: null }] }
  }
}

// Forward

function advance(settlement: Settlement, context: Context): Next {
  const index = settlement.steps.findIndex(step => step.state !== 'applied')
  if (index === -1) return rest({ ...settlement, phase: 'settled' }, null)
  return applyStep(settlement, index, context)
}

function applyStep(settlement: Settlement, index: number, { plan }: Context): Next {
  if (plan.repeatable) return { settlement, effects: [{ type: 'apply', step: index }] }
  const step = stepAt(settlement, index)
  if (step.inDoubt) return hold(settlement, plan, index, step.lastError ?? noAnswer(plan, index))
  const recorded = withStep(settlement, index, { state: 'unanswered', inDoubt: true })
  return { settlement: recorded, effects: [{ type: 'save' }, { type: 'apply', step: index }] }
}

function answered(settlement: Settlement, event: Answered, context: Context): Next {
  if (!isCalled(settlement, event.call, context.plan)) {
    throw impossible(settlement, `an answer to ${event.call} step ${event.step}`)
  }
  if (event.call === 'undo') return undoAnswered(settlement, event, context)
  if (settlement.phase === 'backward' || settlement.phase === 'parked')
    return inquiryAnswered(settlement, event, context)
  const isFee = context.plan.steps[event.step] === 'fee'
  return isFee ? feeAnswered(settlement, event, context) : forwardAnswered(settlement, event, context)
}

/** Whether such a call is ever made in this phase; what answers another one is mistaken for something else. */
function isCalled(settlement: Settlement, call: Answered['call'], plan: Plan): boolean {
  switch (settlement.phase) {
    case 'forward':
      return call === 'apply'
    case 'settled':
      return call === 'apply' && settlement.fee === 'owed'
    case 'backward':
    case 'parked':
      return call === (asksFirst(plan) && settlement.steps.some(step => step.inDoubt) ? 'apply' : 'undo')
    case 'failed':
      return false
  }
}

function forwardAnswered(settlement: Settlement, event: Answered, context: Context): Next {
  const { plan, policy, now } = context
  const learnt = learn(settlement, event, plan)
  const step = stepAt(learnt, event.step)
  const { answer } = event
  switch (answer.outcome) {
    case 'applied':
      return advance(learnt, context)
    case 'fault':
      return hold(learnt, plan, event.step, failureOf(plan, event.step, answer))
    case 'refused':
      if (step.state === 'refused') return turn(neverSentAfter(learnt, event.step), event.step, null, context)
      // Not believed, and a reversal ends the doubt; or no retry is left to ask again: the way back asks, from the beginning.
      if (plan.undo === 'reversal' || isUsedUp(step, policy)) {
        return turn(withStep(learnt, event.step, { refusals: 0 }), event.step, null, context)
      }
      return wait(learnt, now + backoffMs(policy, policy.retryBackoffMs, step.refusals, event.random, null))
    case 'deferred':
    case 'unanswered':
      if (answer.outcome === 'unanswered' && !plan.repeatable) return hold(learnt, plan, event.step, step.lastError)
      if (isUsedUp(step, policy)) return turn(learnt, event.step, answer.retryAfterMs, context)
      return wait(learnt, retryAt(step, answer.retryAfterMs, event.random, context))
  }
}

// Operators

function requeue(settlement: Settlement, context: Context): Next {
  const { plan, now } = context
  if (settlement.phase === 'failed') return beginAnew(settlement, context)
  if (settlement.phase === 'parked') {
    const again: Settlement = { ...settlement, phase: 'backward', rollback: 'running', requeued: true, held: false }
    return wait({ ...again, undoAttempts: 0 }, now)
  }
  if (settlement.fee !== 'parked') throw impossible(settlement, 'a requeue')
  const index = plan.steps.length - 1
  const { state } = stepAt(settlement, index)
  // A refused key is spent; one in doubt must be repeated as it is, since it may have moved the money.
  const feeEpoch = state === 'refused' ? settlement.feeEpoch + 1 : settlement.feeEpoch
  const fee = state === 'refused' ? FRESH : { ...stepAt(settlement, index), attempts: 0 }
  return rest({ ...withStep(settlement, index, fee), feeEpoch, fee: 'owed' }, now)
}

function resolve(settlement: Settlement): Next {
  if (settlement.phase === 'parked') return rest({ ...settlement, held: true }, null)
  // What still has work before it would be left where nobody goes on with it.
  if (settlement.phase !== 'failed' && settlement.fee !== 'parked') throw impossible(settlement, 'a resolve')
  return rest(settlement, null)
}

function impossible({ phase, fee }: Settlement, what: string): Error {
  return new Error(`${what} can't come to a settlement that is ${phase} (fee ${fee})`)
}
