import { execFile } from 'node:child_process'
import { readFile, readlink, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { codeOf, PostgresStartError } from './errors.ts'

const run = promisify(execFile)
const onLinux = process.platform === 'linux'

/**
 * What tells this run of a pid from a later process that got the same number: boot and clock ticks on Linux, the start
 * time of `ps` elsewhere. `undefined` when no such process runs (a zombie does not run).
 */
export async function startOf(pid: number): Promise<string | undefined> {
  if (!onLinux) return await ps(pid, 'lstart=')
  const line = await readIfThere(`/proc/${pid}/stat`)
  if (line === undefined) return undefined
  // The name of the program, in parentheses, may itself hold blanks and parentheses; after it comes field 3.
  const [state, ...fields] = line.slice(line.lastIndexOf(')') + 2).split(' ')
  if (state === 'Z' || state === 'X') return undefined
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
  return `${boot.trim()}:${fields[18]}`
}

/** What a server wrote into its `postmaster.pid`; the fields that come later are missing while it starts. */
export interface PostmasterFile {
  readonly pid: number
  /** True for a single-user backend: a person is at work in the folder. */
  readonly singleUser: boolean
  readonly port: number | undefined
  /** Absolute. */
  readonly socketDir: string | undefined
}

/** The `postmaster.pid` of a cluster folder; `undefined` when there is none or it names no process. */
export async function readPostmasterFile(cluster: string): Promise<PostmasterFile | undefined> {
  const text = await readIfThere(join(cluster, 'postmaster.pid'))
  const lines = (text ?? '').split('\n').map(line => line.trim())
  const pid = Number(lines[0])
  // A number such as 0 or 1 would make a signal go to a whole group, or to init.
  if (!Number.isSafeInteger(pid) || Math.abs(pid) <= 1) return undefined
  const port = Number(lines[3])
  return {
    pid: Math.abs(pid),
    singleUser: pid < 0,
    port: port > 0 ? port : undefined,
    socketDir: lines[4] ? resolve(cluster, lines[4].split(',')[0] ?? '') : undefined,
  }
}

/** True when the process runs, is a `postgres`, and works in this cluster folder. Never true on doubt. */
export async function isPostgresOf(cluster: string, pid: number): Promise<boolean> {
  if (!onLinux) {
    const [command, text] = await Promise.all([
      ps(pid, 'comm='),
      readIfThere(join(cluster, 'postmaster.pid')).catch(() => undefined),
    ])
    const [writtenPid, dataDir] = (text ?? '').split('\n')
    return basename(command ?? '') === 'postgres' && Number(writtenPid) === pid && dataDir === cluster
  }
  try {
    // Compared by inode: the folder of a running server may have been renamed.
    const program = await readlink(`/proc/${pid}/exe`)
    const [its, ours] = await Promise.all([stat(`/proc/${pid}/cwd`), stat(cluster)])
    return basename(program.replace(/ \(deleted\)$/, '')) === 'postgres' && its.dev === ours.dev && its.ino === ours.ino
  } catch {
    // Gone, a zombie, or another user's: the cluster folder belongs to the user its server runs as.
    return false
  }
}

/** True when some process has this pid, a zombie and another user's included: what PostgreSQL's own check sees. */
export function isTaken(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

/** A running server, started here or found. */
export interface ServerProcess {
  readonly pid: number
  readonly exited: Promise<void>
  /** Sends a signal, unless the process is no longer this folder's server. */
  signal(name: NodeJS.Signals): Promise<void>
}

const POLL_MS = onLinux ? 100 : 1000

/** A server that is not our child, watched by looking. The watching does not keep the program alive. */
export function foundServer(cluster: string, pid: number): ServerProcess {
  const watch = async () => {
    while (await isPostgresOf(cluster, pid)) await delay(POLL_MS, undefined, { ref: false })
  }
  return {
    pid,
    exited: watch(),
    signal: async name => {
      if (!(await isPostgresOf(cluster, pid))) return
      try {
        process.kill(pid, name)
      } catch (error) {
        if (codeOf(error) !== 'ESRCH') throw error
      }
    },
  }
}

/** True when the process has ended within the time. */
export async function exitsWithin(server: ServerProcess, ms: number): Promise<boolean> {
  const cancel = new AbortController()
  const late = delay(ms, false, { signal: cancel.signal }).catch(() => false)
  const ended = await Promise.race([server.exited.then(() => true), late])
  cancel.abort()
  return ended
}

/** Stops a server: fast, then immediate, then by SIGKILL. Safe at every step, the next start recovers what was committed. */
export async function stopServer(
  server: ServerProcess,
  times: { readonly fastStopMs: number; readonly immediateStopMs: number },
): Promise<void> {
  if (await exitsWithin(server, 0)) return
  const steps = [
    ['SIGINT', times.fastStopMs],
    ['SIGQUIT', times.immediateStopMs],
    // Only a stopped (SIGSTOP) or hanging process ignores SIGQUIT. Its memory is guarded until its children are gone too.
    ['SIGKILL', times.immediateStopMs],
  ] as const
  for (const [signal, ms] of steps) {
    await server.signal(signal)
    if (await exitsWithin(server, ms)) return
  }
  throw new PostgresStartError(
    'WILL_NOT_STOP',
    `PostgreSQL (process ${server.pid}) does not end, not even when killed`,
    'It probably waits for a disk that does not answer: look at the disk, then at the process.',
  )
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    // ESRCH: the process ended while its /proc file was being read.
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return undefined
    throw error
  }
}

async function ps(pid: number, column: string): Promise<string | undefined> {
  try {
    const { stdout } = await run('ps', ['-o', column, '-p', String(pid)], {
      env: { LC_ALL: 'C', PATH: '/bin:/usr/bin' },
    })
    return stdout.trim() || undefined
  } catch {
    return undefined
  }
}
