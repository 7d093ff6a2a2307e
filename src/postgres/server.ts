import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Binaries } from './binaries.ts'
import { dataArgument, SERVER_ENVIRONMENT } from './cluster.ts'
import { explainOutput, PostgresStartError } from './errors.ts'
import { isPostgresOf, isTaken, readPostmasterFile, type ServerProcess, stopServer } from './processes.ts'
import { type Address, type Limits, PORT, waitForAnswer } from './readiness.ts'
import type { ServerLog } from './server-log.ts'
import type { ServerUser } from './server-user.ts'

/** Given on the command line, which neither `postgresql.conf` nor `alter system` overrides: a commit is on the disk. */
export const DURABLE_SETTINGS = { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' } as const

const SOCKET_PREFIX = 'legwork-socket-'
/** The kernel's `sun_path`, less the byte that ends it. */
const SOCKET_PATH_BYTES = process.platform === 'linux' ? 107 : 103

export interface NewServer {
  readonly cluster: string
  readonly binaries: Binaries
  readonly user: ServerUser | undefined
  readonly password: string
  readonly log: ServerLog
  readonly limits: Limits
}

/**
 * Starts a server as our child and waits until it answers; on failure none is left behind. It runs in a process group of
 * its own, so Ctrl-C at the terminal reaches us alone and the program drains before its database goes. Throws
 * `STILL_IN_USE` when processes of a killed predecessor, or a predecessor only just starting, keep it from starting.
 */
export async function startServer(options: NewServer): Promise<{ server: ServerProcess; address: Address }> {
  const { cluster, limits } = options
  await dropForeignPostmasterFile(cluster)
  const host = await socketDirectory(cluster, options.user)
  try {
    const server = await launch(options, host)
    const address = { host, port: PORT, password: options.password }
    await mustAnswer(address, server, options).catch(async error => {
      await stopServer(server, limits)
      throw error
    })
    return { server, address }
  } catch (error) {
    await removeSocketDirectory(host)
    throw error
  }
}

async function mustAnswer(address: Address, server: ServerProcess, { cluster, limits, log }: NewServer) {
  const answer = await waitForAnswer(address, server, limits.recoveryMs, limits.recoveryMs)
  if (answer === 'ready') return
  const output = await log.lastLines()
  throw answer === 'exited' ? explainOutput('the server ended', cluster, output) : noAnswer(cluster, output, limits)
}

/** Removes a socket directory made outside the data folder. */
export async function removeSocketDirectory(host: string): Promise<void> {
  if (basename(host).startsWith(SOCKET_PREFIX)) await rm(host, { recursive: true, force: true })
}

async function launch(options: NewServer, host: string): Promise<ServerProcess> {
  const { cluster, binaries, user, log } = options
  await using output = await log.open()
  const child = spawn(binaries.postgres, serverArguments(cluster, host), {
    cwd: cluster,
    env: SERVER_ENVIRONMENT,
    detached: true,
    stdio: ['ignore', output.fd, output.fd],
    ...(user && { uid: user.uid, gid: user.gid }),
  })
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
  await once(child, 'spawn')
  child.unref()
  return {
    pid: child.pid ?? 0,
    exited,
    // Node sends nothing to a child it has reaped, and until then its pid cannot be another's.
    signal: async name => {
      child.kill(name)
    },
  }
}

function serverArguments(cluster: string, host: string): readonly string[] {
  // The list of directories is split at commas, unless quoted; '.' is the cluster, whatever lies above it.
  const socketDirectory = host === cluster ? '.' : `"${host.replaceAll('"', '""')}"`
  const settings = {
    listen_addresses: '',
    port: String(PORT),
    unix_socket_directories: socketDirectory,
    unix_socket_permissions: '0700',
    logging_collector: 'off',
    log_destination: 'stderr',
    ...DURABLE_SETTINGS,
  }
  return [
    ...['-D', dataArgument(cluster)],
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ]
}

/** The cluster itself (0700) where the path fits, else a new folder for temporary files. */
async function socketDirectory(cluster: string, user: ServerUser | undefined): Promise<string> {
  if (Buffer.byteLength(join(cluster, `.s.PGSQL.${PORT}`)) <= SOCKET_PATH_BYTES) return cluster
  const folder = await mkdtemp(join(tmpdir(), SOCKET_PREFIX))
  if (user !== undefined) await chown(folder, user.uid, user.gid)
  return folder
}

/**
 * PostgreSQL itself clears away the file of a dead process, but refuses to start while the pid in it, meanwhile another
 * program's, is alive. Its guard against two servers is the shared memory, which stays in force.
 */
async function dropForeignPostmasterFile(cluster: string): Promise<void> {
  const file = await readPostmasterFile(cluster)
  if (file === undefined || (await isPostgresOf(cluster, file.pid))) return
  await removeSocketDirectoryOf(file.socketDir)
  if (!isTaken(file.pid)) return
  await rm(join(cluster, 'postmaster.pid'), { force: true })
}

/** Only what lies where we make them: the file's words are not to remove anything else. */
async function removeSocketDirectoryOf(folder: string | undefined): Promise<void> {
  if (folder !== undefined && dirname(folder) === tmpdir()) await removeSocketDirectory(folder)
}

function noAnswer(cluster: string, output: string, limits: Limits): PostgresStartError {
  return new PostgresStartError(
    'NO_ANSWER',
    `PostgreSQL in ${cluster} did not answer within ${limits.recoveryMs / 1000} s and was stopped. Its last words:\n${output}`,
    'If it was recovering from a crash, start again: it goes on where it was. Otherwise look at postgres.log.',
  )
}
