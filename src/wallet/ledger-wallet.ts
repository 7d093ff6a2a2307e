/**
 * The ledger on PostgreSQL: the built-in wallet. What is decided is ledger.ts; ledger-pipeline.ts takes it through the
 * database. Calls that arrive while others are under way share a transaction, and an answer is given only when it is durable.
 */
import { type Batcher, createBatcher } from '../batcher.ts'
import type { Clock } from '../clock.ts'
import type { Instruments } from '../core/instruments.ts'
import { type Database, isAway } from '../db.ts'
import type { Logger } from '../log.ts'
import { refuseRequest } from './ledger.ts'
import { selectBalance, selectKeyRecord, selectTotals } from './ledger-books.ts'
import { selectEntries } from './ledger-entries.ts'
import { readEntries } from './ledger-export.ts'
import { createLedgerPipeline } from './ledger-pipeline.ts'
import { type LedgerCall, type LedgerOutcome, touchesHold } from './ledger-rows.ts'
import { NO_HOLDS, withoutHolds } from './protocol.ts'
import type { BookedWallet, HoldState, OperationDone, Outcome, ReversalDone, WalletLevel } from './wallet.ts'

export interface LedgerOptions {
  readonly database: Database
  /** May grow while the wallet runs. */
  readonly instruments: Instruments
  readonly clock: Clock
  /** The one account that may go below zero, for rebates. */
  readonly feeUserId: string
  readonly log: Logger
  /** What it offers; all of it by default. A ledger of level `basic` forgets refusals, as such wallets do. */
  readonly level?: WalletLevel
  /** False: no holds either; they are offered from level `reversals` on. */
  readonly holds?: boolean
}

/** The most that share a transaction, and how many are under way at once. */
const CALLS_PER_TRANSACTION = 400
const TRANSACTIONS_AT_ONCE = 3

/** The most operations or settlements that one call of the protocol may carry. */
const MOST_IN_CALL = 1000

export function createLedgerWallet(options: LedgerOptions): BookedWallet {
  const { database, instruments, level = 'settlements' } = options
  const holds = (options.holds ?? true) && level !== 'basic'
  let lastMs = 0
  /** Later than any answer before, so that an account's and a trade's entries stand in the order they were made. */
  const nextMs = (): number => {
    lastMs = Math.max(options.clock.now(), lastMs + 1)
    return lastMs
  }
  const pipeline = createLedgerPipeline({ ...options, remembersRefusals: level !== 'basic', nextMs })
  const calls: Batcher<LedgerCall, LedgerOutcome> = createBatcher(
    batch => answerAlone(batch, pipeline.answer, options.log),
    CALLS_PER_TRANSACTION,
    { count: TRANSACTIONS_AT_ONCE, beside: CALLS_PER_TRANSACTION / 2 },
  )
  const answer = async (call: LedgerCall): Promise<LedgerOutcome> => {
    if (!holds && touchesHold(call)) {
      if (call.kind === 'hold' || call.kind === 'release') throw withoutHolds()
      return { outcome: 'refused', ...NO_HOLDS }
    }
    return refuseRequest(call) ?? (await calls.add(call))
  }
  return {
    capabilities: async () => ({
      level,
      holds,
      batchMax: MOST_IN_CALL,
      settlementsMax: MOST_IN_CALL,
    }),
    // The kinds of call and their answers belong together: ledger.ts answers an operation as an operation.
    apply: operation => answer({ kind: 'operation', operation }) as Promise<Outcome<OperationDone>>,
    settle: settlement => answer({ kind: 'settlement', settlement }) as Promise<Outcome<null>>,
    reverse: (key, only) => answer({ kind: 'reversal', key, only }) as Promise<Outcome<ReversalDone>>,
    hold: hold => answer({ kind: 'hold', hold }) as Promise<Outcome<HoldState>>,
    release: release => answer({ kind: 'release', release }) as Promise<Outcome<HoldState>>,
    balance: (userId, currency) => selectBalance(database, instruments, userId, currency),
    keyRecord: key => selectKeyRecord(database, instruments, key),
    entries: query => selectEntries(database, instruments, query),
    readEntries: range => readEntries(database, instruments, range),
    totals: () => selectTotals(database, instruments),
  }
}

/** What a call brought about must cost only that call: where the database is there, each is answered by itself. */
async function answerAlone(
  calls: readonly LedgerCall[],
  answer: (calls: readonly LedgerCall[]) => Promise<readonly LedgerOutcome[]>,
  log: Logger,
): Promise<readonly LedgerOutcome[]> {
  try {
    return await answer(calls)
  } catch (error) {
    if (isAway(error)) throw error
    if (calls.length === 1) return [unanswered(error, log)]
    const outcomes: LedgerOutcome[] = []
    for (const call of calls) outcomes.push(...(await answerAlone([call], answer, log)))
    return outcomes
  }
}

/** The database's words may tell of the inside, and the detail of an outcome goes far: they are for the log alone. */
function unanswered(error: unknown, log: Logger): LedgerOutcome {
  log.error({ err: error }, 'the ledger could not answer a call')
  return {
    outcome: 'unanswered',
    code: 'INTERNAL',
    detail: 'the ledger could not answer',
    reached: true,
    retryAfterMs: null,
  }
}
