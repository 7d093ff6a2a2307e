import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, chown, lstat, mkdtemp, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import type { Binaries } from './binaries.ts'
import { codeOf, explainOutput, PostgresStartError } from './errors.ts'
import type { ServerUser } from './server-user.ts'

/** The database user that owns everything in the cluster. */
export const SUPERUSER = 'legwork'
const HALF_MADE = 'postgres.init-'
const OUTPUT_LIMIT = 4096

const MEBIBYTE = 2 ** 20

/**
 * A quarter of the memory there is, as PostgreSQL's manual has it ("Resource Consumption"), within bounds. It is taken only
 * as it is used: by the indexes of a ledger that has filled, where each new entry goes to a page of its own.
 */
function sharedBuffers(): string {
  // Zero, or more than there is: no limit is set.
  const limit = process.constrainedMemory()
  const memory = limit > 0 ? Math.min(limit, totalmem()) : totalmem()
  return `${Math.round(Math.min(Math.max(memory / 4 / MEBIBYTE, 128), 4096))}MB`
}

/**
 * Written into a new cluster's `postgresql.conf`, where an operator may change them. What durability rests on is not here
 * but on the server's command line.
 */
const NEW_CLUSTER_SETTINGS = [
  `shared_buffers=${sharedBuffers()}`,
  'max_wal_size=4GB',
  'checkpoint_timeout=15min',
  'checkpoint_completion_target=0.9',
  'wal_buffers=16MB',
  'wal_compression=off',
  'max_connections=50',
  'jit=off',
  'autovacuum=on',
]

/**
 * A new file of the log is filled with zeros while everybody who commits waits: of 16 MB, as is usual, for 50 ms under load.
 * Smaller ones come more often, and nobody notices.
 */
const WAL_SEGMENT_MB = 4

/** `/proc/self/cwd` is looked up without passing the folders above it, which may be closed to the server's user. */
export function dataArgument(cluster: string): string {
  return process.platform === 'linux' ? '/proc/self/cwd' : cluster
}

