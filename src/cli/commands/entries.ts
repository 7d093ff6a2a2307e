import { codeOf } from '../../db.ts'
import { openAdminClient, type ServerOptions } from '../admin-client.ts'
import { CommandError, EXIT, type ExitStatus } from '../exit-status.ts'
import { interruption } from '../signals.ts'

export interface ExportCommandOptions extends ServerOptions {
  readonly format?: string
  readonly tradeId?: string
  readonly userId?: string
  readonly currency?: string
  readonly from?: string
  readonly until?: string
}

const NO_WALLET = 'a server that settles on a wallet elsewhere has no entries: name the wallet service with --url'
const NOT_WHOLE = 'what was written so far is not whole'

/** `legwork entries export`: the entries to standard output, and nothing else. */
export async function exportCommand(options: ExportCommandOptions): Promise<ExitStatus> {
  const signal = interruption()
  const client = await openAdminClient(options, signal)
  const body = await client.stream(`/v1/entries/export?${queryOf(options)}`, NO_WALLET)
  try {
    for await (const chunk of body) await write(chunk)
    return EXIT.done
  } catch (error) {
    if (error instanceof OutputError) {
      // Whoever reads has enough; any other reason is said where standard output is looked after (index.ts).
      return codeOf(error.cause) === 'EPIPE' ? EXIT.done : EXIT.failed
    }
    if (signal.aborted) throw new CommandError(EXIT.interrupted, `interrupted: ${NOT_WHOLE}`)
    throw new CommandError(EXIT.unreachable, `the server ended the export before its end: ${NOT_WHOLE}; run it again`)
  }
}

function queryOf({ format, json, tradeId, userId, currency, from, until }: ExportCommandOptions): string {
  const named = { trade_id: tradeId, user_id: userId, currency, from, until }
  const given = Object.entries(named).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))
  return new URLSearchParams([['format', format ?? (json === true ? 'ndjson' : 'csv')], ...given]).toString()
}

class OutputError extends Error {}

/** Resolves when it is written, so that no more is taken from the server than goes out. */
async function write(chunk: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(chunk, error => {
      if (error == null) resolve()
      else reject(new OutputError('standard output', { cause: error }))
    })
  })
}
