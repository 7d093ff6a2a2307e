import { once } from 'node:events'
import type { Config } from '../../config.ts'
import type { Rail } from '../../core/settlement.ts'
import { limitSilence } from '../../db.ts'
import { createLogger } from '../../log.ts'
import { openConfiguredDatabase, prepareSettlement } from '../../main.ts'
import { configOf } from '../config.ts'
import { CommandError, EXIT, type ExitStatus } from '../exit-status.ts'
import type { CommonOptions } from '../main.ts'
import { interruption } from '../signals.ts'

export interface WorkerCommandOptions extends CommonOptions {
  readonly walletUrl?: string
}

/** What is under way may take this long to end once the worker is told to stop. */
const STOP_MS = 15_000

/**
 * `legwork worker`: settlement alone, beside others on the same database; runs until SIGTERM or SIGINT. Without a wallet
 * elsewhere it settles on the built-in ledger of that database.
 */
export async function workerCommand(options: WorkerCommandOptions): Promise<ExitStatus> {
  const config = configOf(options)
  if (config.database.url === null) {
    const message = "'worker' shares a database with others: give --database-url, or use 'legwork up'"
    throw new CommandError(EXIT.usage, message)
  }
  const signal = interruption()
  const opened = await openConfiguredDatabase(config, createLogger('warn'))
  try {
    const settlement = await prepareSettlement({ config, opened, log: createLogger('info'), waitsForRoom: false })
    limitSilence(opened.database)
    try {
      const rail = await settlement.link.connect(signal)
      if (rail === null) return EXIT.done
      settlement.pool.start()
      process.stdout.write(options.json === true ? readyLine(config) : welcome(config, rail))
      if (!signal.aborted) await once(signal, 'abort')
      return EXIT.done
    } finally {
      await settlement.pool.stop(STOP_MS)
      settlement.link.close()
    }
  } finally {
    await opened.close()
  }
}

/** As a server's, with no address of its own. */
function readyLine({ wallet }: Config): string {
  return `${JSON.stringify({ event: 'ready', url: null, wallet_url: wallet.url, pid: process.pid })}\n`
}

function welcome({ wallet }: Config, rail: Rail): string {
  const where = wallet.url === null ? 'the built-in wallet' : `the wallet at ${wallet.url}`
  return `The worker is ready, settling on ${where}, ${rail} rail. Ctrl-C stops it.\n`
}
