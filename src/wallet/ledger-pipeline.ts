/**
 * How batches of calls go through the database without waiting for each other.
 *
 * Nearly all batches touch the same accounts (the fee account above all), so taken one after the other each would wait
 * for the one before to be committed, with Node.js idle while PostgreSQL works and the other way round. Instead a batch
 * is decided on the balances as they will be once the batches before it are committed; its entries are written at the
 * same time as theirs; and only the last step, moving the balances and committing, is taken in order.
 *
 * Nothing rests on the guess. An account's row counts its entries and says what is held, a hold's row what remains of it;
 * each batch says which counts and remainders it was decided on, and a row that has others (another process was there, or
 * a batch before this one failed) makes the whole transaction void. Keys and new accounts meet at their primary keys in the
 * same way, and what was not there is looked for once more. Such a batch is then decided again under locks, in its place in
 * the order.
 *
 * A batch that waits for its turn holds the rows it has written. One before it that is decided again may want the same
 * rows (the next number of an account's entries), and would wait for it in the database while it waits here: neither of the
 * two could know. So with a batch whose guess did not hold, the batches that rest on it let go of what they wrote at once,
 * nothing more is guessed until all of them have ended, and no batch waits for its turn for long: another process may stand
 * in such a ring as well.
 */
import type { Clock } from '../clock.ts'
import { type Connection, codeOf, type Database, transaction, writeInSteps } from '../db.ts'
import { runStatements, UNEXPECTED_COUNT, UNIQUE_VIOLATION } from '../statements.ts'
import { applyCalls } from './ledger.ts'
import { expectAbsent, finishChanges, insertChanges } from './ledger-changes.ts'
import {
  type Account,
  AccountMap,
  type HoldRow,
  type LedgerCall,
  type LedgerChanges,
  type LedgerOutcome,
  StaleError,
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
/** Accounts and holds kept in memory; all are let go when there are more, and read again as they are asked for. */
const MOST_KNOWN = { accounts: 200_000, holds: 100_000 } as const

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
const NOT_HELD = 'a batch before this one did not hold'

/** The batches before one. */
interface Before {
  readonly ended: Promise<void>
  haveEnded: boolean
}

type AheadState = LedgerState & { readonly keysAreNew: boolean }

export function createLedgerPipeline(options: PipelineOptions): LedgerPipeline {
  const { database, instruments, remembersRefusals } = options
  /** Accounts and holds as they will be when all that is decided is committed. */
  const ahead = { accounts: new AccountMap<Account>(), holds: new Map<string, HoldRow>() }
  /** How often they were let go: what was spared in a reading before that may be missing. */
  let clears = 0
  /** Whose calls have each key, the last batch of them; also while one is undecided that may have read before they were done. */
  const keysUnderWay = new Map<string, symbol>()
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
    const before: Before = { ended: beforeEnded, haveEnded: false }
    void beforeEnded.then(() => {
      before.haveEnded = true
    })
    const keys = calls.map(keyOf)
    const own = Symbol('a batch')
    try {
      const clearsBefore = clears
      const state = cautious > 0 ? null : await readAhead(calls)
      await beforeDecided
      const isRepeated = keys.some(key => keysUnderWay.has(key))
      for (const key of keys) keysUnderWay.set(key, own)
      if (state === null || clears !== clearsBefore || isRepeated) {
        await beforeEnded
        if (cautious > 0) {
          cautious--
          // Somebody else is at work: what is known may be so no more.
          letGo()
        }
        return await answerLocked(calls)
      }
      const decision = decide(state, calls)
      if (decision === null) {
        await beforeEnded
        return await answerLocked(calls)
      }
      const ownChain = chain
      decided.resolve()
      try {
        await write(decision, before, ownChain)
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
      }
    } finally {
      // Whatever happened here, who comes next also waits for those before.
      decided.resolve(beforeDecided)
      ended.resolve(beforeEnded)
      void lastDecided.then(() => {
        for (const key of keys) if (keysUnderWay.get(key) === own) keysUnderWay.delete(key)
      })
    }
  }

  /** Keys are hardly ever used twice, so they are looked up only for a while after one that was. */
  async function readAhead(calls: readonly LedgerCall[]): Promise<AheadState> {
    const keysAreNew = watchful === 0 && calls.every(call => call.kind !== 'reversal')
    const isKnown = (userId: string, currency: string): boolean => ahead.accounts.get(userId, currency) !== undefined
    const knownHold = (key: string): HoldRow | undefined => ahead.holds.get(key)
    const state = await readState(database, options, calls, { isKnown, knownHold, keysAreNew })
    if (watchful > 0)
      watchful = calls.some(call => state.operation(keyOf(call)) !== undefined) ? WATCHFUL_BATCHES : watchful - 1
    return { ...state, keysAreNew }
  }

  function letGo(): void {
    ahead.accounts.clear()
    ahead.holds.clear()
    clears++
  }

  /** What the next batches are decided on, whatever they have read meanwhile. */
  function keep({ accounts, holds }: LedgerChanges): void {
    if (ahead.accounts.size > MOST_KNOWN.accounts || ahead.holds.size > MOST_KNOWN.holds) {
      letGo()
      pauseGuessing(1)
    }
    // One that is not there yet, another process may open; it is looked for each time.
    for (const { after } of accounts) if (after.isOpen) ahead.accounts.set(after.userId, after.currency, after)
    for (const { after } of holds) ahead.holds.set(after.key, after)
  }

  /** The next batches wait for all that are under way, and are decided under locks. */
  function pauseGuessing(batches: number): void {
    cautious = Math.max(cautious, batches)
  }

  /**
   * Null where an answer rests on what a key has done, or on its being new, and nothing that is written would find out that
   * it is not so; and where what was read is older than what is known.
   */
  function decide({ keysAreNew, ...state }: AheadState, calls: readonly LedgerCall[]): Decision | null {
    const account = (userId: string, currency: string): Account =>
      ahead.accounts.get(userId, currency) ?? state.account(userId, currency)
    const hold = (key: string): HoldRow | undefined => ahead.holds.get(key) ?? state.hold(key)
    const nowMs = options.nextMs()
    const decision = unlessStale(() => applyCalls({ ...state, account, hold, remembersRefusals }, calls, nowMs))
    if (decision === null || decision.outcomes.some((outcome, at) => isRefusedReversal(outcome, calls[at]))) return null
    if (keysAreNew && !areWritten(calls, decision.changes)) return null
    keep(decision.changes)
    return { ...decision, nowMs }
  }

  async function write({ changes, nowMs }: Decision, before: Before, own: Chain): Promise<void> {
    if (own.isBroken) throw new BrokenChainError(NOT_HELD)
    const ended = [...expectAbsent(changes), ...finishChanges(instruments, changes)]
    await writeInSteps(database, insertChanges(instruments, changes, nowMs), ended, {
      lockTimeoutMs: GUESS_LOCK_MS,
      between: before.haveEnded ? null : () => turnOf(before.ended, own),
    })
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
    if (!isTurn || own.isBroken) throw new BrokenChainError(NOT_HELD)
  }

  async function answerLocked(calls: readonly LedgerCall[]): Promise<readonly LedgerOutcome[]> {
    try {
      const { outcomes, changes } = await transaction(database, connection => decideLocked(connection, calls), RACES)
      keep(changes)
      return outcomes
    } catch (error) {
      // Perhaps it was committed, and only the answer was lost.
      letGo()
      throw error
    }
  }

  async function decideLocked(connection: Connection, calls: readonly LedgerCall[]): Promise<Decision> {
    const state = await readState(connection, options, calls)
    const nowMs = options.nextMs()
    const { outcomes, changes } = applyCalls({ ...state, remembersRefusals }, calls, nowMs)
    await runStatements(connection, [
      ...insertChanges(instruments, changes, nowMs),
      ...finishChanges(instruments, changes),
    ])
    return { outcomes, changes, nowMs }
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

/** It rests on the account, and on the key's not being taken back, which were not read at one moment. */
function isRefusedReversal({ outcome }: LedgerOutcome, call: LedgerCall | undefined): boolean {
  return outcome === 'refused' && call?.kind === 'reversal'
}

function unlessStale<Result>(work: () => Result): Result | null {
  try {
    return work()
  } catch (error) {
    if (error instanceof StaleError) return null
    throw error
  }
}

/** Refusals that are not remembered leave no row, and so meet none. */
function areWritten(calls: readonly LedgerCall[], { newOperations }: LedgerChanges): boolean {
  const written = new Set(newOperations.map(({ key }) => key))
  return calls.every(call => written.has(keyOf(call)))
}

/** Somebody else was first with a key or an account: under locks, again. */
const RACES: ReadonlySet<string> = new Set([UNIQUE_VIOLATION])
/** What a guess that did not hold ends with. */
const INVALID: ReadonlySet<string> = new Set([...RACES, UNEXPECTED_COUNT, '40001', '40P01', '55P03'])

function isTaken(error: unknown): boolean {
  return RACES.has(codeOf(error))
}

function isInvalid(error: unknown): boolean {
  return error instanceof BrokenChainError || INVALID.has(codeOf(error))
}
