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
import { feeOf } from '../src/core/fees.ts'
import { legsOf } from '../src/core/legs.ts'
import { formatDecimal } from '../src/core/money.ts'
import type { Rail } from '../src/core/settlement.ts'
import { acceptTrade, type Trade, withFees } from '../src/core/trade.ts'
import type { Database } from '../src/db.ts'
import { createLogger } from '../src/log.ts'
import { createSettlement, openConfiguredDatabase } from '../src/main.ts'
import { createCast, tradeId } from '../src/replay/cast.ts'
import { createOutstanding } from '../src/replay/outstanding.ts'

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

interface Figures {
  readonly per_second: number
  readonly p50_ms: number
  readonly p99_ms: number
}

const SEED = 1
const CALL = 250
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

/** Prices around 60,000 and quantities below one, between random pairs of users; the same for the same options. */
function makeTrades({ trades, users }: BenchOptions): readonly Trade[] {
  const { config } = loadConfig({ path: null, env: {}, flags: {}, cwd: tmpdir() })
  const [market] = config.markets
  if (market === undefined) throw new Error('the default configuration has no market')
  const cast = createCast({ seed: SEED, users, market: market.symbol })
  return Array.from({ length: trades }, (_, line) => {
    const input = {
      id: tradeId(SEED, market.symbol, 'bench', line),
      symbol: market.symbol,
      ...cast.sidesOf(line),
      price: `${60_000 + (line % 997)}.${String(line % 100).padStart(2, '0')}`,
      quantity: `0.${String(1 + ((line * 7919) % 99_999)).padStart(5, '0')}`,
      buyerFee: '0',
      sellerFee: '0',
      isBuyerMaker: line % 2 === 0,
      buyerOrderId: null,
      sellerOrderId: null,
      executedAtMs: 1_700_000_000_000 + line,
    }
    const accepted = acceptTrade(input, market, config.settlement.feeUserId)
    if ('faults' in accepted) throw new Error(JSON.stringify(accepted.faults))
    const { notional } = accepted.trade
    const charged = withFees(accepted.trade, market, feeOf(notional, market.takerFee), feeOf(notional, market.makerFee))
    if ('faults' in charged) throw new Error(JSON.stringify(charged.faults))
    return charged.trade
  })
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
    const users = createCast({ seed: SEED, users: options.users, market: 'BTC/USDT' }).userIds
    const amount = 10n ** 20n
    const deposits = users.flatMap(userId =>
      ['BTC', 'USDT'].map(currency =>
        wallet.apply({
          key: `${userId} ${currency}`,
          tradeId: null,
          type: 'credit',
          userId,
          currency,
          amount,
          reason: 'DEPOSIT',
        }),
      ),
    )
    await Promise.all(deposits)
    pool.start()
    const started = performance.now()
    const calls = Array.from({ length: Math.ceil(trades.length / CALL) }, (_, at) =>
      trades.slice(at * CALL, (at + 1) * CALL),
    )
    const lane = async (): Promise<void> => {
      for (let call = calls.shift(); call !== undefined; call = calls.shift()) {
        for (const { id } of call) outstanding.expect(id)
        await intake.take(call.map(trade => ({ trade, isTimeGiven: true })))
      }
    }
    await Promise.all([lane(), lane()])
    await outstanding.below(1)
    const seconds = (performance.now() - started) / 1000
    const { settled, latencyMs } = outstanding.tally()
    if (settled !== trades.length) throw new Error(`${settled} of ${trades.length} settled`)
    return { per_second: Math.round(settled / seconds), p50_ms: latencyMs.p50, p99_ms: latencyMs.p99 }
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
