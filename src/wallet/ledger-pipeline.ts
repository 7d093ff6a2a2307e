/**
 * How batches of calls go through the database without waiting for each other.
 *
 * Nearly all batches touch the same accounts (the fee account above all), so taken one after the other each would wait
 * for the one before to be committed, with Node.js idle while PostgreSQL works and the other way round. Instead a batch
 * is decided on the balances as they will be once the batches before it are committed; its entries are written at the
 * same time as theirs; and only the last step, moving the balances and committing, is taken in order.
 *
 * Nothing rests on the guess. An account's row counts its entries and says what is held, each batch says which count and
 * sum it was decided on, and a row that has others (another process was there, or a batch before this one failed) makes
 * the whole transaction void. Keys and new accounts meet at their primary keys in the same way. Such a batch is then
 * decided again under locks, in its place in the order. One that says anything of a hold is decided so from the start.
 *
 * A batch that waits for its turn holds the rows it has written. One before it that is decided again may want the same
 * rows (the next number of an account's entries), and would wait for it in the database while it waits here: neither of the
 * two could know. So with a batch whose guess did not hold, the batches that rest on it let go of what they wrote at once,
 * nothing more is guessed until all of them have ended, and no batch waits for its turn for long: another process may stand
 * in such a ring as well.
 */
import type { Clock } from '../clock.ts'
import { type Connection, codeOf, type Database, transaction, transactionOnce } from '../db.ts'
import { applyCalls } from './ledger.ts'
import { finishChanges, insertChanges } from './ledger-changes.ts'
import {
  type Account,
  AccountMap,
  type LedgerCall,
  type LedgerChanges,
  type LedgerOutcome,
  type OperationRow,
  StaleError,
  touchesHold,
} from './ledger-rows.ts'
import { keyOf, type LedgerState, readState, type StateOptions } from './ledger-state.ts'

export interface PipelineOptions extends StateOptions {
  readonly database: Database
  readonly remembersRefusals: boolean
  readonly clock: Clock
  /** The time of a batch; never the same twice. */
  nextMs(): number
}

export interface LedgerPipeline {
  /** Answers well-formed calls, in order, once they are durable. Batches take effect in the order of these calls. */
  readonly answer: (calls: readonly LedgerCall[]) => Promise<readonly LedgerOutcome[]>
}

/**
 * Batches decided under locks after one that was not valid, before guessing again: somebody else is at work. As many as
 * the first the first time, twice as many each time, and from the beginning once a guess has held.
 */
const CAUTIOUS_BATCHES = { first: 8, most: 1024 } as const
/** A guess never has to wait for a lock, unless another process is at work; then it is let go at once. */
const GUESS_LOCK_MS = 20
/** Batches whose keys are looked up first, after one that was used before. */
const WATCHFUL_BATCHES = 64
/** How long a batch that has written waits for those before it. */
const PATIENCE_MS = 500
/** Accounts kept in memory; all are let go when there are more, and read again as they are asked for. */
const MOST_ACCOUNTS = 200_000

interface Decision {
  readonly outcomes: readonly LedgerOutcome[]
  readonly changes: LedgerChanges
  readonly nowMs: number
}

/** Batches that rest on one another's guesses, until one of them did not hold. */
interface Chain {
  readonly broken: Promise<void>
  readonly break: () => void
  isBroken: boolean
}

/** A batch had no fault of its own, and has to be decided again. */
class BrokenChainError extends Error {}

type AheadState = LedgerState & { readonly keysAreNew: boolean }

