import { once } from 'node:events'
import { join } from 'node:path'
import { openAdminKey } from '../../api/admin-key.ts'
import { adminKeyOnly } from '../../api/auth.ts'
import type { Config } from '../../config.ts'
import { createLogger } from '../../log.ts'
import type { WalletLevel } from '../../wallet/wallet.ts'
import { readFaultFile } from '../../wallet-service/fault-rules.ts'
import {
  createLedgerWalletService,
  createMemoryWalletService,
  type WalletService,
  type WalletServiceOptions,
} from '../../wallet-service/service.ts'
import { configOf } from '../config.ts'
import { CommandError, EXIT, type ExitStatus } from '../exit-status.ts'
import type { CommonOptions } from '../main.ts'
import { interruption } from '../signals.ts'

export interface WalletCommandOptions extends CommonOptions {
  readonly host?: string
  readonly port?: string
  readonly memory?: true
  readonly level: WalletLevel
  readonly holds: boolean
  readonly faults?: string
}

/** `legwork wallet`: the wallet service alone, until SIGTERM or SIGINT. */
export async function walletCommand(options: WalletCommandOptions, version: string): Promise<ExitStatus> {
  const { faults, level, holds } = options
  if (faults !== undefined && options.memory !== true) {
    throw new CommandError(EXIT.usage, '--faults is for the wallet in memory only: give --memory as well')
  }
  const config = configOf(options)
  const script = faults === undefined ? null : readFaultFile(faults, process.cwd())
  const signal = interruption()
  const log = createLogger('info')
  const service = { config, level, holds, log, version }
  if (options.memory === true) {
    const authenticate = await openKey(config)
    const wallet = await createMemoryWalletService({ ...service, authenticate, faults: script })
    return await serve(
      wallet,
      options,
      config,
      once(signal, 'abort').then(() => null),
      signal,
    )
  }
  // The memory wallet starts without PostgreSQL and all that goes with it.
  const { limitSilence } = await import('../../db.ts')
  const { openConfiguredDatabase } = await import('../../main.ts')
  const { watchLoss } = await import('../loss.ts')
  const opened = await openConfiguredDatabase(config, createLogger('warn'))
  const loss = watchLoss(opened)
  try {
    const authenticate = await openKey(config)
    const wallet = await createLedgerWalletService({ ...service, authenticate, database: opened.database })
    limitSilence(opened.database)
    const ended = Promise.race([once(signal, 'abort').then(() => null), loss.known])
    return await serve(wallet, options, config, ended, signal)
  } catch (error) {
    throw await loss.behind(error)
  } finally {
    await opened.close()
  }
}

async function openKey(config: Config): Promise<WalletServiceOptions['authenticate']> {
  const { matches, made } = await openAdminKey(config.dataDir, config.adminToken)
  // At once: it is made only this once, whatever the rest of the start comes to.
  if (made !== null) {
    process.stderr.write(`The admin key, shown this once and kept in ${join(config.dataDir, 'admin.key')}:\n${made}\n`)
  }
  return adminKeyOnly(matches)
}

/** @param ended resolves when the service is to end: with null, or with why it has to. */
async function serve(
  wallet: WalletService,
  options: WalletCommandOptions,
  { server }: Config,
  ended: Promise<CommandError | null>,
  signal: AbortSignal,
): Promise<ExitStatus> {
  try {
    const url = await wallet.listen({ host: server.host, port: server.port })
    const ready = { event: 'ready', url, wallet_url: url, pid: process.pid }
    process.stdout.write(options.json === true ? `${JSON.stringify(ready)}\n` : welcome(url, options))
    const reason = signal.aborted ? null : await ended
    if (reason !== null) throw reason
    return EXIT.done
  } finally {
    await wallet.close()
  }
}

function welcome(url: string, { memory, level }: WalletCommandOptions): string {
  const kind = memory === true ? 'in memory, and gone when it ends; takes the admin key alone' : 'on PostgreSQL'
  const faults = memory === true ? `\n  faults           PUT ${url}/v1/faults` : ''
  return `The wallet is ready: ${url}

  the API          ${url}/docs${faults}

Of level ${level}, ${kind}. Ctrl-C stops it.
`
}
