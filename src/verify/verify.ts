/**
 * The checker behind `legwork verify`: recomputes from the tables what should be in them. It shares nothing with the code
 * that settles, neither rules nor SQL, so that an error there can't hide here; all it takes from elsewhere is the database.
 *
 * One transaction reads one instant, so a running system is checked as well as one at rest. Work that is under way at
 * that instant shows as a lease or as a call without an answer, and what it leaves open is not held against it.
 */
import { type Connection, type Database, transaction } from '../db.ts'
import { ACCOUNT_BREAKS } from './accounts.ts'
import { type Break, findBreaks, MAX_EXAMPLES } from './breaks.ts'
import { type CurrencyTotals, readCurrencies } from './currencies.ts'
import { HOLD_BREAKS } from './holds.ts'
import { LEG_BREAKS } from './legs.ts'
import { OPERATION_BREAKS } from './operations.ts'
import { ORDER_HOLD_BREAKS } from './order-holds.ts'
import { ORDER_BREAKS } from './orders.ts'
import { LETTER_BREAKS, STATUS_BREAKS } from './statuses.ts'

export interface VerifyOptions {
  /** False where settlements that fail are configured to leave no dead letter; letters are not looked at then. */
  readonly deadLettersEnabled?: boolean
  /** True: trades are settled on a wallet elsewhere, whose books are not in the database; only our own tables are checked. */
  readonly isWalletElsewhere?: boolean
}

/** What was found at one instant. */
export interface VerifyReport {
  readonly trades: number
  readonly settled: number
  readonly failed: number
  readonly pending: number
  /**
   * In every currency accounts + clearing = deposits − withdrawals, and clearing is what is known to be half done; null: the
   * books are elsewhere.
   */
  readonly conserved: boolean | null
  /** How many there are in all. */
  readonly breaks: number
  /** The first 100, always in the same order: currencies, accounts, holds, operations, trades, orders, statuses. */
  readonly examples: readonly Break[]
  /** In order of the currencies' codes, every one that is known. */
  readonly totals: readonly CurrencyTotals[]
}

/** Checks everything there is in the database. Changes nothing. */
export async function verifyBooks(database: Database, options: VerifyOptions = {}): Promise<VerifyReport> {
  const { deadLettersEnabled = true, isWalletElsewhere = false } = options
  return await transaction(database, async connection => {
    await connection.query(SETTINGS)
    const counts = await countTrades(connection)
    const currencies = isWalletElsewhere ? { breaks: [], totals: [] } : await readCurrencies(connection)
    const examples = [...currencies.breaks]
    let breaks = examples.length
    const checks = isWalletElsewhere ? WITHOUT_BOOKS : CHECKS
    for (const check of [...checks, ...(deadLettersEnabled ? [LETTER_BREAKS] : [])]) {
      const found = await findBreaks(connection, check)
      breaks += found.count
      examples.push(...found.examples)
    }
    return {
      ...counts,
      conserved: isWalletElsewhere ? null : currencies.breaks.length === 0,
      breaks,
      examples: examples.slice(0, MAX_EXAMPLES),
      totals: currencies.totals,
    }
  })
}

const CHECKS = [
  ACCOUNT_BREAKS,
  HOLD_BREAKS,
  OPERATION_BREAKS,
  LEG_BREAKS,
  ORDER_BREAKS,
  ORDER_HOLD_BREAKS,
  STATUS_BREAKS,
]
/** Those that look at nothing of the built-in wallet's. */
const WITHOUT_BOOKS = [ORDER_BREAKS, STATUS_BREAKS]

/**
 * The tables may have been filled a moment ago and never analyzed. Every query here is about whole tables, so scans and
 * hashes are right whatever the planner believes, and a wild guess of its must not start the compiler.
 */
const SETTINGS = `
  set transaction isolation level repeatable read, read only;
  set local work_mem = '16MB';
  set local enable_seqscan = on;
  set local enable_hashjoin = on;
  set local enable_mergejoin = on;
  set local plan_cache_mode = auto;
  set local enable_nestloop = off;
  set local jit = off`

async function countTrades(
  connection: Connection,
): Promise<Pick<VerifyReport, 'trades' | 'settled' | 'failed' | 'pending'>> {
  const { rows } = await connection.query<Readonly<Record<'trades' | 'settled' | 'failed' | 'pending', bigint>>>(`
    select count(*) as trades,
      count(*) filter (where settlement_status = 'SETTLED') as settled,
      count(*) filter (where settlement_status = 'SETTLEMENT_FAILED') as failed,
      count(*) filter (where settlement_status = 'PENDING') as pending
    from trades`)
  const { trades = 0n, settled = 0n, failed = 0n, pending = 0n } = rows[0] ?? {}
  return { trades: Number(trades), settled: Number(settled), failed: Number(failed), pending: Number(pending) }
}
