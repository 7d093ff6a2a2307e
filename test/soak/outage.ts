/** A wallet that is down for a while under load: nothing fails, nothing is lost, and settlement goes on at its return. */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/postgres/supervisor.ts'
import type { UpServer, Workshop } from '../support/process.ts'
import { until } from '../support/process.ts'
import { audit } from '../support/wallet-audit.ts'
import {
  atRest,
  databaseUrlOf,
  fund,
  handIn,
  type Level,
  openDurableWallet,
  openMemoryWallet,
  openServe,
  type RigTrade,
  type RigWallet,
  type Status,
  statusOf,
  tradesAmong,
  uuid,
} from '../support/wallet-rig.ts'

export interface OutageOptions {
  /**
   * `port`: the wallet in memory takes no connections; `killed`: the one on PostgreSQL is killed and started again;
   * `database`: that one stays, and its database goes away.
   */
  readonly how: 'port' | 'killed' | 'database'
  readonly level: Level
  readonly downMs: number
  readonly perSecond: number
}

export interface OutageResult extends OutageOptions {
  readonly campaign: 'outage'
  readonly trades: number
  readonly settled: number
  readonly dead_letters: number
  /** From the wallet's return to the first settlement, and to the last of those that waited. */
  readonly resumed_ms: number
  readonly caught_up_ms: number
  /** While it was down, once the circuit was open. */
  readonly most_in_flight: number
  readonly most_workers_busy: number
  readonly slowest_intake_ms: number
}

const USERS = Array.from({ length: 40 }, (_, at) => uuid('a', at))
const TICK_MS = 50
/** Of load before the outage and after it. */
const AROUND_MS = 1500

export async function outage(shop: Workshop, options: OutageOptions): Promise<OutageResult> {
  const { how, level, downMs, perSecond } = options
  const name = `${how}-${level}`
  const walletDir = shop.path(`${name}-wallet`)
  const database = how === 'database' ? await ownDatabase(walletDir) : null
  const walletArgs = database === null ? ['--data-dir', walletDir] : ['--database-url', database.url]
  const wallet = how === 'port' ? await openMemoryWallet(shop, level) : await openDurableWallet(shop, level, walletArgs)
  await fund(wallet, USERS)
  const server = await openServe(shop, wallet, ['--data-dir', shop.path(name)])
  const load = startLoad(server, perSecond)
  const watch = startWatch(server)
  try {
    await until('it settles under load', async () => (await statusOf(server)).settled > perSecond / 2)
    const down =
      database !== null
        ? await withoutDatabase(wallet, database, downMs)
        : how === 'port'
          ? await closePort(wallet, downMs)
          : await killed(shop, wallet, walletArgs, downMs)
    await delay(AROUND_MS)
    const trades = await load.stop()
    const { settled, dead_letters: letters } = await atRest(server, trades.length)
    const restAtMs = Date.now()
    const samples = await watch.stop()
    const { seen } = await audit(server, down.wallet, trades)
    assert.equal(settled, trades.length)
    assert.ok(seen.every(trade => trade.settlement_status === 'SETTLED'))
    const meanwhile = samples.filter(({ atMs }) => atMs > down.fromMs + OPENS_MS && atMs < down.backMs)
    assert.ok(meanwhile.length > 0)
    assert.ok(
      meanwhile.every(({ status }) => status.wallet.circuit !== 'closed'),
      'the circuit is open',
    )
    const before = Math.max(...meanwhile.map(({ status }) => status.settled))
    const resumed = samples.find(({ atMs, status }) => atMs >= down.untilMs && status.settled > before)
    const waited = load.sentBefore(down.untilMs)
    const caughtUp = samples.find(({ status }) => status.settled >= waited)?.atMs ?? restAtMs
    server.signal('SIGTERM')
    await server.ended
    return {
      campaign: 'outage',
      ...options,
      trades: trades.length,
      settled,
      dead_letters: letters,
      resumed_ms: (resumed?.atMs ?? Number.POSITIVE_INFINITY) - down.untilMs,
      caught_up_ms: caughtUp - down.untilMs,
      most_in_flight: Math.max(...meanwhile.map(({ status }) => status.in_flight)),
      most_workers_busy: Math.max(...meanwhile.map(({ status }) => status.workers.busy)),
      slowest_intake_ms: load.slowestMs(),
    }
  } finally {
    await load.stop()
    await watch.stop()
    await database?.stop()
  }
}

