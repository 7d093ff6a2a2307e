import type { Socket } from 'node:net'
import pg from 'pg'
import { runStatements, type Statement } from './statements.ts'

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

const KEEP_ALIVE_MS = 30_000
/** Longer than any statement of a server takes: a bulk retry of very many letters is the longest. */
const SILENCE_MS = 60_000

/** A pool of connections; `int8` comes back as bigint, `numeric` as text, so that no amount ever is a float. */
export function openDatabase(address: DatabaseAddress, connections: number): Database {
  const target = 'url' in address ? { connectionString: address.url } : address
  const pool = new pg.Pool({
    ...target,
    max: connections,
    application_name: 'legwork',
    connectionTimeoutMillis: CONNECT_MS,
    // One that nobody uses for hours (a lock's) is found to be dead as well.
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    options: PLANS,
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

/**
 * From now on a connection on which a statement has had no answer for so long counts as broken. Where a network drops what it
 * carries without a word, whoever waits would wait for ever, and keep the lease of what is in work. Not for who reads whole
 * tables, nor while migrations run.
 */
export function limitSilence(database: Database, silenceMs = SILENCE_MS): void {
  const limited = new WeakSet<pg.PoolClient>()
  database.on('acquire', client => {
    if (limited.has(client)) return
    limited.add(client)
    const wired = client as unknown as Wired
    const { stream } = wired.connection
    stream.setTimeout(silenceMs)
    stream.on('timeout', () => {
      // One that is idle, or waits for us within its transaction, owes no answer.
      if (wired.readyForQuery) return
      const error = new Error(`the database has not answered in ${silenceMs} ms`)
      stream.destroy(Object.assign(error, { code: 'ETIMEDOUT' }))
    })
  })
}

/** What the driver's client has; its published types leave it out. */
interface Wired {
  readonly connection: { readonly stream: Socket }
  /** False: a statement is under way. */
  readonly readyForQuery: boolean
}

/** Errors after which the same transaction may simply be run again. */
const SERIALIZATION_FAILURES: ReadonlySet<string> = new Set(['40001', '40P01'])
const ATTEMPTS = 5

/**
 * Runs `work` in one transaction; again, at most five times, where the database asks for that.
 *
 * @param races further SQLSTATEs that mean "somebody else was first, look again".
 */
export function transaction<Result>(
  database: Database,
  work: (connection: Connection) => Promise<Result>,
  races: ReadonlySet<string> = new Set(),
): Promise<Result> {
  return repeating(races, () =>
    onConnection(database, async connection => {
      await connection.query('begin')
      const result = await work(connection)
      const { command } = await connection.query('commit')
      // Where `work` swallowed an error of a statement, PostgreSQL answers a commit with a rollback, and no error.
      if (command !== 'COMMIT') throw new Error(`a transaction ended in ${command}, since an error in it was swallowed`)
      return result
    }),
  )
}

/** All statements, or none, in one transaction and one round trip; again, as above. */
export async function writeAll(database: Database, statements: readonly Statement[]): Promise<void> {
  if (statements.length === 0) return
  await repeating(new Set(), () => onConnection(database, connection => runStatements(connection, statements)))
}

export interface StepsOptions {
  /** How long a statement waits for another transaction before it fails (55P03). */
  readonly lockTimeoutMs: number
  /** Between the steps; null: there is nothing to wait for, and the two are one. */
  readonly between: (() => Promise<void>) | null
}

/** Statements in two steps that are one transaction, once. */
export async function writeInSteps(
  database: Database,
  first: readonly Statement[],
  last: readonly Statement[],
  { lockTimeoutMs, between }: StepsOptions,
): Promise<void> {
  const begun = [BEGIN, lockTimeout(lockTimeoutMs), ...first]
  const ended = [...last, COMMIT]
  await onConnection(database, async connection => {
    if (between === null) return await runStatements(connection, [...begun, ...ended])
    await runStatements(connection, begun)
    await between()
    await runStatements(connection, ended)
  })
}

const BEGIN: Statement = { name: 'begin', text: 'begin', values: [] }
const COMMIT: Statement = { name: 'commit', text: 'commit', values: [] }

function lockTimeout(ms: number): Statement {
  return { name: `lock-timeout-${ms}`, text: `set local lock_timeout = ${ms}`, values: [] }
}

async function repeating<Result>(races: ReadonlySet<string>, run: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run()
    } catch (error) {
      const isRace = SERIALIZATION_FAILURES.has(codeOf(error)) || races.has(codeOf(error))
      if (attempt === ATTEMPTS || !isRace) throw error
    }
  }
}

/** Nothing that has failed stays open on the connection, and one that is broken is not used again. */
async function onConnection<Result>(
  database: Database,
  work: (connection: Connection) => Promise<Result>,
): Promise<Result> {
  const connection = await database.connect()
  let broken: Error | undefined
  try {
    return await work(connection)
  } catch (error) {
    await connection.query('rollback').catch((rollbackError: Error) => {
      broken = rollbackError
    })
    throw error
  } finally {
    connection.release(broken)
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