export function createLedgerPipeline(options: PipelineOptions): LedgerPipeline {
  const { database, instruments, remembersRefusals } = options
  /** Accounts as they will be when all that is decided is committed. */
  const ahead = new AccountMap<Account>()
  /** How often they were let go: what was spared in a reading before that may be missing. */
  let clears = 0
  const keysUnderWay = new Set<string>()
  let lastDecided: Promise<void> = Promise.resolve()
  let lastEnded: Promise<void> = Promise.resolve()
  let chain = newChain()
  let cautious = 0
  let nextCautious: number = CAUTIOUS_BATCHES.first
  let watchful = 0

  async function answer(calls: readonly LedgerCall[]): Promise<readonly LedgerOutcome[]> {
    const decided = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<void>()
    const [beforeDecided, beforeEnded] = [lastDecided, lastEnded]
    lastDecided = decided.promise
    lastEnded = ended.promise
    const keys = calls.map(keyOf)
    try {
      const clearsBefore = clears
      const state = cautious > 0 || calls.some(touchesHold) ? null : await readAhead(calls)
      await beforeDecided
      if (state === null || clears !== clearsBefore || keys.some(key => keysUnderWay.has(key))) {
        await beforeEnded
        cautious = Math.max(cautious - 1, 0)
        return await answerLocked(calls)
      }
      const decision = decide(state, calls)
      if (decision === null) {
        await beforeEnded
        return await answerLocked(calls)
      }
      for (const key of keys) keysUnderWay.add(key)
      const ownChain = chain
      decided.resolve()
      try {
        await write(decision, beforeEnded, ownChain)
        nextCautious = CAUTIOUS_BATCHES.first
        return decision.outcomes
      } catch (error) {
        letGo()
        ownChain.break()
        if (chain === ownChain) chain = newChain()
        if (isTaken(error) || error instanceof BrokenChainError) pauseGuessing(1)
        else {
          pauseGuessing(nextCautious)
          nextCautious = Math.min(nextCautious * 2, CAUTIOUS_BATCHES.most)
        }
        if (!isInvalid(error)) throw error
        if (isTaken(error)) watchful = WATCHFUL_BATCHES
        await beforeEnded
        return await answerLocked(calls)
      } finally {
        for (const key of keys) keysUnderWay.delete(key)
      }
    } finally {
      // Whatever happened here, who comes next also waits for those before.
      decided.resolve(beforeDecided)
      ended.resolve(beforeEnded)
    }
  }

  /**
   * Keys are hardly ever used twice, so they are looked up only for a while after one that was. Null: the calls take back
   * what has to do with a hold.
   */
  async function readAhead(calls: readonly LedgerCall[]): Promise<AheadState | null> {
    const keysAreNew = watchful === 0 && calls.every(call => call.kind !== 'reversal')
    const isKnown = (userId: string, currency: string): boolean => ahead.get(userId, currency) !== undefined
    const state = await readState(database, options, calls, { isKnown, keysAreNew })
    if (watchful > 0)
      watchful = calls.some(call => state.operation(keyOf(call)) !== undefined) ? WATCHFUL_BATCHES : watchful - 1
    return calls.some(call => call.kind === 'reversal' && isOfHold(state.operation(call.key)))
      ? null
      : { ...state, keysAreNew }
  }

  function letGo(): void {
    ahead.clear()
    clears++
  }

  /** The next batches wait for all that are under way, and are decided under locks. */
  function pauseGuessing(batches: number): void {
    cautious = Math.max(cautious, batches)
  }

  /** Null where an answer rests on a key being new, and nothing that is written would find out that it is not. */
  function decide({ keysAreNew, ...state }: AheadState, calls: readonly LedgerCall[]): Decision | null {
    const account = (userId: string, currency: string): Account =>
      ahead.get(userId, currency) ?? state.account(userId, currency)
    const nowMs = options.nextMs()
    const decision = applyCalls({ ...state, account, remembersRefusals }, calls, nowMs)
    if (keysAreNew && !areWritten(calls, decision.changes)) return null
    if (ahead.size > MOST_ACCOUNTS) {
      letGo()
      pauseGuessing(1)
    }
    for (const { after } of decision.changes.accounts) ahead.set(after.userId, after.currency, after)
    return { ...decision, nowMs }
  }

  async function write({ changes, nowMs }: Decision, beforeEnded: Promise<void>, own: Chain): Promise<void> {
    const work = async (connection: Connection): Promise<void> => {
      await insertChanges(connection, instruments, changes, nowMs)
      await turnOf(beforeEnded, own)
      await finishChanges(connection, instruments, changes)
    }
    await transactionOnce(database, work, GUESS_LOCK_MS)
  }

  /** Resolves when all before it have ended; throws where that would take too long, or is in vain. */
  async function turnOf(beforeEnded: Promise<void>, own: Chain): Promise<void> {
    let isTurn = false
    const turn = beforeEnded.then(() => {
      isTurn = true
    })
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const cancel = options.clock.after(PATIENCE_MS, resolve)
    await Promise.race([turn, own.broken, late])
    cancel()
    if (!isTurn || own.isBroken) throw new BrokenChainError('a batch before this one did not hold')
  }

  async function answerLocked(calls: readonly LedgerCall[]): Promise<readonly LedgerOutcome[]> {
    letGo()
    const outcomes = await transaction(database, connection => decideLocked(connection, calls), RACES)
    // What the next ones have read meanwhile does not know of the holds.
    if (calls.some(touchesHold)) letGo()
    return outcomes
  }

  async function decideLocked(connection: Connection, calls: readonly LedgerCall[]): Promise<readonly LedgerOutcome[]> {
    const state = await readState(connection, options, calls)
    const nowMs = options.nextMs()
    const { outcomes, changes } = applyCalls({ ...state, remembersRefusals }, calls, nowMs)
    await insertChanges(connection, instruments, changes, nowMs)
    await finishChanges(connection, instruments, changes)
    return outcomes
  }

  return { answer }
}

function newChain(): Chain {
  const { promise, resolve } = Promise.withResolvers<void>()
  const chain = {
    broken: promise,
    isBroken: false,
    break: () => {
      chain.isBroken = true
      resolve()
    },
  }
  return chain
}

function isOfHold(operation: OperationRow | undefined): boolean {
  return operation?.kind === 'hold' || operation?.kind === 'release'
}

/** Refusals that are not remembered leave no row, and so meet none. */
function areWritten(calls: readonly LedgerCall[], { newOperations }: LedgerChanges): boolean {
  const written = new Set(newOperations.map(({ key }) => key))
  return calls.every(call => written.has(keyOf(call)))
}

/** Somebody else was first with a key or an account: under locks, again. */
const RACES: ReadonlySet<string> = new Set(['23505'])
/** What a guess that did not hold ends with. */
const INVALID: ReadonlySet<string> = new Set([...RACES, '40001', '40P01', '55P03'])

function isTaken(error: unknown): boolean {
  return RACES.has(codeOf(error))
}

function isInvalid(error: unknown): boolean {
  return error instanceof StaleError || error instanceof BrokenChainError || INVALID.has(codeOf(error))
}
