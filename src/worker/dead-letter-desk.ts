/**
 * What operators do about settlements that stopped: the machine's `requeue` and `resolve`, applied to what is stored, in
 * one transaction that holds the letter. Of two operators at once the second finds the letter no longer open.
 */
import type { Clock } from '../clock.ts'
import type { RetryPolicy } from '../core/backoff.ts'
import { next, retryCount, type Settlement } from '../core/settlement.ts'
import type { Logger } from '../log.ts'
import type {
  AdminAction,
  AdminChange,
  Changed,
  ChangeInHand,
  DeadLetter,
  LetterFilter,
  LetterPosition,
  OperatorStore,
  Requeued,
  Resolution,
} from '../store/operator-store.ts'
import type { Store } from '../store/store.ts'
import { uuidV7 } from '../uuid.ts'
import { droppedHolds, freedByResolving } from './held-debits.ts'
import { planOf, type WalletTraits } from './plan.ts'
import type { WorkerPool } from './pool.ts'
import { reasonOf, statusOf } from './settler.ts'

export interface DeskOptions {
  readonly store: OperatorStore
  readonly trades: Pick<Store, 'trade'>
  readonly traits: WalletTraits
  readonly policy: RetryPolicy
  readonly clock: Clock
  readonly log: Logger
  readonly pool: Pick<WorkerPool, 'wake' | 'setPaused'>
}

/** Who asks, and how. */
export interface AdminRequest {
  readonly actor: string
  readonly reason: string | null
  readonly idempotencyKey: string | null
  /** What was asked for, as a text: a repetition under the key must match it. */
  readonly content: string
}

/**
 * Why nothing was changed. `unknown`: there is no such trade. `no-letter`: it has failed, and no letter was kept.
 * `in-hand`: a worker retries its rollback at this moment.
 */
export type DeskRefusal = 'unknown' | 'settled' | 'pending' | 'no-letter' | 'retrying' | 'resolved' | 'in-hand'

/** What a bulk retry took up. */
export interface BulkTaken {
  readonly id: string
  readonly atMs: number
  readonly count: number
}

export interface DeadLetterDesk {
  /** Puts one back to work: its rollback is completed, then it begins anew; or its fee is tried again. */
  retry<Answer>(
    tradeId: string,
    request: AdminRequest,
    answerOf: (letter: DeadLetter) => Answer,
  ): Promise<Changed<Answer, DeskRefusal>>
  /** The same for all open letters of a filter, at most `MOST_IN_BULK`; with a rate their times are spread. */
  retryAll<Answer>(
    filter: LetterFilter,
    perSecond: number | null,
    request: AdminRequest,
    answerOf: (taken: BulkTaken) => Answer,
  ): Promise<Changed<Answer, DeskRefusal>>
  /** A person has dealt with it: nothing more happens by itself, and the trade's status stays. */
  resolve<Answer>(
    tradeId: string,
    resolved: { readonly resolution: Resolution; readonly note: string },
    request: AdminRequest,
    answerOf: (letter: DeadLetter) => Answer,
  ): Promise<Changed<Answer, DeskRefusal>>
  /** Paused, no process claims or begins anything; what is under way ends, and trades are still taken. */
  setPaused<Answer>(isPaused: boolean, request: AdminRequest, answer: Answer): Promise<Changed<Answer, DeskRefusal>>
}

/** More stay open for the next call: this one is a transaction, and takes a few seconds. */
const MOST_IN_BULK = 25_000

const CHUNK = 5000

export function createDeadLetterDesk(options: DeskOptions): DeadLetterDesk {
  const { store, clock, pool } = options
  const changeOf = (
    action: AdminAction,
    request: AdminRequest,
    detail: Readonly<Record<string, unknown>> = {},
  ): AdminChange => {
    const atMs = clock.now()
    return { ...request, id: uuidV7(atMs), atMs, action, detail }
  }

  return {
    async retry(tradeId, request, answerOf) {
      const change = changeOf('retry', request)
      const changed = await store.change<ReturnType<typeof answerOf>, DeskRefusal>(change, async inHand => {
        const taken = await takeOpen(inHand, tradeId, options)
        if ('refusal' in taken) return taken
        const requeued = requeue(taken.letter, change.atMs, options)
        await inHand.requeue([requeued])
        return { answer: answerOf(retrying(taken.letter, requeued)), tradeIds: [tradeId] }
      })
      pool.wake()
      return changed
    },

    async retryAll(filter, perSecond, request, answerOf) {
      const change = changeOf('bulk-retry', request, { ...given(filter), per_second: perSecond })
      const changed = await store.change<ReturnType<typeof answerOf>, DeskRefusal>(change, async inHand => {
        const tradeIds = await requeueAll(inHand, filter, perSecond, change.atMs, options)
        return { answer: answerOf({ id: change.id, atMs: change.atMs, count: tradeIds.length }), tradeIds }
      })
      pool.wake()
      return changed
    },

    async resolve(tradeId, { resolution, note }, request, answerOf) {
      const change = changeOf('resolve', request, { resolution, note })
      return await store.change<ReturnType<typeof answerOf>, DeskRefusal>(change, async inHand => {
        const taken = await takeOpen(inHand, tradeId, options)
        if ('refusal' in taken) return taken
        const settlement = decided(taken.letter, 'resolve', change.atMs, options)
        const free = freedByResolving(taken.letter, options.traits, change.atMs)
        await inHand.resolve({ tradeId, settlement, resolution, note, free })
        const resolved: DeadLetter = {
          ...taken.letter,
          stored: { ...taken.letter.stored, settlement },
          status: 'resolved',
          resolution,
          note,
          resolvedBy: request.actor,
          resolvedAtMs: change.atMs,
        }
        return { answer: answerOf(resolved), tradeIds: [tradeId] }
      })
    },

    async setPaused(isPaused, request, answer) {
      const change = changeOf(isPaused ? 'pause' : 'resume', request)
      const changed = await store.change<typeof answer, DeskRefusal>(change, async inHand => {
        await inHand.setPaused(isPaused)
        return { answer, tradeIds: [] }
      })
      if (changed.outcome === 'done') pool.setPaused(isPaused)
      return changed
    },
  }
}

