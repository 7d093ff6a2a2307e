import { CommandError, EXIT } from './exit-status.ts'

/** Aborted by the first SIGINT or SIGTERM, with the way to end for a command that can do no more; the second ends the process at once. */
export function interruption(): AbortSignal {
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => controller.abort(new CommandError(EXIT.interrupted, INTERRUPTED)))
  }
  return controller.signal
}

/** What a command says that was interrupted. */
export const INTERRUPTED = 'interrupted; run it again and it goes on where it stopped'
