/**
 * Settlements a second: durable, on the built-in wallet in the same process, each leg an entry (and on the saga rail a call)
 * of its own; beside the same movements made the plain way, in the same run on the same server: ten connections, one
 * statement and one commit for each step of each trade.
 *
 *   npm run bench -- --trades 20000 --users 200 --naive-trades 1000
 */
import { hash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadConfig } from '../src/config.ts'
import { legsOf } from '../src/core/legs.ts'
import { formatDecimal } from '../src/core/money.ts'
import type { Rail } from '../src/core/settlement.ts'
import type { Trade } from '../src/core/trade.ts'
import type { Database } from '../src/db.ts'
import { createLogger } from '../src/log.ts'
import { createSettlement, openConfiguredDatabase } from '../src/main.ts'
import { createOutstanding } from '../src/replay/outstanding.ts'
import { type Figures, fundUsers, makeTrades, SEED, settleAll } from './workload.ts'

export interface BenchOptions {
  readonly trades: number
  readonly naiveTrades: number
  readonly users: number
}

export interface BenchResult {
  readonly bench: 'settle'
  readonly node: string
  readonly cpu: string
  readonly parameters: BenchOptions & { readonly seed: number }
  /** Of the ids of all trades: two runs with one hash did the same work. */
  readonly workload: string
  readonly atomic: Figures
  readonly saga: Figures
  readonly naive: { readonly per_second: number }
  readonly atomic_to_naive: number
  readonly saga_to_naive: number
}

const log = createLogger('warn')

/** Runs everything on an embedded PostgreSQL in a temporary folder. */
export async function bench(options: BenchOptions): Promise<BenchResult> {
  const naive = await inFolder(async folder => await runNaive(folder, options))
  const atomic = await inFolder(async folder => await runRail(folder, 'atomic', options))
  const saga = await inFolder(async folder => await runRail(folder, 'saga', options))
  return {
    bench: 'settle',
    node: process.version,
    cpu: `${cpus().length} × ${cpus()[0]?.model}`,
    parameters: { ...options, seed: SEED },
    workload: hash(
      'sha256',
      makeTrades(options)
        .map(trade => trade.id)
        .join('\n'),
    ).slice(0, 16),
    atomic,
    saga,
    naive: { per_second: Math.round(naive) },
    atomic_to_naive: Math.round((atomic.per_second / naive) * 10) / 10,
    saga_to_naive: Math.round((saga.per_second / naive) * 10) / 10,
  }
}

async function inFolder<Result>(work: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'legwork-bench-'))
  try {
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function configOf(folder: string, rail: Rail) {
  const flags = { data_dir: folder, 'settlement.rail': rail }
  return loadConfig({ path: null, env: {}, flags, cwd: folder }).config
}

async function runRail(folder: string, rail: Rail, options: BenchOptions): Promise<Figures> {
  const config = configOf(folder, rail)
  const trades = makeTrades(options)
  const opened = await openConfiguredDatabase(config, log)
  const outstanding = createOutstanding()
  const { wallet, pool, intake } = await createSettlement({
    config,
    opened,
    log,
    waitsForRoom: true,
    onEnd: ({ id }, { status }, latencyMs) => outstanding.ended(id, status, latencyMs),
  })
  try {
    await fundUsers(wallet, options.users)
    pool.start()
    return await settleAll(trades, intake, outstanding)
  } finally {
    await pool.stop(10_000)
    await opened.close()
  }
}

/** What a first version of such a service does: a commit for the trade, one for each leg, one for the status. */
async function runNaive(folder: string, options: BenchOptions): Promise<number> {
  const opened = await openConfiguredDatabase(configOf(folder, 'saga'), log)
  const { database } = opened
  const trades = makeTrades(options).slice(0, options.naiveTrades)
  try {
    await database.query(`
      create table naive_trades (id uuid primary key, status text not null, notional numeric not null);
      create table naive_accounts (user_id uuid, currency text, balance numeric not null, primary key (user_id, currency));
      create table naive_entries (key text primary key, user_id uuid, currency text, amount numeric not null)`)
    for (const userId of new Set(trades.flatMap(each => [each.buyerUserId, each.sellerUserId, each.feeUserId]))) {
      await database.query(`insert into naive_accounts values ($1, 'BTC', 1e9), ($1, 'USDT', 1e12)`, [userId])
    }
    const waiting = [...trades]
    const started = performance.now()
    const worker = async (): Promise<void> => {
      for (let trade = waiting.shift(); trade !== undefined; trade = waiting.shift())
        await settleNaively(database, trade)
    }
    await Promise.all(Array.from({ length: 10 }, worker))
    return trades.length / ((performance.now() - started) / 1000)
  } finally {
    await opened.close()
  }
}

async function settleNaively(database: Database, trade: Trade): Promise<void> {
  const { id, notional } = trade
  await database.query(`insert into naive_trades values ($1, 'PENDING', $2)`, [id, formatDecimal(notional, 8)])
  for (const { name, userId, currency, type, amount } of legsOf(trade, 'buyer-first')) {
    const change = formatDecimal(type === 'debit' ? -amount : amount, 8)
    const statement = `
      with moved as (
        update naive_accounts set balance = balance + $4 where user_id = $2 and currency = $3 and balance + $4 >= 0
        returning user_id
      )
      insert into naive_entries select $1, user_id, $3, $4 from moved`
    await database.query(statement, [`${id}:0:${name}`, userId, currency, change])
  }
  await database.query(`update naive_trades set status = 'SETTLED' where id = $1`, [id])
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      trades: { type: 'string', default: '20000' },
      users: { type: 'string', default: '200' },
      'naive-trades': { type: 'string', default: '1000' },
    },
  })
  const options = { trades: +values.trades, users: +values.users, naiveTrades: +values['naive-trades'] }
  process.stdout.write(`${JSON.stringify(await bench(options))}\n`)
}