/** What a server or initdb gets from our environment: nothing, so that no `PG...` variable can redirect it. */
export const SERVER_ENVIRONMENT = { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/bin:/bin' } as const

/**
 * Makes the cluster where there is none, and otherwise checks that these binaries can use it. A kill at any moment leaves
 * either no cluster or a whole one. Throws `VERSION_MISMATCH`, `CLUSTER_DAMAGED`, or what initdb failed with.
 */
export async function prepareCluster(
  cluster: string,
  secretPath: string,
  binaries: Binaries,
  user: ServerUser | undefined,
  log: (message: string) => void,
): Promise<void> {
  await removeHalfMade(cluster)
  if (await isAbsent(cluster)) {
    log(`making a new database in ${cluster}`)
    await makeCluster(cluster, await ensurePassword(secretPath), binaries, user)
    return
  }
  await checkVersion(cluster, binaries)
  const { mode, uid } = await stat(cluster)
  // Copies and restored backups often are root's, or open to others; PostgreSQL starts with neither.
  if (user !== undefined && uid === 0) await giveTo(user, cluster)
  if ((mode & 0o027) !== 0) await chmod(cluster, 0o700)
}

/** The superuser's password. Throws `SECRET_UNUSABLE` when the file is missing or empty. */
export async function readPassword(secretPath: string): Promise<string> {
  const text = await readFile(secretPath, 'utf8').catch(error => {
    if (codeOf(error) === 'ENOENT') return ''
    throw error
  })
  if (text.trim() !== '') return text.trim()
  throw new PostgresStartError(
    'SECRET_UNUSABLE',
    `There is a database, but its password is missing: ${secretPath}`,
    'Put the file back from the same backup as the database folder; the two belong together.',
  )
}

async function isAbsent(cluster: string): Promise<boolean> {
  try {
    return (await readdir(cluster)).length === 0
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return true
    throw error
  }
}

async function checkVersion(cluster: string, binaries: Binaries): Promise<void> {
  const found = await readFile(join(cluster, 'PG_VERSION'), 'utf8').catch(error => {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  })
  if (found === undefined) {
    throw new PostgresStartError(
      'CLUSTER_DAMAGED',
      `The folder ${cluster} is not empty, yet it is no PostgreSQL database: it has no PG_VERSION`,
      'Move the folder away to begin with an empty database, or restore the last backup.',
    )
  }
  if (found.trim() === binaries.major) return
  throw new PostgresStartError(
    'VERSION_MISMATCH',
    `The database in ${cluster} was made by PostgreSQL ${found.trim()}, this Legwork brings PostgreSQL ${binaries.version}`,
    `Start it with the Legwork that brought PostgreSQL ${found.trim()}, export the data there, and import it into a new data folder.`,
  )
}

/** Kept from an initdb that was killed; the new cluster is made with it. */
async function ensurePassword(secretPath: string): Promise<string> {
  try {
    return await readPassword(secretPath)
  } catch (error) {
    if (codeOf(error) !== 'SECRET_UNUSABLE') throw error
  }
  const password = randomBytes(24).toString('base64url')
  const draft = `${secretPath}.new`
  await rm(draft, { force: true })
  await using file = await open(draft, 'wx', 0o600)
  await file.writeFile(`${password}\n`)
  await file.sync()
  await rename(draft, secretPath)
  return password
}

async function makeCluster(cluster: string, password: string, binaries: Binaries, user: ServerUser | undefined) {
  const draft = await mkdtemp(join(dirname(cluster), HALF_MADE))
  try {
    if (user !== undefined) await chown(draft, user.uid, user.gid)
    await runInitdb(draft, password, binaries, user)
    // initdb has synced what is in the folder; the name it gets has to be as durable.
    await rename(draft, cluster)
    await using parent = await open(dirname(cluster), 'r')
    await parent.sync()
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

async function runInitdb(folder: string, password: string, binaries: Binaries, user: ServerUser | undefined) {
  const args = [
    ...['-D', dataArgument(folder), '--pwfile=/dev/stdin', `--username=${SUPERUSER}`],
    ...[
      `--wal-segsize=${WAL_SEGMENT_MB}`,
      '--locale=C.UTF-8',
      '--encoding=UTF8',
      '--auth=scram-sha-256',
      '--data-checksums',
    ],
    ...NEW_CLUSTER_SETTINGS.flatMap(setting => ['--set', setting]),
  ]
  await using input = await passwordInput(`${folder}.password`, password, user)
  const { ended, output } = await run(binaries.initdb, args, {
    cwd: folder,
    env: SERVER_ENVIRONMENT,
    // As the server is: Ctrl-C at the terminal reaches us alone, and what we do about it is not an initdb that failed.
    detached: true,
    stdio: [input.fd, 'pipe', 'pipe'],
    ...(user && { uid: user.uid, gid: user.gid }),
  })
  if (ended !== 0) throw explainOutput(`initdb ended with ${ended}`, dirname(folder), output)
}

/** An open file without a name: the server's user can read it through any closed folder, and no kill leaves it behind. */
async function passwordInput(path: string, password: string, user: ServerUser | undefined) {
  await using file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(`${password}\n`)
    if (user !== undefined) await file.chown(user.uid, user.gid)
    return await open(path, 'r')
  } finally {
    await rm(path, { force: true })
  }
}

type RunOptions = Parameters<typeof spawn>[2]

async function run(program: string, args: readonly string[], options: RunOptions) {
  const child = spawn(program, args, options)
  let output = ''
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-OUTPUT_LIMIT)
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  return await new Promise<{ readonly ended: number | string; readonly output: string }>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ ended: code ?? signal ?? 'no status', output }))
  })
}

/** What a killed initdb left; nobody else makes one, this process holds the folder. */
async function removeHalfMade(cluster: string): Promise<void> {
  const parent = dirname(cluster)
  const names = (await readdir(parent)).filter(name => name.startsWith(HALF_MADE))
  for (const name of names) await rm(join(parent, name), { recursive: true, force: true })
}

async function giveTo(user: ServerUser, folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name)
    // A link is left alone: what it leads to may be anything.
    if (!(await lstat(path)).isSymbolicLink()) await chown(path, user.uid, user.gid)
  }
  await chown(folder, user.uid, user.gid)
}
