/**
 * Settlements a second on a wallet over the network: the wallet in memory as a process of its own, everything on our side
 * durable. At level 1 each leg is a request; at level 2 calls in flight share one; at level 3 whole settlements do. Beside it,
 * in the same run against the same wallet, the plain way: no durability, ten workers, one request after the other.
 *
 *   npm run bench:settle -- --trades 40000 --users 200 --rate 500 --seconds 10
 */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/clock.ts'
import { loadConfig } from '../src/config.ts'
import { legsOf } from '../src/core/legs.ts'
import { formatDecimal } from '../src/core/money.ts'
import type { Trade } from '../src/core/trade.ts'
import { createLogger } from '../src/log.ts'
import { createSettlement, openConfiguredDatabase, type SettlementService } from '../src/main.ts'
import { createOutstanding, type Outstanding } from '../src/replay/outstanding.ts'
import { createHttpWallet } from '../src/wallet/http/http-wallet.ts'
import { onServer, TOKEN } from './load.ts'
import { type Figures, fundUsers, makeTrades, SEED, settleAll } from './workload.ts'

export interface WalletBenchOptions {
  readonly trades: number
  readonly naiveTrades: number
  readonly users: number
  /** Of the steady run: trades a second, at random moments, and for how long. */
  readonly rate: number
  readonly seconds: number
}

export interface WalletBenchResult {
  readonly bench: 'settle-wallet'
  readonly node: string
  readonly cpu: string
  readonly parameters: WalletBenchOptions & { readonly seed: number }
  readonly reversals: Figures
  readonly batch: Figures
  readonly settlements: Figures
  /** From the moment a trade is handed in until it is settled, at level 1. */
  readonly steady: { readonly per_second: number; readonly p50_ms: number; readonly p99_ms: number }
  readonly naive: { readonly per_second: number }
  readonly reversals_to_naive: number
  readonly batch_to_naive: number
}

const log = createLogger('warn')

export async function bench(options: WalletBenchOptions): Promise<WalletBenchResult> {
  const naive = await onWallet('reversals', url => runNaive(url, options))
  const [reversals, batch, settlements] = [
    await onWallet('reversals', url => settleOn(url, options)),
    await onWallet('batch', url => settleOn(url, options)),
    await onWallet('settlements', url => settleOn(url, options)),
  ]
  const steady = await onWallet('reversals', url => runSteady(url, options))
  const ratio = ({ per_second }: Figures): number => Math.round((per_second / naive) * 10) / 10
  return {
    bench: 'settle-wallet',
    node: process.version,
    cpu: `${cpus().length} × ${cpus()[0]?.model}`,
    parameters: { ...options, seed: SEED },
    reversals,
    batch,
    settlements,
    steady,
    naive: { per_second: Math.round(naive) },
    reversals_to_naive: ratio(reversals),
    batch_to_naive: ratio(batch),
  }
}

async function onWallet<Result>(level: string, work: (url: string) => Promise<Result>): Promise<Result> {
  return await onServer(['wallet', '--memory', '--level', level], work)
}

async function onService<Result>(
  url: string,
  users: number,
  work: (service: SettlementService, awaited: () => Outstanding) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'legwork-bench-'))
  const env = { LEGWORK_WALLET_TOKEN: TOKEN }
  const { config } = loadConfig({ path: null, env, flags: { data_dir: folder, 'wallet.url': url }, cwd: folder })
  const opened = await openConfiguredDatabase(config, log)
  let outstanding = createOutstanding()
  const awaited = (): Outstanding => {
    outstanding = createOutstanding()
    return outstanding
  }
  const service = await createSettlement({
    config,
    opened,
    log,
    waitsForRoom: true,
    onEnd: ({ id }, { status }, latencyMs) => outstanding.ended(id, status, latencyMs),
  })
  try {
    await fundUsers(service.wallet, users)
    service.pool.start()
    return await work(service, awaited)
  } finally {
    await service.pool.stop(10_000)
    service.link.close()
    await opened.close()
    await rm(folder, { recursive: true, force: true })
  }
}

/** A quarter more at first: code that has never run is slow once, and says nothing of a service at work. */
async function settleOn(url: string, { trades, users }: WalletBenchOptions): Promise<Figures> {
  const warmUp = Math.ceil(trades / 4)
  const all = makeTrades({ trades: warmUp + trades, users })
  return await onService(url, users, async ({ intake }, awaited) => {
    await settleAll(all.slice(0, warmUp), intake, awaited())
    return await settleAll(all.slice(warmUp), intake, awaited())
  })
}

