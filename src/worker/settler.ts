import type { Clock, Random } from '../clock.ts'
import type { RetryPolicy } from '../core/backoff.ts'
import type { Leg } from '../core/legs.ts'
import {
  type Answer,
  type Effect,
  type Event,
  type Failure,
  type Next,
  newSettlement,
  next,
  type Plan,
  retryCount,
  type Settlement,
} from '../core/settlement.ts'
import type { Logger } from '../log.ts'
import type { Claimed, Letter, SettlementRecord, SettlementStatus } from '../store/store.ts'
import type { Outcome, Wallet } from '../wallet/wallet.ts'
import { operationOf, oppositeOf, planOf, settlementCallOf, type WalletTraits } from './plan.ts'

export interface SettlerOptions {
  readonly wallet: Wallet
  readonly traits: WalletTraits
  readonly policy: RetryPolicy
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly deadLettersEnabled: boolean
  /** Stores a record under its lease; false: the lease is somebody else's now. */
  record(record: SettlementRecord): Promise<boolean>
  /** Whether the lease it was claimed under still holds; asked before every call that could move money. */
  isHeld(claimed: Claimed): boolean
}

/** How a settlement left the worker's hands. `lost`: somebody else has it, or it could not be stored. */
export type Left =
  | {
      readonly how: 'rest'
      readonly status: SettlementStatus
      readonly settlement: Settlement
      readonly againAtMs: number | null
    }
  | { readonly how: 'waiting'; readonly untilMs: number }
  | { readonly how: 'lost' }

/** One settlement in hand. */
interface Work {
  readonly claimed: Claimed
  readonly plan: Plan
  readonly legs: readonly Leg[]
  readonly bug: Error | null
}

/**
 * Drives a claimed settlement until it rests, waits or is lost: asks the machine, performs its effects, feeds back what
 * came of them. Never throws for what a wallet does; a database that fails makes it `lost`, to be resumed later.
 */
export async function settle(claimed: Claimed, options: SettlerOptions): Promise<Left> {
  const work = prepare(claimed, options)
  let settlement = claimed.settlement ?? newSettlement(work.plan)
  let event: Event | null = firstEvent(claimed)
  while (event !== null) {
    const before = settlement
    const decided = decide(work, settlement, event, options)
    settlement = decided.settlement
    logChange(work, before, settlement, options)
    event = null
    for (const effect of decided.effects) {
      if (!options.isHeld(claimed)) return { how: 'lost' }
      switch (effect.type) {
        case 'save':
          if (!(await options.record(recordOf(work, settlement, effect, options)))) return { how: 'lost' }
          break
        case 'apply':
        case 'undo':
          event = await call(work, settlement, effect, options)
          break
        case 'wait':
        case 'finish':
          return await leave(work, settlement, effect, options)
      }
    }
  }
  throw new Error(`settlement of trade ${claimed.trade.id} neither went on nor came to rest`)
}

/** A plan that can't be made, or is not the one that was begun, is a bug of ours; `bug` parks it before anything moves. */
function prepare(claimed: Claimed, { traits }: SettlerOptions): Work {
  try {
    const planned = planOf(claimed.trade, claimed.rail, claimed.legOrder, traits)
    const begun = claimed.settlement?.steps.length ?? planned.plan.steps.length
    if (begun === planned.plan.steps.length) return { claimed, ...planned, bug: null }
    throw new Error(`${begun} steps are stored of a settlement of ${planned.plan.steps.length}`)
  } catch (error) {
    const plan: Plan = { rail: claimed.rail, steps: [], undo: 'reversal', repeatable: true }
    return { claimed, plan, legs: [], bug: error instanceof Error ? error : new Error(String(error)) }
  }
}

/** An assertion that fails is a bug: the settlement is parked for a person and never retried by itself. */
function decide(work: Work, settlement: Settlement, event: Event, { clock, policy }: SettlerOptions): Next {
  try {
    if (work.bug !== null) throw work.bug
    return next(settlement, event, clock.now(), work.plan, policy)
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    const failure: Failure = { step: 'settlement', code: 'INTERNAL', detail }
    return { settlement: parkedByBug(settlement, event, failure), effects: [{ type: 'finish', againAtMs: null }] }
  }
}

