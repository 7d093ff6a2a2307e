import { existsSync } from 'node:fs'
import { mkdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { findBinaries } from './binaries.ts'
import { prepareCluster, readPassword, SUPERUSER } from './cluster.ts'
import { codeOf, explainFileError, PostgresStartError } from './errors.ts'
import { type FolderLock, lockDataFolder } from './folder-lock.ts'
import {
  foundServer,
  isPostgresOf,
  type PostmasterFile,
  readPostmasterFile,
  type ServerProcess,
  stopServer,
} from './processes.ts'
import { type Address, DATABASE, type Limits, PORT, prepareDatabase, waitForAnswer } from './readiness.ts'
import { DURABLE_SETTINGS, removeSocketDirectory, startServer } from './server.ts'
import { type ServerLog, serverLog } from './server-log.ts'
import { chooseServerUser, type ServerUser } from './server-user.ts'

export { DataFolderInUseError, PostgresStartError, type PostgresStartErrorCode } from './errors.ts'

/*
 * The PostgreSQL that comes with Legwork. In the data folder:
 *
 *   legwork.pid       the process that owns the folder (folder-lock.ts)
 *   postgres/         PostgreSQL's cluster, with its socket; postgres.init-* while it is being made
 *   postgres.secret   its superuser's password
 *   postgres.log      what it says
 *
 * Who runs is decided by what lives, never by what a file says: a pid counts only when that process is a postgres at work
 * in this very folder. A server whose Legwork was killed goes on, and the next start takes it over.
 */

/** A running PostgreSQL and the right to its data folder. */
export interface EmbeddedPostgres {
  /** What a `pg` pool takes; `host` is the folder of the Unix socket. */
  readonly connection: {
    readonly host: string
    readonly port: number
    readonly user: string
    readonly password: string
    readonly database: string
  }
  readonly serverPid: number
  /** True when a running server of this folder was taken over. */
  readonly adopted: boolean
  /** Resolves, with the last lines of its log, when the server ends without `stop`; never rejects. */
  readonly lost: Promise<string>
  /**
   * Shuts the server down (fast; after 20 s immediately), waits for its end and gives the data folder back. Idempotent.
   * Rejects with `WILL_NOT_STOP` only when not even SIGKILL ends it.
   */
  stop(): Promise<void>
}

export interface EmbeddedPostgresOptions {
  /** Legwork's data folder; made (0700) where it is missing. */
  readonly dataDir: string
  readonly log?: (message: string) => void
  /** In milliseconds; for tests. */
  readonly limits?: Partial<Limits>
}

const RETRY_MS = 100

const LIMITS: Limits = {
  recoveryMs: 60_000,
  silentMs: 10_000,
  fastStopMs: 20_000,
  immediateStopMs: 5_000,
  predecessorMs: 20_000,
}

/**
 * Starts the PostgreSQL of a data folder, or takes over the one still running there. Throws `DataFolderInUseError` when
 * another live process holds the folder, `PostgresStartError` otherwise; then no server started here is left behind.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  let lock: FolderLock | undefined
  try {
    await mkdir(options.dataDir, { recursive: true, mode: 0o700 })
    // The real path: a server is recognised by it, and a link may point elsewhere at the next start.
    const dataDir = await realpath(options.dataDir)
    lock = await lockDataFolder(dataDir)
    return await startLocked(dataDir, lock, options)
  } catch (error) {
    await lock?.release()
    throw explainFileError(error, options.dataDir)
  }
}

/** Whether a data folder holds a database, running or not. */
export function hasCluster(dataDir: string): boolean {
  return existsSync(join(dataDir, 'postgres', 'PG_VERSION'))
}

/**
 * Where the server of a data folder answers that another process runs, once it does; null when there is none, or it does
 * not answer. Starts and stops nothing.
 */
export async function runningPostgres(dataDir: string): Promise<EmbeddedPostgres['connection'] | null> {
  const cluster = await realpath(join(dataDir, 'postgres'))
  const file = await runningHere(cluster, LIMITS.silentMs)
  if (file === undefined || file.singleUser) return null
  const password = await readPassword(join(dataDir, 'postgres.secret'))
  const address = { host: file.socketDir ?? cluster, port: file.port ?? PORT, password }
  const answer = await waitForAnswer(address, foundServer(cluster, file.pid), LIMITS.silentMs, LIMITS.recoveryMs)
  return answer === 'ready' ? { ...address, user: SUPERUSER, database: DATABASE } : null
}

interface Place {
  readonly dataDir: string
  readonly cluster: string
  readonly secret: string
  readonly user: ServerUser | undefined
  readonly serverLog: ServerLog
  readonly limits: Limits
  readonly say: (message: string) => void
}

interface Running {
  readonly server: ServerProcess
  readonly address: Address
  readonly adopted: boolean
}

async function startLocked(dataDir: string, lock: FolderLock, options: EmbeddedPostgresOptions) {
  const cluster = await realpath(join(dataDir, 'postgres')).catch(() => join(dataDir, 'postgres'))
  const place: Place = {
    dataDir,
    cluster,
    secret: join(dataDir, 'postgres.secret'),
    user: await chooseServerUser(cluster),
    serverLog: serverLog(join(dataDir, 'postgres.log')),
    limits: { ...LIMITS, ...options.limits },
    say: options.log ?? (() => {}),
  }
  const running = await run(place)
  try {
    await prepareDatabase(running.address, DURABLE_SETTINGS)
  } catch (error) {
    // A server found running is left as it was found.
    if (!running.adopted) await stopServer(running.server, place.limits)
    throw error
  }
  place.say(`PostgreSQL ${running.adopted ? 'taken over' : 'started'}, process ${running.server.pid}`)
  return handleOf(running, place, lock)
}

/**
 * Adopts or starts, and while something of a predecessor is in the way, again: the children of a killed server end within
 * moments, and a server whose Legwork was killed at once may only now have written its `postmaster.pid`.
 */
async function run(place: Place): Promise<Running> {
  const giveUpAt = performance.now() + place.limits.predecessorMs
  while (true) {
    const adopted = await adopt(place)
    if (adopted !== undefined) return adopted
    try {
      return await start(place)
    } catch (error) {
      if (codeOf(error) !== 'STILL_IN_USE' || performance.now() > giveUpAt) throw error
      await delay(RETRY_MS)
    }
  }
}

/** The server still running here, once it answers; one that does not answer is stopped and counts as none. */
async function adopt(place: Place): Promise<Running | undefined> {
  const { cluster, limits, say } = place
  const file = await runningHere(cluster, limits.silentMs)
  if (file === undefined) return undefined
  if (file.singleUser) throw personAtWork(cluster, file.pid)
  say(`PostgreSQL of this folder is still running, process ${file.pid}`)
  const server = foundServer(cluster, file.pid)
  const password = await readPassword(place.secret)
  const address = { host: file.socketDir ?? cluster, port: file.port ?? PORT, password }
  const answer = await waitForAnswer(address, server, limits.silentMs, limits.recoveryMs)
  if (answer === 'ready') return { server, address, adopted: true }
  if (answer === 'silent') {
    say(`it does not answer and is being stopped`)
    await stopServer(server, limits)
  }
  await removeSocketDirectory(address.host)
  return undefined
}

/** What the running server says of itself; the socket's folder comes a moment after its pid. */
async function runningHere(cluster: string, ms: number): Promise<PostmasterFile | undefined> {
  const giveUpAt = performance.now() + ms
  while (true) {
    const file = await readPostmasterFile(cluster)
    if (file === undefined || !(await isPostgresOf(cluster, file.pid))) return undefined
    if (file.socketDir !== undefined || file.singleUser || performance.now() > giveUpAt) return file
    await delay(RETRY_MS)
  }
}

async function start(place: Place): Promise<Running> {
  const { cluster, dataDir, secret, user, limits, say } = place
  const binaries = await findBinaries({ user, dataDir })
  await prepareCluster(cluster, secret, binaries, user, say)
  const password = await readPassword(secret)
  const started = await startServer({ cluster, binaries, user, password, log: place.serverLog, limits })
  return { ...started, adopted: false }
}

function handleOf({ server, address, adopted }: Running, place: Place, lock: FolderLock): EmbeddedPostgres {
  let stopped: Promise<void> | undefined
  const stop = async () => {
    try {
      await stopServer(server, place.limits)
      await removeSocketDirectory(address.host)
      place.say('PostgreSQL stopped')
    } finally {
      await lock.release()
    }
  }
  const lost = Promise.withResolvers<string>()
  void server.exited.then(async () => {
    if (stopped === undefined) lost.resolve(await place.serverLog.lastLines())
  })
  return {
    connection: { ...address, user: SUPERUSER, database: DATABASE },
    serverPid: server.pid,
    adopted,
    lost: lost.promise,
    stop: async () => {
      stopped ??= stop()
      await stopped
    },
  }
}

function personAtWork(cluster: string, pid: number): PostgresStartError {
  return new PostgresStartError(
    'STILL_IN_USE',
    `Someone works in ${cluster} with PostgreSQL in single-user mode, process ${pid}`,
    'Let that work end, then start again.',
  )
}
