import { configOf } from '../config.ts'
import { CommandError, EXIT, type ExitStatus } from '../exit-status.ts'
import { settleAndServe, type UpCommandOptions } from './up.ts'

/** `legwork serve`: the API and settlement on a wallet elsewhere; runs until SIGTERM or SIGINT. */
export async function serveCommand(options: UpCommandOptions, version: string): Promise<ExitStatus> {
  const config = configOf(options)
  if (config.wallet.url === null) {
    const message = "'serve' has no wallet of its own: give --wallet-url, or use 'legwork up'"
    throw new CommandError(EXIT.usage, message)
  }
  return await settleAndServe(config, options, version)
}
