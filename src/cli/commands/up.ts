import { once } from 'node:events'
import { join } from 'node:path'
import { openAdminKey } from '../../api/admin-key.ts'
import { adminKeyOnly } from '../../api/auth.ts'
import { createKeyServices } from '../../api/keys/plugin.ts'
import { createServer } from '../../api/server.ts'
import { systemClock } from '../../clock.ts'
import type { Config } from '../../config.ts'
import type { Rail } from '../../core/settlement.ts'
import { limitSilence } from '../../db.ts'
import { createLogger } from '../../log.ts'
import { type OpenDatabase, openConfiguredDatabase, type PreparedSettlement, prepareSettlement } from '../../main.ts'
import { createAccessStore } from '../../store/pg-access-store.ts'
import { configOf } from '../config.ts'
import { EXIT, type ExitStatus } from '../exit-status.ts'
import { type Loss, watchLoss } from '../loss.ts'
import type { CommonOptions } from '../main.ts'
import { interruption } from '../signals.ts'

export interface UpCommandOptions extends CommonOptions {
  readonly host?: string
  readonly port?: string
  readonly walletUrl?: string
}

/** What is under way may take this long to end once the server is told to stop. */
const STOP_MS = 15_000

/** `legwork up`: runs until SIGTERM or SIGINT. */
export async function upCommand(options: UpCommandOptions, version: string): Promise<ExitStatus> {
  return await settleAndServe(configOf(options), options, version)
}

/** Everything that `up` and `serve` do; what differs is in the configuration. */
export async function settleAndServe(config: Config, options: UpCommandOptions, version: string): Promise<ExitStatus> {
  const signal = interruption()
  const opened = await openConfiguredDatabase(config, createLogger('warn'))
  const loss = watchLoss(opened)
  try {
    return await serve(config, opened, loss, signal, version, options.json === true)
  } catch (error) {
    throw await loss.behind(error)
  } finally {
    await opened.close()
  }
}

async function serve(
  config: Config,
  opened: OpenDatabase,
  loss: Loss,
  signal: AbortSignal,
  version: string,
  isJson: boolean,
): Promise<ExitStatus> {
  const log = createLogger('info')
  const key = await openAdminKey(config.dataDir, config.adminToken)
  // At once: it is made only this once, whatever the rest of the start comes to.
  if (key.made !== null) {
    process.stderr.write(`The admin key, shown this once and kept in ${adminKeyFile(config)}:\n${key.made}\n`)
  }
  const settlement = await prepareSettlement({ config, opened, log, waitsForRoom: false })
  limitSilence(opened.database)
  const server = serverOf(config, opened, settlement, key.matches, version)
  try {
    const url = await server.listen({ host: config.server.host, port: config.server.port })
    // Until the wallet has said what it can do, /readyz tells that it is lacking, and no trade is taken.
    const rail = await Promise.race([settlement.link.connect(signal), ended(loss, signal).then(() => null)])
    if (rail === null) return EXIT.done
    settlement.pool.start()
    await settlement.orders.start()
    const ready = { event: 'ready', url, wallet_url: config.wallet.url ?? url, pid: process.pid }
    process.stdout.write(isJson ? `${JSON.stringify(ready)}\n` : welcome(url, config, rail))
    return await ended(loss, signal)
  } finally {
    await server.close()
    await settlement.orders.stop()
    await settlement.pool.stop(loss.isKnown() ? 0 : STOP_MS)
    settlement.link.close()
  }
}

function serverOf(
  config: Config,
  { database }: OpenDatabase,
  settlement: PreparedSettlement,
  matches: (key: string) => boolean,
  version: string,
) {
  const { instruments, books, link } = settlement
  const clock = systemClock()
  return createServer({
    authenticate: adminKeyOnly(matches),
    keys: createKeyServices(createAccessStore(database), clock),
    notReady: async () => {
      await database.query('select 1')
      return link.lacking()
    },
    log: createLogger('info'),
    version,
    trades: { ...settlement, clock, feeUserId: config.settlement.feeUserId },
    orders: { ...settlement, clock },
    admin: { ...settlement, clock, walletStatus: () => link.status() },
    wallet: books === null ? null : { wallet: books, assets: instruments.assets },
  })
}

/** Resolves when the server is to stop. A database that is lost ends it: whoever starts it again finds all as it was. */
async function ended(loss: Loss, signal: AbortSignal): Promise<ExitStatus> {
  const stopped = signal.aborted ? Promise.resolve() : once(signal, 'abort')
  const lost = await Promise.race([stopped.then(() => null), loss.known])
  if (lost !== null) throw lost
  return EXIT.done
}

function adminKeyFile({ dataDir }: Config): string {
  return join(dataDir, 'admin.key')
}

function welcome(url: string, config: Config, rail: Rail): string {
  const key = config.adminToken === null ? `is in ${adminKeyFile(config)}` : 'is that of LEGWORK_ADMIN_TOKEN'
  const { url: walletUrl } = config.wallet
  // A database's URL may hold a password, and standard output may be kept.
  const where = config.database.url === null ? `--data-dir ${config.dataDir}` : '--database-url …'
  return `Legwork is ready: ${url}

  orders in        POST ${url}/v1/orders
  trades in        POST ${url}/v1/trades
  the API          ${url}/docs
  check the books  legwork verify ${where}${walletUrl === null ? '' : ` --wallet-url ${walletUrl}`}

Settling on ${walletUrl === null ? 'the built-in wallet' : `the wallet at ${walletUrl}`}, ${rail} rail. The admin key ${key}. Ctrl-C stops it.
`
}
