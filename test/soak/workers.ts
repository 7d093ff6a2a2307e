/** Any number of workers on one database, killed at random under load: every trade is settled once. */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { type Started, seededRandom, until, type Workshop } from '../support/process.ts'
import { audit } from '../support/wallet-audit.ts'
import {
  atRest,
  databaseUrlOf,
  fund,
  handIn,
  type Level,
  openMemoryWallet,
  openServe,
  openWorker,
  settings,
  statusOf,
  tradesAmong,
  uuid,
} from '../support/wallet-rig.ts'

export interface WorkersOptions {
  readonly level: Level
  readonly trades: number
  readonly kills: number
  readonly seed: number
}

export interface WorkersResult extends WorkersOptions {
  readonly campaign: 'workers'
  readonly settled: number
  readonly settled_at_kills: readonly number[]
  readonly seconds: number
}

const USERS = Array.from({ length: 40 }, (_, at) => uuid('a', at))
const WORKERS = 3
const SETTINGS = settings({ lease_ms: 4000, timeout_ms: 3000, poll_ms: 50, retry_backoff_ms: 50 })
/** Takes trades in and leaves nearly all of them to the workers. */
const SERVER = { ...SETTINGS, ...settings({ queue_capacity: 1, worker_pool_size: 1 }) }
/** So that a settlement takes long enough to be killed in. */
const SLOW_MS = 20

export async function workers(shop: Workshop, options: WorkersOptions): Promise<WorkersResult> {
  const { level, trades: count, kills, seed } = options
  const random = seededRandom(seed)
  const dataDir = shop.path(`workers-${level}-${seed}`)
  const wallet = await openMemoryWallet(shop, level)
  await fund(wallet, USERS)
  const together = level === 'batch' || level === 'settlements' ? { call: 'batch' } : {}
  await wallet.faults([{ ...together, fault: 'slow', ms: SLOW_MS, when: 'before' }])
  const server = await openServe(shop, wallet, ['--data-dir', dataDir], SERVER)
  const url = await databaseUrlOf(dataDir)
  const hire = async (): Promise<Started> =>
    await openWorker(shop, wallet, url, { ...SETTINGS, ...settings({ queue_capacity: 50 }) })
  const team = await Promise.all(Array.from({ length: WORKERS }, hire))
  const trades = tradesAmong(USERS, seed * 100_000, count)
  const beganMs = performance.now()
  const handed = handIn(server, trades)
  const settledAtKills: number[] = []
  for (let kill = 1; kill <= kills; kill++) {
    const enough = (count * kill) / (kills + 2)
    await until('some more are settled', async () => (await statusOf(server)).settled >= enough, 120_000)
    await delay(random() * 20)
    const which = Math.floor(random() * WORKERS)
    const victim = team[which]
    assert.ok(victim !== undefined && !victim.hasEnded())
    victim.signal('SIGKILL')
    await victim.ended
    settledAtKills.push((await statusOf(server)).settled)
    team[which] = await hire()
  }
  await handed
  const { settled } = await atRest(server, count, 120_000)
  const seconds = Math.round((performance.now() - beganMs) / 100) / 10
  const { seen } = await audit(server, wallet, trades)
  assert.ok(seen.every(trade => trade.settlement_status === 'SETTLED'))
  for (const each of [...team, server]) {
    each.signal('SIGTERM')
    assert.equal((await each.ended).status, 0)
  }
  return { campaign: 'workers', ...options, settled, settled_at_kills: settledAtKills, seconds }
}
