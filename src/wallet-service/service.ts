/** The wiring of the wallet service alone: the ledger or the memory wallet, behind the lean server and the routes. */
import type { App } from '../api/app.ts'
import { type Authenticate, eitherOf } from '../api/auth.ts'
import { callerCheck } from '../api/hot/hot-routes.ts'
import { createKeyServices } from '../api/keys/plugin.ts'
import type { Handle } from '../api/lean/connection.ts'
import { createLeanServer, type LeanServer } from '../api/lean/server.ts'
import { BODY_LIMIT, createServer, REQUEST_TIMEOUT_MS } from '../api/server.ts'
import { withFaults } from '../api/wallet/faults/acting.ts'
import { hotHandler } from '../api/wallet/hot-routes.ts'
import { isExport } from '../api/wallet/routes/entries-export.ts'
import { systemClock } from '../clock.ts'
import type { Config } from '../config.ts'
import type { Database } from '../db.ts'
import type { Logger } from '../log.ts'
import { createMemoryWallet } from '../wallet/memory-wallet.ts'
import type { WalletLevel } from '../wallet/wallet.ts'
import { createFaultControl } from './fault-control.ts'
import type { FaultScriptFile } from './fault-rules.ts'
import { stoppableClock } from './timers.ts'

export interface WalletServiceOptions {
  readonly config: Config
  readonly level: WalletLevel
  /** False: no holds, whatever the level. */
  readonly holds?: boolean
  readonly authenticate: Authenticate
  readonly log: Logger
  readonly version: string
}

export interface WalletService {
  /** Resolves with the URL. */
  listen(address: { readonly host: string; readonly port: number }): Promise<string>
  close(): Promise<void>
}

/** What is under way may take this long to be answered at the end. */
const CLOSE_MS = 5000

/** The wallet in memory, gone when the process is: for tests, trials and benchmarks. `faults` null: none at first. */
export async function createMemoryWalletService(
  options: WalletServiceOptions & { readonly faults: FaultScriptFile | null },
): Promise<WalletService> {
  const { config, level, holds = true, authenticate, log, version } = options
  const clock = stoppableClock(systemClock())
  const assets = assetsOf(config)
  const wallet = createMemoryWallet({ assets, clock, feeUserId: config.settlement.feeUserId, level, holds })
  const control = createFaultControl(options.faults, clock)
  const notReady = async (): Promise<readonly string[]> => []
  const app = createServer({
    ...{ authenticate, notReady, log, version, trades: null, faults: control },
    keys: 'a wallet in memory has no database to keep keys in, and takes the admin key alone',
    wallet: { wallet, assets },
  })
  const connect = await hotHandler({ app, authenticate, notReady, services: { wallet, assets } })
  const faulty = withFaults(connect, {
    book: () => control.book(),
    mayCall: callerCheck(authenticate),
    closePort: ms => server.closePort(ms),
    clock,
  })
  // A script of faults may put an answer off for as long as it likes.
  const server = leanServer(app, faulty, Number.POSITIVE_INFINITY)
  return serviceOf(server, async () => {
    clock.stop()
    await app.close()
  })
}

/** The ledger on PostgreSQL, whose part of the schema is brought up to date. */
export async function createLedgerWalletService(
  options: WalletServiceOptions & { readonly database: Database },
): Promise<WalletService> {
  const { config, level, holds = true, authenticate, log, version, database } = options
  // Not for the memory wallet, which starts without them.
  const { migrate } = await import('../migrate.ts')
  const { createLedgerWallet } = await import('../wallet/ledger-wallet.ts')
  const { createAccessStore } = await import('../store/pg-access-store.ts')
  await migrate(database, 'ledger')
  await migrate(database, 'access')
  const assets = assetsOf(config)
  const { feeUserId } = config.settlement
  const instruments = { assets, markets: new Map() }
  const wallet = createLedgerWallet({ database, instruments, clock: systemClock(), feeUserId, log, level, holds })
  const keys = createKeyServices(createAccessStore(database), systemClock())
  const notReady = async (): Promise<readonly string[]> => {
    await database.query('select 1')
    return []
  }
  const app = createServer({
    ...{ authenticate, notReady, log, version, trades: null, keys },
    wallet: { wallet, assets },
  })
  const connect = await hotHandler({
    app,
    authenticate: eitherOf(authenticate, keys.holders.authenticate),
    notReady,
    services: { wallet, assets },
  })
  return serviceOf(leanServer(app, connect, REQUEST_TIMEOUT_MS), () => app.close())
}

/** That of node:http. */
const HEAD_LIMIT = 16 * 1024

/** In front of the routes, which get the connections that ask for more than it can. */
function leanServer(app: App, connect: () => Handle, answerMs: number): LeanServer {
  return createLeanServer({
    connect,
    isStreamed: isExport,
    takeOver: socket => app.server.emit('connection', socket),
    limits: { headBytes: HEAD_LIMIT, bodyBytes: BODY_LIMIT },
    requestMs: REQUEST_TIMEOUT_MS,
    answerMs,
  })
}

function serviceOf(server: LeanServer, closeRest: () => Promise<void>): WalletService {
  return {
    listen: address => server.listen(address),
    close: async () => {
      await server.close(CLOSE_MS)
      await closeRest()
    },
  }
}

function assetsOf({ assets }: Config) {
  return new Map(assets.map(asset => [asset.code, asset]))
}