/** What is settled stays so, with its fee for a person; a call whose answer was not understood may have moved money. */
function parkedByBug(settlement: Settlement, event: Event, failure: Failure): Settlement {
  const steps = settlement.steps.map((step, index) =>
    event.type === 'answer' && event.step === index && step.state !== 'applied'
      ? { ...step, state: 'unanswered' as const, inDoubt: true, lastError: failure }
      : step,
  )
  if (settlement.phase === 'settled') return { ...settlement, steps, fee: 'parked', failure }
  return { ...settlement, steps, phase: 'parked', rollback: 'incomplete', held: true, failure }
}

function firstEvent({ settlement, resumed }: Claimed): Event {
  return settlement === null || resumed ? { type: 'begin', resumed } : { type: 'due' }
}

async function leave(
  work: Work,
  settlement: Settlement,
  effect: Effect & { type: 'wait' | 'finish' },
  options: SettlerOptions,
): Promise<Left> {
  const record = recordOf(work, settlement, effect, options)
  if (!(await options.record(record))) return { how: 'lost' }
  return effect.type === 'wait'
    ? { how: 'waiting', untilMs: effect.untilMs }
    : { how: 'rest', status: record.status, settlement, againAtMs: effect.againAtMs }
}

// Calls

async function call(
  work: Work,
  settlement: Settlement,
  effect: Effect & { type: 'apply' | 'undo' },
  { wallet, random, log }: SettlerOptions,
): Promise<Event> {
  let answer: Answer
  try {
    answer = await send(work, settlement, effect, wallet)
  } catch (error) {
    // A wallet client that throws has said nothing about the money: that is no answer. Its words may tell of the inside,
    // and what is stored with the trade is shown to those who traded.
    log.warn({ trade_id: work.claimed.trade.id, err: error }, 'the call to the wallet failed')
    const detail = 'the call to the wallet failed; the log says why'
    answer = { outcome: 'unanswered', code: 'CLIENT_FAILED', detail, reached: true, retryAfterMs: null }
  }
  return { type: 'answer', call: effect.type, step: effect.step, answer, random: random() }
}

function send(
  { claimed: { trade, rail }, legs }: Work,
  settlement: Settlement,
  effect: Effect & { type: 'apply' | 'undo' },
  wallet: Wallet,
): Promise<Outcome> {
  const leg = legs[effect.step]
  if (rail === 'atomic' || leg === undefined) {
    const whole = settlementCallOf(trade, legs, settlement)
    return effect.type === 'apply' ? wallet.settle(whole) : wallet.reverse(whole.key)
  }
  if (effect.type === 'undo' && effect.how === 'opposite') return wallet.apply(oppositeOf(trade, leg, settlement))
  const operation = operationOf(trade, leg, settlement)
  return effect.type === 'apply' ? wallet.apply(operation) : wallet.reverse(operation.key)
}

// What is stored

function recordOf(
  { claimed }: Work,
  settlement: Settlement,
  effect: Effect & { type: 'save' | 'wait' | 'finish' },
  { clock, deadLettersEnabled }: SettlerOptions,
): SettlementRecord {
  const status = statusOf(settlement)
  const atMs = clock.now()
  return {
    tradeId: claimed.trade.id,
    token: claimed.token,
    status,
    atMs,
    retryCount: retryCount(settlement),
    failureReason: status === 'SETTLED' ? null : reasonOf(settlement.failure),
    settlement: isDerivable(settlement) && claimed.settlement?.phase !== 'settled' ? null : settlement,
    dueAtMs: effect.type === 'wait' ? effect.untilMs : effect.type === 'finish' ? effect.againAtMs : null,
    keepsLease: effect.type === 'save',
    isEnded: settlement.phase === 'settled' && settlement.fee === 'none',
    letter: effect.type === 'finish' && deadLettersEnabled ? letterOf(settlement) : null,
  }
}