/** Within this the first call has failed, and no other is sent. */
const OPENS_MS = 500

interface Down {
  readonly fromMs: number
  /** When it began to come back. */
  readonly backMs: number
  /** From when on it is there. */
  readonly untilMs: number
  /** The wallet after its return. */
  readonly wallet: RigWallet
}

async function closePort(wallet: RigWallet, downMs: number): Promise<Down> {
  await wallet.faults([{ times: 1, fault: 'close_port', ms: downMs }])
  const isUp = async (): Promise<boolean> => (await fetch(`${wallet.url}/readyz`).catch(() => null)) !== null
  await until('the port is closed', async () => !(await isUp()))
  const fromMs = Date.now()
  await until('the port is open again', isUp, downMs + 5000)
  const untilMs = Date.now()
  return { fromMs, backMs: untilMs, untilMs, wallet }
}

async function killed(shop: Workshop, wallet: RigWallet, args: readonly string[], downMs: number): Promise<Down> {
  const { port } = new URL(wallet.url)
  wallet.signal('SIGKILL')
  await wallet.ended
  const fromMs = Date.now()
  await delay(downMs)
  const backMs = Date.now()
  const again = await openDurableWallet(shop, wallet.level, [...args, '--port', port])
  return { fromMs, backMs, untilMs: Date.now(), wallet: again }
}

interface OwnDatabase {
  readonly url: string
  start(): Promise<void>
  stop(): Promise<void>
}

async function ownDatabase(dataDir: string): Promise<OwnDatabase> {
  let running: EmbeddedPostgres | null = await startEmbeddedPostgres({ dataDir })
  return {
    url: await databaseUrlOf(dataDir),
    start: async () => {
      running = await startEmbeddedPostgres({ dataDir })
    },
    stop: async () => {
      await running?.stop()
      running = null
    },
  }
}

async function withoutDatabase(wallet: RigWallet, database: OwnDatabase, downMs: number): Promise<Down> {
  await database.stop()
  const fromMs = Date.now()
  await delay(downMs)
  const backMs = Date.now()
  await database.start()
  return { fromMs, backMs, untilMs: Date.now(), wallet }
}

interface Load {
  /** All that was handed in; each call was answered. */
  stop(): Promise<readonly RigTrade[]>
  sentBefore(atMs: number): number
  slowestMs(): number
}

/** Hands in so many trades a second, evenly. */
function startLoad(server: UpServer, perSecond: number): Load {
  const sent: RigTrade[] = []
  const times: number[] = []
  let slowestMs = 0
  let isStopped = false
  const ending = (async () => {
    for (let tick = 0; !isStopped; tick++) {
      const many =
        Math.round(((tick + 1) * perSecond * TICK_MS) / 1000) - Math.round((tick * perSecond * TICK_MS) / 1000)
      const trades = tradesAmong(USERS, sent.length + 1, many)
      const beganMs = Date.now()
      if (many > 0) await handIn(server, trades)
      slowestMs = Math.max(slowestMs, Date.now() - beganMs)
      sent.push(...trades)
      for (const _ of trades) times.push(beganMs)
      await delay(Math.max(0, TICK_MS - (Date.now() - beganMs)))
    }
  })()
  // Who stops it is told of what went wrong.
  ending.catch(() => {})
  return {
    stop: async () => {
      isStopped = true
      await ending
      return sent
    },
    sentBefore: atMs => times.filter(each => each < atMs).length,
    slowestMs: () => slowestMs,
  }
}

interface Sample {
  readonly atMs: number
  readonly status: Status
}

function startWatch(server: UpServer): { stop(): Promise<readonly Sample[]> } {
  const samples: Sample[] = []
  let isStopped = false
  const ending = (async () => {
    while (!isStopped) {
      const status = await statusOf(server)
      samples.push({ atMs: Date.now(), status })
      await delay(20)
    }
  })()
  ending.catch(() => {})
  return {
    stop: async () => {
      isStopped = true
      await ending
      return samples
    },
  }
}
