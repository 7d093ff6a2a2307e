/**
 * The wiring: the only place that constructs. Everything else receives what it needs.
 */
import { randomUUID } from 'node:crypto'
import { systemClock } from './clock.ts'
import type { Config } from './config.ts'
import type { Rail } from './core/settlement.ts'
import { type Database, type DatabaseAddress, openDatabase } from './db.ts'
import type { Logger } from './log.ts'
import { migrate } from './migrate.ts'
import { createOrderDesk, type OrderDesk } from './orders/desk.ts'
import {
  DataFolderInUseError,
  type EmbeddedPostgres,
  hasCluster,
  runningPostgres,
  startEmbeddedPostgres,
} from './postgres/supervisor.ts'
import { reachDatabase } from './reach-database.ts'
import { type InstrumentStore, openInstruments } from './store/instruments.ts'
import type { OperatorStore } from './store/operator-store.ts'
import type { OrderStore } from './store/order-store.ts'
import { createOperatorStore } from './store/pg-operator-store.ts'
import { createOrderStore } from './store/pg-order-store.ts'
import { createStore } from './store/pg-store.ts'
import { settleOn } from './store/settlement-wallet.ts'
import type { Store } from './store/store.ts'
import type { BookedWallet, Wallet } from './wallet/wallet.ts'
import { createWalletLink, type WalletLink } from './wallet-link.ts'
import { createDeadLetterDesk, type DeadLetterDesk } from './worker/dead-letter-desk.ts'
import { createIntake, type TradeIntake } from './worker/intake.ts'
import { createMonitor, type Monitor } from './worker/monitor.ts'
import { createWorkerPool, type PoolOptions, type WorkerPool } from './worker/pool.ts'
import { createSubmit, type Submit } from './worker/submit.ts'

/** A database that is open, and the embedded server behind it if it is one. */
export interface OpenDatabase {
  readonly database: Database
  readonly server: EmbeddedPostgres | null
  close(): Promise<void>
}

/** Enough for the lanes of intake, orders, ledger, records and claims, the books' lock, and for those who look. */
const CONNECTIONS = 14

/** Opens the database that is configured: the embedded PostgreSQL of the data folder, or the one named by its URL. */
export async function openConfiguredDatabase(config: Config, log: Logger): Promise<OpenDatabase> {
  const { url } = config.database
  if (url !== null) {
    await reachDatabase(url)
    return openAt({ url }, null)
  }
  const server = await startEmbeddedPostgres({ dataDir: config.dataDir, log: message => log.info(message) })
  return openAt(server.connection, server)
}

/** The same for who only looks: makes no database (null), and shares that of a server at work in the data folder. */
export async function openExistingDatabase(config: Config, log: Logger): Promise<OpenDatabase | null> {
  if (config.database.url !== null) return await openConfiguredDatabase(config, log)
  if (!hasCluster(config.dataDir)) return null
  try {
    return await openConfiguredDatabase(config, log)
  } catch (error) {
    const running = error instanceof DataFolderInUseError ? await runningPostgres(config.dataDir) : null
    if (running === null) throw error
    return openAt(running, null)
  }
}

function openAt(address: DatabaseAddress, server: EmbeddedPostgres | null): OpenDatabase {
  const database = openDatabase(address, CONNECTIONS)
  return {
    database,
    server,
    close: async () => {
      try {
        await database.end()
      } finally {
        await server?.stop()
      }
    },
  }
}

/** Settlement in this process, on the built-in ledger or on a wallet elsewhere. */
export interface SettlementService extends PreparedSettlement {
  readonly rail: Rail
}

/** The same before it is known what the wallet can do: the pool must not be started, and the intake refuses. */
export interface PreparedSettlement {
  readonly instruments: InstrumentStore
  readonly store: Store
  readonly wallet: Wallet
  /** Of the built-in ledger; null: the wallet is a service elsewhere. */
  readonly books: BookedWallet | null
  readonly link: WalletLink
  readonly pool: WorkerPool
  readonly intake: TradeIntake
  readonly submit: Submit
  readonly operators: OperatorStore
  readonly desk: DeadLetterDesk
  readonly orderStore: OrderStore
  /** To be started once the link is connected, by a process that takes orders. */
  readonly orders: OrderDesk
  readonly monitor: Monitor
}

export interface SettlementOptions {
  readonly config: Config
  readonly opened: OpenDatabase
  readonly log: Logger
  /** Of the intake: see there. */
  readonly waitsForRoom: boolean
  readonly onEnd?: PoolOptions['onEnd']
}

/** As `prepareSettlement`, and waits for the wallet, for however long it is away. */
export async function createSettlement(options: SettlementOptions): Promise<SettlementService> {
  const prepared = await prepareSettlement(options)
  const rail = await prepared.link.connect()
  if (rail === null) throw new Error('the wait for the wallet ended before it answered')
  return { ...prepared, rail }
}

/** Brings the schema up to date and makes everything that settles; the wallet is not asked, the pool not started. */
export async function prepareSettlement(options: SettlementOptions): Promise<PreparedSettlement> {
  const { config, opened, log, waitsForRoom, onEnd } = options
  const { database, server } = opened
  const { settlement } = config
  await migrate(database, 'store')
  await migrate(database, 'ledger')
  await migrate(database, 'access')
  await settleOn(database, config.wallet.url !== null)
  const configured = { assets: config.assets, markets: config.markets }
  const instruments = await openInstruments(database, configured, ({ code, scale }, stored) => {
    const places = { currency: code, scale, stored_scale: stored.scale }
    log.error(
      places,
      `another process has given ${code} more places: restart this one, which can not read such amounts`,
    )
  })
  const clock = systemClock()
  const store = createStore(database, instruments)
  const operators = createOperatorStore(database, instruments)
  const monitor = createMonitor(clock)
  const link = createWalletLink({ config, database, instruments, clock, log })
  const { wallet, books, traits } = link
  // The data folder is ours alone, so whoever held a lease in it is gone.
  if (server !== null) await store.expireLeases(clock.now())
  const pool = createWorkerPool({
    store,
    wallet,
    traits,
    clock,
    random: Math.random,
    log,
    policy: settlement,
    owner: randomUUID(),
    workerPoolSize: settlement.workerPoolSize,
    queueCapacity: settlement.queueCapacity,
    leaseMs: settlement.leaseMs,
    pollMs: settlement.pollMs,
    deadLettersEnabled: settlement.deadLetterQueueEnabled,
    isPaused: () => operators.isPaused(),
    onEnd: (trade, left, latencyMs) => {
      monitor.ended(left.status === 'SETTLEMENT_FAILED', left.settlement.epoch === 0 ? latencyMs : null)
      onEnd?.(trade, left, latencyMs)
    },
  })
  link.onAway(isAway => pool.setAway(isAway))
  const intake = createIntake({
    store,
    pool,
    clock,
    get rail() {
      return link.rail()
    },
    legOrder: settlement.legOrder,
    waitsForRoom,
  })
  const submit = createSubmit({ intake, instruments, feeUserId: settlement.feeUserId })
  const desk = createDeadLetterDesk({ store: operators, trades: store, traits, policy: settlement, clock, log, pool })
  const orderStore = createOrderStore(database, instruments)
  const { legOrder, feeUserId, pollMs } = settlement
  const orders = createOrderDesk({
    ...{ store: orderStore, instruments, wallet, link, pool, clock, log },
    ...{ legOrder, feeUserId, pollMs },
  })
  return { instruments, store, wallet, books, link, pool, intake, submit, operators, desk, monitor, orderStore, orders }
}