/** The trade's public status: FAILED only once the work has stopped (http-api.md, "Trades of another matching engine"). */
export function statusOf(settlement: Settlement): SettlementStatus {
  switch (settlement.phase) {
    case 'forward':
    case 'backward':
      return 'PENDING'
    case 'settled':
      return 'SETTLED'
    case 'failed':
    case 'parked':
      return 'SETTLEMENT_FAILED'
  }
}

/** Everything went well at the first attempt: the state follows from the trade, and is not stored. */
function isDerivable(settlement: Settlement): boolean {
  return (
    settlement.phase === 'settled' &&
    settlement.epoch === 0 &&
    settlement.feeEpoch === 0 &&
    settlement.fee === 'none' &&
    settlement.steps.every(step => step.state === 'applied' && step.attempts === 1)
  )
}

function letterOf(settlement: Settlement): Letter | 'close' | null {
  const { phase, rollback, failure, steps, fee, epoch, feeEpoch } = settlement
  const attempts = Math.max(0, ...steps.map(step => step.attempts))
  const said = { code: failure?.code ?? 'UNKNOWN', lastError: reasonOf(failure) ?? 'unknown', attempts }
  if (phase === 'settled') {
    if (fee === 'parked') return { kind: 'fee', ...said, rollback: 'not_needed' }
    return epoch > 0 || feeEpoch > 0 || failure !== null ? 'close' : null
  }
  if (phase !== 'failed' && phase !== 'parked') return null
  return { kind: 'settlement', ...said, rollback: rollback === 'running' ? 'incomplete' : rollback }
}

/** What a failure is told as. */
export function reasonOf(failure: Failure | null): string | null {
  return failure === null ? null : `${failure.code} at ${failure.step}: ${failure.detail}`
}

// What a person sees

function logChange(work: Work, before: Settlement, after: Settlement, { log }: SettlerOptions): void {
  if (before === after) return
  const { trade } = work.claimed
  for (const [index, step] of after.steps.entries()) {
    const was = before.steps[index]
    if (was === undefined || was === step || before.epoch !== after.epoch) continue
    const leg = work.plan.steps[index]
    if (step.lastError !== null && step.lastError !== was.lastError && !isSameWait(before, after, index)) {
      const { code, detail } = step.lastError
      // Who sold what he has not: with order holds it can't happen (W-3).
      const isMismatch = leg === 'seller-debit' && code === 'INSUFFICIENT_BALANCE'
      const said = { trade_id: trade.id, leg, attempt: step.attempts, state: step.state, code }
      log.warn(said, isMismatch ? `balance mismatch: ${detail}` : detail)
    }
    if (step.state === 'reversed' && was.state !== 'reversed') log.info({ trade_id: trade.id, leg }, 'leg undone')
  }
  if (before.phase === after.phase && before.fee === after.fee) return
  const said = {
    trade_id: trade.id,
    buyer_user_id: trade.buyerUserId,
    seller_user_id: trade.sellerUserId,
    symbol: trade.symbol,
    code: after.failure?.code,
    error: reasonOf(after.failure),
    rollback: after.rollback,
    legs: Object.fromEntries(after.steps.map((step, index) => [work.plan.steps[index], step.state])),
  }
  if (after.phase === 'backward') log.warn(said, 'settlement turns back')
  else if (after.phase === 'failed') log.error(said, 'settlement failed')
  else if (after.phase === 'parked') log.error(said, 'settlement failed, its rollback is incomplete')
  else if (after.fee === 'parked') log.error(said, 'fee not collected')
  else if (after.fee === 'owed') log.warn(said, 'fee owed')
}

/** A wallet that is away is waited for, for as long as it takes: where nothing was counted and the reason is the old one. */
function isSameWait(before: Settlement, after: Settlement, index: number): boolean {
  const [was, is] = [before.steps[index], after.steps[index]]
  const isCounted = was?.attempts !== is?.attempts || was?.refusals !== is?.refusals
  const isUndoCounted = before.undoAttempts !== after.undoAttempts || after.phase === 'parked'
  return !isCounted && !isUndoCounted && was?.lastError?.code === is?.lastError?.code
}
