import pg from 'pg'

export type Database = pg.Pool
/** A connection inside a transaction. */
export type Connection = pg.PoolClient

/** Where a database is: a URL, or the parts of the embedded server's private socket. */
export type DatabaseAddress =
  | { readonly url: string }
  | {
      readonly host: string
      readonly port: number
      readonly user: string
      readonly password: string
      readonly database: string
    }

const INT8 = 20
/**
 * Every statement of the main path finds its rows by keys in an index. The planner knows little of tables that fill and
 * empty by the second (what it takes for small is full of rows that are gone), so it is told: no reading of whole tables,
 * also not through their indexes for a hash or merge join, and one plan a statement, made once.
 */
const PLANS = [
  'enable_seqscan=off',
  'enable_hashjoin=off',
  'enable_mergejoin=off',
  'plan_cache_mode=force_generic_plan',
]
  .map(setting => `-c ${setting}`)
  .join(' ')
/** A database that does not answer at all is away; whoever waits for it is told so. */
const CONNECT_MS = 10_000

/** A pool of connections; `int8` comes back as bigint, `numeric` as text, so that no amount ever is a float. */
export function openDatabase(address: DatabaseAddress, connections: number): Database {
  const target = 'url' in address ? { connectionString: address.url } : address
  const pool = new pg.Pool({
    ...target,
    max: connections,
    application_name: 'legwork',
    connectionTimeoutMillis: CONNECT_MS,
    options: PLANS,
    pipeline: true,
    types: {
      getTypeParser: (oid: number, format?: 'text' | 'binary') =>
        oid === INT8 ? (value: string) => BigInt(value) : pg.types.getTypeParser(oid, format as 'text'),
    },
  })
  // A connection that breaks is replaced at the next use, and whoever was using it is told by the call that fails. Without
  // listeners it would end the process: the pool's own is only on those that are idle.
  pool.on('error', () => {})
  pool.on('connect', client => client.on('error', () => {}))
  return pool
}

/** Errors after which the same transaction may simply be run again. */
const SERIALIZATION_FAILURES: ReadonlySet<string> = new Set(['40001', '40P01'])
const ATTEMPTS = 5

/**
 * Runs `work` in one transaction; again, at most five times, where the database asks for that.
 *
 * @param races further SQLSTATEs that mean "somebody else was first, look again".
 */
export async function transaction<Result>(
  database: Database,
  work: (connection: Connection) => Promise<Result>,
  races: ReadonlySet<string> = new Set(),
): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await transactionOnce(database, work)
    } catch (error) {
      const isRace = SERIALIZATION_FAILURES.has(codeOf(error)) || races.has(codeOf(error))
      if (attempt === ATTEMPTS || !isRace) throw error
    }
  }
}

/**
 * Runs `work` in one transaction, once.
 *
 * @param lockTimeoutMs how long a statement waits for another transaction before it fails (55P03); 0: until that ends.
 */
export async function transactionOnce<Result>(
  database: Database,
  work: (connection: Connection) => Promise<Result>,
  lockTimeoutMs = 0,
): Promise<Result> {
  const connection = await database.connect()
  let broken: Error | undefined
  try {
    await connection.query(lockTimeoutMs === 0 ? 'begin' : `begin; set local lock_timeout = ${lockTimeoutMs}`)
    const result = await work(connection)
    const { command } = await connection.query('commit')
    // Where `work` swallowed an error of a statement, PostgreSQL answers a commit with a rollback, and no error.
    if (command !== 'COMMIT') throw new Error(`a transaction ended in ${command}, since an error in it was swallowed`)
    return result
  } catch (error) {
    await connection.query('rollback').catch((rollbackError: Error) => {
      broken = rollbackError
    })
    throw error
  } finally {
    connection.release(broken)
  }
}

/**
 * Statements that need nothing of each other: they leave at once and are done in their order, so that neither side waits
 * for the other in between. Throws what the first that failed says; what comes after it in a transaction fails as well.
 */
export async function together(
  connection: Connection & Partial<Pick<pg.Client, 'connection'>>,
  give: () => readonly Promise<void>[],
): Promise<void> {
  const settled = await Promise.allSettled(atOnce(connection, give))
  const failed = settled.find(each => each.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

/** In one write: each would be a system call, and wake the database up, by itself. */
function atOnce<Result>({ connection }: Partial<Pick<pg.Client, 'connection'>>, give: () => Result): Result {
  connection?.stream.cork()
  try {
    return give()
  } finally {
    connection?.stream.uncork()
  }
}

const PLAIN_ELEMENT = /^[0-9A-Za-z_:/.-]+$/

type Element = string | bigint | number | boolean | null | undefined

/**
 * The text form of an array parameter. The driver's own escapes every element, which costs more than all else that a
 * batch of rows costs here.
 */
export function arrayOf(values: readonly Element[]): string {
  return plainArrayOf(values.map(value => (typeof value === 'string' && !isPlain(value) ? quoted(value) : value)))
}

/** The same of elements that stand for themselves: UUIDs, numbers, times, and words of our own. */
export function plainArrayOf(values: readonly Element[]): string {
  let text = '{'
  for (const value of values) {
    if (text.length > 1) text += ','
    text += value === null || value === undefined ? 'null' : value
  }
  return `${text}}`
}

/** Whether an element stands for itself; the word null would be none. */
function isPlain(value: string): boolean {
  return PLAIN_ELEMENT.test(value) && (value.length !== 4 || value.toLowerCase() !== 'null')
}

function quoted(value: string): string {
  return `"${value.replace(/["\\]/g, '\\$&')}"`
}

/** What the network and PostgreSQL say when nobody is there, or nobody takes work. */
const AWAY =
  /^(?:08...|53...|57P0.|ECONN(?:REFUSED|RESET|ABORTED)|ENOENT|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|E(?:HOST|NET)UNREACH)$/

/** Whether an error says that the database could not be had; nothing is wrong with what was asked of it. */
export function isAway(error: unknown): boolean {
  if (AWAY.test(codeOf(error))) return true
  // The driver has no codes for these.
  return (
    error instanceof Error &&
    /^Connection terminated|^timeout exceeded when trying to connect|^Client has encountered a connection error/.test(
      error.message,
    )
  )
}

/** The SQLSTATE or system code of an error; empty when it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}
