/**
 * The ledger on PostgreSQL: the built-in wallet. What is decided is ledger.ts; here are the lock and the log.
 *
 * Calls that arrive while a transaction is under way share the next one. A transaction locks the keys that are known,
 * then the accounts in sorted order, decides in memory, writes set-wise and commits once: an answer is given only when
 * it is durable. Two processes that bring the same new key, or open the same account, meet at a primary key; the one
 * that comes second decides again with what the first has written.
 */
import { type Batcher, createBatcher } from '../batcher.ts'
import type { Clock } from '../clock.ts'
import type { Instruments } from '../core/instruments.ts'
import { type Connection, type Database, isAway, transaction } from '../db.ts'
import type { Logger } from '../log.ts'
import {
  type Account,
  accountKey,
  applyCalls,
  type LedgerCall,
  type LedgerOutcome,
  type LedgerView,
  type OperationRow,
  refuseRequest,
} from './ledger.ts'
import { selectBalance, selectEntries, selectKeyRecord, selectTotals } from './ledger-books.ts'
import { lockAccounts, lockOperations, selectLegsMoved, writeChanges } from './ledger-rows.ts'
import type { BookedWallet, OperationDone, Outcome, ReversalDone, WalletLevel } from './wallet.ts'

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
}

/** The most that share a transaction: half of what the workers have under way, so that the others go on meanwhile. */
const CALLS_PER_TRANSACTION = 500

/** The most operations or settlements that one call of the protocol may carry. */
const MOST_IN_CALL = 1000

export function createLedgerWallet(options: LedgerOptions): BookedWallet {
  const { database, instruments, level = 'settlements' } = options
  let lastMs = 0
  /** Later than any answer before, so that an account's and a trade's entries stand in the order they were made. */
  const nextMs = (): number => {
    lastMs = Math.max(options.clock.now(), lastMs + 1)
    return lastMs
  }
  // One transaction at a time: nearly all batches touch the fee account, and would only wait for each other.
  const calls: Batcher<LedgerCall, LedgerOutcome> = createBatcher(
    batch => answerAlone(batch, part => answerCalls(options, part, nextMs()), options.log),
    CALLS_PER_TRANSACTION,
  )
  const answer = async (call: LedgerCall): Promise<LedgerOutcome> => refuseRequest(call) ?? (await calls.add(call))
  return {
    capabilities: async () => ({
      level,
      batchMax: MOST_IN_CALL,
      settlementsMax: MOST_IN_CALL,
    }),
    // The kinds of call and their answers belong together: ledger.ts answers an operation as an operation.
    apply: operation => answer({ kind: 'operation', operation }) as Promise<Outcome<OperationDone>>,
    settle: settlement => answer({ kind: 'settlement', settlement }) as Promise<Outcome<null>>,
    reverse: key => answer({ kind: 'reversal', key }) as Promise<Outcome<ReversalDone>>,
    balance: (userId, currency) => selectBalance(database, instruments, userId, currency),
    keyRecord: key => selectKeyRecord(database, instruments, key),
    entries: query => selectEntries(database, instruments, query),
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
  return { outcome: 'unanswered', code: 'INTERNAL', detail: 'the ledger could not answer', retryAfterMs: null }
}

async function answerCalls(
  options: LedgerOptions,
  calls: readonly LedgerCall[],
  nowMs: number,
): Promise<readonly LedgerOutcome[]> {
  const { database, instruments, level } = options
  return await transaction(
    database,
    async connection => {
      const view = await lock(connection, options, calls)
      const { outcomes, changes } = applyCalls({ ...view, remembersRefusals: level !== 'basic' }, calls, nowMs)
      await writeChanges(connection, instruments, changes, nowMs)
      return outcomes
    },
    RACES,
  )
}

/** Somebody else was first with a key or an account. */
const RACES: ReadonlySet<string> = new Set(['23505'])

async function lock(
  connection: Connection,
  { instruments, feeUserId }: LedgerOptions,
  calls: readonly LedgerCall[],
): Promise<Omit<LedgerView, 'remembersRefusals'>> {
  const operations = await lockOperations(connection, instruments, calls.map(keyOf))
  const reversed = calls.flatMap(call => (call.kind === 'reversal' ? (operations.get(call.key) ?? []) : []))
  const legs = await selectLegsMoved(connection, instruments, reversed)
  const wanted = new Map<string, Account>()
  const want = (userId: string, currency: string): void => {
    if (!instruments.assets.has(currency)) return
    const key = accountKey(userId, currency)
    if (!wanted.has(key)) wanted.set(key, emptyAccount(userId, currency, feeUserId))
  }
  for (const call of calls) {
    if (call.kind === 'operation') want(call.operation.userId, call.operation.currency)
    if (call.kind === 'settlement') for (const leg of call.settlement.legs) want(leg.userId, leg.currency)
  }
  for (const { userId, currency } of reversed) if (userId !== null && currency !== null) want(userId, currency)
  for (const moved of legs.values()) for (const leg of moved) want(leg.userId, leg.currency)
  const accounts = await lockAccounts(connection, instruments, [...wanted.values()])
  return {
    assets: instruments.assets,
    account: (userId, currency) => {
      const key = accountKey(userId, currency)
      return accounts.get(key) ?? wanted.get(key) ?? emptyAccount(userId, currency, feeUserId)
    },
    operation: (key): OperationRow | undefined => operations.get(key),
    legsMoved: key => legs.get(key) ?? [],
  }
}

function keyOf(call: LedgerCall): string {
  switch (call.kind) {
    case 'operation':
      return call.operation.key
    case 'settlement':
      return call.settlement.key
    case 'reversal':
      return call.key
  }
}

function emptyAccount(userId: string, currency: string, feeUserId: string): Account {
  return { userId, currency, balance: 0n, entryCount: 0n, mayOverdraw: userId === feeUserId, isOpen: false }
}
