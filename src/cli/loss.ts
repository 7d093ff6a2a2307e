import { setTimeout as delay } from 'node:timers/promises'
import type { OpenDatabase } from '../main.ts'
import { CommandError, EXIT } from './exit-status.ts'

/** The end of the embedded PostgreSQL under a command. */
export interface Loss {
  /** Resolves with the way to end when PostgreSQL has ended by itself; a database of one's own is never known to. */
  readonly known: Promise<CommandError>
  /** Then nothing that is under way can end any more, and waiting for it is in vain. */
  isKnown(): boolean
  /** What is to be told of an error: the loss where that is what is behind it, else the error. */
  behind(error: unknown): Promise<unknown>
}

/** A query that fails is heard of before the process behind it. */
const GRACE_MS = 3000

export function watchLoss({ server }: OpenDatabase): Loss {
  let isKnown = false
  const known = (server?.lost ?? new Promise<never>(() => {})).then(lastWords => {
    isKnown = true
    return lossOf(lastWords)
  })
  return {
    known,
    isKnown: () => isKnown,
    behind: async error => await Promise.race([known, delay(GRACE_MS, error)]),
  }
}

function lossOf(lastWords: string): CommandError {
  const message = `PostgreSQL has ended; nothing is lost, start again. Its last words:\n${lastWords}`
  return new CommandError(EXIT.unreachable, message)
}