/** Trades that arrive by themselves, evenly at random, whether or not the ones before are settled; after a second of warming up. */
async function runSteady(url: string, { users, rate, seconds }: WalletBenchOptions): Promise<Figures> {
  const trades = makeTrades({ trades: rate * (seconds + 1), users })
  return await onService(url, users, async ({ intake }, awaited) => {
    const outstanding = awaited()
    let started = performance.now()
    const taken: Promise<unknown>[] = []
    let dueMs = 0
    for (const trade of trades) {
      // Waits of a Poisson process; the mean of -ln(random) is 1.
      dueMs += (-Math.log(1 - randomOf(taken.length)) * 1000) / rate
      const waitMs = dueMs - (performance.now() - started)
      if (waitMs > 1) await new Promise(resolve => setTimeout(resolve, waitMs))
      if (taken.length === rate) {
        started = performance.now()
        dueMs = 0
      }
      if (taken.length >= rate) outstanding.expect(trade.id)
      taken.push(intake.take([{ trade, isTimeGiven: true }]))
    }
    await Promise.all(taken)
    await outstanding.below(1)
    const elapsed = (performance.now() - started) / 1000
    const { settled, latencyMs } = outstanding.tally()
    return { per_second: Math.round(settled / elapsed), p50_ms: latencyMs.p50, p99_ms: latencyMs.p99 }
  })
}

/** From 0 to below 1, the same in every run: the fractional parts of multiples of the golden ratio, shuffled. */
function randomOf(at: number): number {
  const mixed = Math.imul(at + 1, 0x9e3779b1) >>> 0
  return (Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b) >>> 0) / 2 ** 32
}

/** What a first version of such a service does: nothing is written down, and each worker waits for each answer. */
async function runNaive(url: string, options: WalletBenchOptions): Promise<number> {
  const { config } = loadConfig({ path: null, env: {}, flags: {}, cwd: tmpdir() })
  const assets = new Map(config.assets.map(asset => [asset.code, asset]))
  const { timeoutMs } = config.settlement
  const wallet = createHttpWallet({ url, token: TOKEN, instruments: { assets }, timeoutMs, clock: systemClock(), log })
  await fundUsers(wallet, options.users)
  wallet.close()
  const agent = new Agent({ keepAlive: true, maxSockets: 10 })
  const { naiveTrades, users } = options
  const warmUp = Math.ceil(naiveTrades / 4)
  const waiting = [...makeTrades({ trades: warmUp + naiveTrades, users })]
  const settle = async (until: number): Promise<void> => {
    const worker = async (): Promise<void> => {
      while (waiting.length > until) await settleNaively(url, agent, waiting.shift() as Trade)
    }
    await Promise.all(Array.from({ length: 10 }, worker))
  }
  await settle(naiveTrades)
  const started = performance.now()
  await settle(0)
  const seconds = (performance.now() - started) / 1000
  agent.destroy()
  return options.naiveTrades / seconds
}

async function settleNaively(url: string, agent: Agent, trade: Trade): Promise<void> {
  for (const { name, userId, currency, type, amount } of legsOf(trade, 'buyer-first')) {
    const body = JSON.stringify({
      user_id: userId,
      currency,
      amount: formatDecimal(amount, 8),
      reason: name === 'fee' ? 'FEE_COLLECTION' : 'TRADE_SETTLEMENT',
      trade_id: trade.id,
    })
    const sent = request(`${url}/v1/${type}s`, {
      agent,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        authorization: `Bearer ${TOKEN}`,
        'idempotency-key': `naive:${trade.id}:0:${name}`,
      },
    })
    sent.end(body)
    const [answer] = await once(sent, 'response')
    answer.resume()
    await once(answer, 'end')
    if (answer.statusCode !== 201) throw new Error(`the wallet answered ${answer.statusCode}`)
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      trades: { type: 'string', default: '40000' },
      'naive-trades': { type: 'string', default: '3000' },
      users: { type: 'string', default: '200' },
      rate: { type: 'string', default: '500' },
      seconds: { type: 'string', default: '10' },
    },
  })
  const options = {
    trades: +values.trades,
    naiveTrades: +values['naive-trades'],
    users: +values.users,
    rate: +values.rate,
    seconds: +values.seconds,
  }
  process.stdout.write(`${JSON.stringify(await bench(options))}\n`)
}
