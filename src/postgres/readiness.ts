import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { SUPERUSER } from './cluster.ts'
import { codeOf, PostgresStartError } from './errors.ts'
import type { ServerProcess } from './processes.ts'

/** The number in the socket's name; nothing listens on TCP. */
export const PORT = 5432
/** The database the program works in. */
export const DATABASE = 'legwork'
const CONNECT_MS = 2000
const RETRY_MS = 20

/** How long the supervisor waits for what, all in milliseconds. */
export interface Limits {
  /** For a server that says it is starting, recovering or shutting down. */
  readonly recoveryMs: number
  /** For a running server found that says nothing at all. */
  readonly silentMs: number
  readonly fastStopMs: number
  readonly immediateStopMs: number
  /** For the last processes of a killed server to end. */
  readonly predecessorMs: number
}

export interface Address {
  /** The socket's folder. */
  readonly host: string
  readonly port: number
  readonly password: string
}

/**
 * Connects until that succeeds: `ready`. `exited` when the server ends first; `silent` when it has said nothing for
 * `silentMs`, or has not become ready within `recoveryMs`. Throws when it answers that we may not come in.
 */
export async function waitForAnswer(
  address: Address,
  server: ServerProcess,
  silentMs: number,
  recoveryMs: number,
): Promise<'ready' | 'exited' | 'silent'> {
  const start = performance.now()
  let heard = false
  const exited = server.exited.then(() => 'exited' as const)
  while (performance.now() - start < (heard ? recoveryMs : silentMs)) {
    const answer = await Promise.race([exited, tryConnecting(address)])
    if (answer === 'exited' || answer === 'ready') return answer
    heard ||= answer === 'busy'
    if ((await Promise.race([exited, delay(RETRY_MS)])) === 'exited') return 'exited'
  }
  return 'silent'
}

async function tryConnecting(address: Address): Promise<'ready' | 'busy' | 'no answer'> {
  try {
    await withClient(address, 'postgres', async () => {})
    return 'ready'
  } catch (error) {
    const code = codeOf(error)
    // Starting, recovering or shutting down; or all its connections are taken.
    if (code === '57P03' || code === '53300') return 'busy'
    if (!/^[0-9A-Z]{5}$/.test(code) || code.startsWith('E')) return 'no answer'
    throw refused(address, error)
  }
}

/**
 * Makes the program's database where it is missing and checks, in a session of the program's own, that commits are
 * durable: a setting of the database or of its user would override the server's. Throws `UNSAFE_SETTINGS`.
 */
export async function prepareDatabase(address: Address, settings: Readonly<Record<string, string>>): Promise<void> {
  await withClient(address, 'postgres', async client => {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE])
    if (rowCount === 0) await client.query(`create database ${DATABASE}`)
  })
  await withClient(address, DATABASE, async client => {
    for (const [name, wanted] of Object.entries(settings)) {
      const { rows } = await client.query(`show ${name}`)
      if (rows[0]?.[name] !== wanted) throw unsafe(address, name, String(rows[0]?.[name]), wanted)
    }
  })
}

async function withClient(address: Address, database: string, work: (client: pg.Client) => Promise<void>) {
  const client = new pg.Client({
    ...address,
    user: SUPERUSER,
    database,
    ssl: false,
    connectionTimeoutMillis: CONNECT_MS,
    application_name: 'legwork supervisor',
  })
  // A connection that breaks also rejects what is being awaited; without a listener it would end the process as well.
  client.on('error', () => {})
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}

function refused(address: Address, cause: unknown): PostgresStartError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  if (!codeOf(cause).startsWith('28')) {
    return new PostgresStartError(
      'START_FAILED',
      `PostgreSQL in ${address.host} runs but refuses to be used: ${reason}`,
      'The reason given is the server’s own; postgres.log in the data folder has the rest.',
      { cause },
    )
  }
  return new PostgresStartError(
    'SECRET_UNUSABLE',
    `PostgreSQL in ${address.host} does not take the password kept in postgres.secret: ${reason}`,
    'Put back the postgres.secret that belongs to this database folder, from the same backup.',
    { cause },
  )
}

function unsafe(address: Address, name: string, found: string, wanted: string): PostgresStartError {
  return new PostgresStartError(
    'UNSAFE_SETTINGS',
    `PostgreSQL in ${address.host} runs with ${name} = ${found}: commits could be lost, Legwork needs ${wanted}`,
    `Remove the setting: alter role ${SUPERUSER} reset ${name}; alter database ${DATABASE} reset ${name}.`,
  )
}