async function takeOpen(
  inHand: ChangeInHand,
  tradeId: string,
  { trades }: DeskOptions,
): Promise<{ readonly letter: DeadLetter } | { readonly refusal: DeskRefusal }> {
  const locked = await inHand.lock(tradeId)
  if (locked === null) return { refusal: withoutLetter(await trades.trade(tradeId)) }
  const { letter, isLeased } = locked
  if (letter.status === 'open') return isLeased ? { refusal: 'in-hand' } : { letter }
  if (letter.status === 'retrying') return { refusal: 'retrying' }
  return { refusal: letter.resolution === 'retried' ? 'settled' : 'resolved' }
}

function withoutLetter(stored: Awaited<ReturnType<Store['trade']>>): DeskRefusal {
  switch (stored?.status) {
    case undefined:
      return 'unknown'
    case 'SETTLED':
      return 'settled'
    case 'PENDING':
      return 'pending'
    case 'SETTLEMENT_FAILED':
      return 'no-letter'
  }
}

async function requeueAll(
  inHand: ChangeInHand,
  filter: LetterFilter,
  perSecond: number | null,
  nowMs: number,
  options: DeskOptions,
): Promise<readonly string[]> {
  const tradeIds: string[] = []
  let after: LetterPosition | null = null
  while (tradeIds.length < MOST_IN_BULK) {
    const letters = await inHand.lockOpen(filter, after, Math.min(CHUNK, MOST_IN_BULK - tradeIds.length))
    const last = letters.at(-1)
    if (last === undefined) break
    after = { firstFailedAtMs: last.firstFailedAtMs, tradeId: last.stored.trade.id }
    const requeued: Requeued[] = []
    for (const letter of letters) {
      const place = tradeIds.length + requeued.length
      const dueAtMs = perSecond === null ? nowMs : nowMs + Math.floor((place * 1000) / perSecond)
      const each = requeuedOrNull(letter, dueAtMs, options)
      if (each !== null) requeued.push(each)
    }
    await inHand.requeue(requeued)
    for (const { tradeId } of requeued) tradeIds.push(tradeId)
  }
  return tradeIds
}

/** Null: a bug of ours, which must not keep the others from being retried; its letter stays open. */
function requeuedOrNull(letter: DeadLetter, dueAtMs: number, options: DeskOptions): Requeued | null {
  try {
    return requeue(letter, dueAtMs, options)
  } catch (error) {
    options.log.error({ trade_id: letter.stored.trade.id, err: error }, "a dead letter can't be retried")
    return null
  }
}

function requeue(letter: DeadLetter, dueAtMs: number, options: DeskOptions): Requeued {
  const settlement = decided(letter, 'requeue', dueAtMs, options)
  const status = statusOf(settlement)
  return {
    tradeId: letter.stored.trade.id,
    settlement,
    status,
    retryCount: retryCount(settlement),
    failureReason: status === 'SETTLED' ? null : reasonOf(settlement.failure),
    dueAtMs,
    dropped: droppedHolds(letter, options.traits),
  }
}

/** What the machine makes of what is stored. */
function decided(
  { stored }: DeadLetter,
  type: 'requeue' | 'resolve',
  nowMs: number,
  { traits, policy }: DeskOptions,
): Settlement {
  const { trade, rail, legOrder, settlement } = stored
  if (settlement === null) throw new Error(`trade ${trade.id} has a dead letter and no settlement`)
  const { plan } = planOf(trade, rail, legOrder, traits)
  return next(settlement, { type }, nowMs, plan, policy).settlement
}

function retrying(letter: DeadLetter, { settlement, status, retryCount, failureReason }: Requeued): DeadLetter {
  return {
    ...letter,
    stored: { ...letter.stored, settlement, status, retryCount, failureReason },
    status: 'retrying',
  }
}

/** The part of a filter that says something, for the audit log. */
function given({ kinds, codes, statuses, rollbacks }: LetterFilter): Readonly<Record<string, unknown>> {
  const all = Object.entries({ kind: kinds, code: codes, status: statuses, rollback: rollbacks })
  return Object.fromEntries(all.filter(([, wanted]) => wanted.length > 0))
}
