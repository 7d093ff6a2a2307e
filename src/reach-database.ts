import pg from 'pg'

/** A database that can't be had, in one sentence that names it and never its password. */
export class DatabaseUnreachableError extends Error {
  override readonly name = 'DatabaseUnreachableError'
  readonly code = 'DATABASE_UNREACHABLE'
}

const ANSWER_MS = 5_000

/**
 * Connects once, within five seconds; a pool would wait for ever for somebody who listens and never answers. Throws
 * `DatabaseUnreachableError`.
 */
export async function reachDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: ANSWER_MS })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.end()
  } catch (error) {
    const message = `the database ${client.database} at ${client.host}:${client.port} can't be reached: ${reasonOf(error)}`
    throw new DatabaseUnreachableError(message, { cause: error })
  }
}

/** Of several addresses that were tried, each with its own error, the first; the driver's words for a timeout say little. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  const message = error instanceof Error ? error.message : String(error)
  return message === 'timeout expired' ? `no answer within ${ANSWER_MS / 1000} seconds` : message
}
