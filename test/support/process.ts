/**
 * Legwork as its users have it: `bin/legwork` as a process of its own, in a folder of the test's own. Waiting is for
 * conditions and ends with a deadline; whatever was started is ended by `close`, whether the test went well or not.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, readlink, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Database, openDatabase } from '../../src/db.ts'
import { foundServer, isPostgresOf, readPostmasterFile, stopServer } from '../../src/postgres/processes.ts'
import { runningPostgres, startEmbeddedPostgres } from '../../src/postgres/supervisor.ts'

/** The command of this checkout. */
export const LEGWORK: string = fileURLToPath(new URL('../../bin/legwork', import.meta.url))
export const onLinux = process.platform === 'linux'
/** The admin key of the servers that a test starts, unless it takes it out of their environment. */
export const ADMIN_KEY = 'the-admin-key-of-the-tests'

/** Hundreds of processes run the same modules: each is compiled once, and not once a process. */
const COMPILE_CACHE = fileURLToPath(new URL('../../node_modules/.cache/legwork-compiled', import.meta.url))

const DEADLINE_MS = 40_000
/** Of a server, which lives as long as the tests of its file need it: on a busy machine a few times as long as alone. */
const SERVER_DEADLINE_MS = 240_000
const LOOK_MS = 10

export interface Output {
  readonly stdout: string
  readonly stderr: string
}

export interface Ended extends Output {
  /** Null when a signal ended it. */
  readonly status: number | null
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string | undefined>>
  /** What is started in place of `bin/legwork`. */
  readonly program?: string
  readonly deadlineMs?: number
  /** In a process group of its own, as a terminal starts it. */
  readonly ownGroup?: boolean
  /** Whose process it is to be, for tests that run as root. */
  readonly uid?: number
}

/** A process that was started; `bin/legwork` replaces itself, so the pid is that of Legwork. */
export interface Started {
  readonly pid: number
  /** What it has said so far. */
  output(): Output
  /** Rejects, with what it has said, when it does not end within its deadline; it is killed then. */
  readonly ended: Promise<Ended>
  signal(name: NodeJS.Signals): void
  hasEnded(): boolean
}

/** `legwork up`, ready. */
export interface UpServer extends Started {
  readonly url: string
  get(path: string): Promise<Answer>
  post(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>
  delete(path: string): Promise<Answer>
}

export interface Answer {
  readonly status: number
  readonly body: unknown
}

/** A folder, and all processes that have to do with it. */
export interface Workshop {
  readonly folder: string
  path(name: string): string
  start(args: readonly string[], options?: RunOptions): Started
  run(args: readonly string[], options?: RunOptions): Promise<Ended>
  /** Starts a server, `--json --port 0`, and waits until it is ready. */
  serverOf(command: 'up' | 'serve' | 'wallet', args: readonly string[], options?: RunOptions): Promise<UpServer>
  /** The same for `legwork up`. */
  up(args: readonly string[], options?: RunOptions): Promise<UpServer>
  /** The same for `legwork wallet`. */
  wallet(args: readonly string[], options?: RunOptions): Promise<UpServer>
  /** Waits until a server that was started is ready. */
  ready(started: Started): Promise<UpServer>
  /** All that the processes of the workshop have said. */
  transcript(): string
  /** Ends everything that runs in the folder and removes it. */
  close(): Promise<void>
}

export async function openWorkshop(): Promise<Workshop> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'legwork-e2e-')))
  const children = new Set<ChildProcess>()
  const all: Started[] = []
  const start: Workshop['start'] = (args, options = {}) => {
    const started = startIn(folder, children, args, options)
    all.push(started)
    return started
  }
  const shop: Workshop = {
    folder,
    path: name => join(folder, name),
    start,
    run: async (args, options) => await start(args, options).ended,
    serverOf: async (command, args, options) => {
      await layCluster(folder, args)
      const deadline = { deadlineMs: SERVER_DEADLINE_MS, ...options }
      return await ready(start([command, '--json', '--port', '0', ...args], deadline))
    },
    up: async (args, options) => await shop.serverOf('up', args, options),
    wallet: async (args, options) => await shop.serverOf('wallet', args, options),
    ready,
    transcript: () => all.map(each => `${each.output().stdout}${each.output().stderr}`).join(''),
    close: async () => {
      for (const child of children) child.kill('SIGKILL')
      await stopServersIn(folder)
      await until('the processes of the folder end', async () => {
        const left = await processesIn(folder)
        for (const pid of left) killIfThere(pid)
        return left.length === 0
      })
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    },
  }
  return shop
}

/** Where the run has one, a new data folder gets a copy of its empty cluster: to make one takes a second of processor time. */
async function layCluster(folder: string, args: readonly string[]): Promise<void> {
  const cluster = process.env['LEGWORK_TEST_CLUSTER']
  const named = args[args.indexOf('--data-dir') + 1]
  const isWanted = args.includes('--data-dir') && !args.includes('--memory')
  if (cluster === undefined || !isWanted || named === undefined) return
  const dataDir = resolve(folder, named)
  if (existsSync(dataDir)) return
  // With its owner: PostgreSQL does not run as root.
  await promisify(execFile)('cp', ['-a', cluster, dataDir])
}

function startIn(folder: string, children: Set<ChildProcess>, args: readonly string[], options: RunOptions): Started {
  const { program = LEGWORK, deadlineMs = DEADLINE_MS } = options
  const child = spawn(program, args, {
    // Neither a config.yaml nor a setting of whoever runs the tests has a say.
    cwd: folder,
    env: {
      PATH: process.env['PATH'],
      TMPDIR: tmpdir(),
      LEGWORK_ADMIN_TOKEN: ADMIN_KEY,
      NODE_COMPILE_CACHE: COMPILE_CACHE,
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: options.ownGroup === true,
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  })
  children.add(child)
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const ended = Promise.withResolvers<Ended>()
  const late = setTimeout(() => {
    child.kill('SIGKILL')
    const said = `standard output:\n${stdout}\nstandard error:\n${stderr}`
    ended.reject(new Error(`legwork ${args.join(' ')} did not end within ${deadlineMs} ms\n${said}`))
  }, deadlineMs)
  child.once('error', error => ended.reject(error))
  child.once('close', status => {
    clearTimeout(late)
    children.delete(child)
    ended.resolve({ status, stdout, stderr })
  })
  // A test that only starts a process must not fail twice.
  ended.promise.catch(() => {})
  return {
    pid: child.pid ?? 0,
    output: () => ({ stdout, stderr }),
    ended: ended.promise,
    signal: name => {
      child.kill(name)
    },
    hasEnded: () => !children.has(child),
  }
}

async function ready(started: Started): Promise<UpServer> {
  const line = await until('the server is ready', async () => {
    if (started.hasEnded()) {
      const { status, stderr } = await started.ended
      throw new Error(`legwork up ended with ${status} before it was ready:\n${stderr}`)
    }
    const { stdout } = started.output()
    return stdout.includes('\n') ? stdout : null
  })
  const { url }: { readonly url: string } = JSON.parse(line)
  const call = async (path: string, request: RequestInit): Promise<Answer> => {
    const answer = await fetch(`${url}${path}`, { ...request, signal: AbortSignal.timeout(DEADLINE_MS) })
    const text = await answer.text()
    return { status: answer.status, body: text === '' ? null : JSON.parse(text) }
  }
  const headers = { authorization: `Bearer ${ADMIN_KEY}` }
  return {
    ...started,
    url,
    get: path => call(path, { headers }),
    delete: path => call(path, { method: 'DELETE', headers }),
    post: (path, body, more = {}) =>
      call(path, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json', ...more },
        body: JSON.stringify(body),
      }),
  }
}

/** Looks until `find` gives something (neither null nor false), and gives that; throws when that takes too long. */
export async function until<Found>(
  what: string,
  find: () => Promise<Found | null | false>,
  deadlineMs = DEADLINE_MS,
): Promise<Found> {
  const giveUpAt = performance.now() + deadlineMs
  while (true) {
    const found = await find()
    if (found !== null && found !== false) return found
    if (performance.now() > giveUpAt) throw new Error(`waited ${deadlineMs} ms in vain: ${what}`)
    await delay(LOOK_MS)
  }
}

/** Works on the database of a data folder in which no process is at work, on a server started for this alone. */
export async function inDatabase<Result>(
  dataDir: string,
  work: (database: Database) => Promise<Result>,
): Promise<Result> {
  const server = await startEmbeddedPostgres({ dataDir })
  const database = openDatabase(server.connection, 2)
  try {
    return await work(database)
  } finally {
    await database.end()
    await server.stop()
  }
}

/** How many trades the process at work in a data folder has taken so far; null while its database can't be asked. */
export async function tradesTaken(dataDir: string): Promise<number | null> {
  if ((await postmasterOf(dataDir)) === null) return null
  const running = await runningPostgres(dataDir)
  if (running === null) return null
  const database = openDatabase(running, 1)
  try {
    const { rows } = await database.query<{ readonly count: bigint }>('select count(*) from trades')
    return Number(rows[0]?.count)
  } catch {
    // Starting, ending, or without its tables yet.
    return null
  } finally {
    await database.end()
  }
}

/** The pid of the PostgreSQL at work in a data folder; null when none is. */
export async function postmasterOf(dataDir: string): Promise<number | null> {
  const cluster = join(dataDir, 'postgres')
  const file = await readPostmasterFile(cluster)
  return file !== undefined && (await isPostgresOf(cluster, file.pid)) ? file.pid : null
}

async function stopServersIn(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = await postmasterOf(join(folder, name)).catch(() => null)
    if (pid === null) continue
    await stopServer(foundServer(join(folder, name, 'postgres'), pid), { fastStopMs: 5000, immediateStopMs: 5000 })
  }
}

/** The processes that work in a folder or below it: Legwork's, PostgreSQL's and initdb's. Linux only; elsewhere none. */
export async function processesIn(folder: string): Promise<readonly number[]> {
  if (!onLinux) return []
  const pids = (await readdir('/proc')).filter(name => /^[0-9]+$/.test(name)).map(Number)
  const found = await Promise.all(
    pids.map(async pid => {
      const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
      return cwd === folder || cwd.startsWith(`${folder}/`) ? [pid] : []
    }),
  )
  return found.flat()
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended since.
  }
}

/** The most memory that a process ever had at once, in MiB; null when it has ended. */
export async function peakMemoryMiB(pid: number): Promise<number | null> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  const [, kibibytes] = /^VmHWM:\s+([0-9]+) kB$/m.exec(status) ?? []
  return kibibytes === undefined ? null : Number(kibibytes) / 1024
}

/** The seed of all that is random in these tests; the names of the tests that use it show it. */
export const SEED: number = Number(process.env['LEGWORK_TEST_SEED'] ?? 1)

/** Numbers from 0 to below 1 that follow from the seed: mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mix = Math.imul(state ^ (state >>> 15), state | 1)
    mix ^= mix + Math.imul(mix ^ (mix >>> 7), mix | 61)
    return ((mix ^ (mix >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Recorded trades as CSV with a header: prices of two places, quantities of five. */
export function tradesCsv(count: number, random: () => number): string {
  const lines = Array.from({ length: count }, () => {
    const price = (20_000 + random() * 10_000).toFixed(2)
    const quantity = (0.0001 + random()).toFixed(5)
    return `${price},${quantity},${random() < 0.5}\n`
  })
  return `price,quantity,is_buyer_maker\n${lines.join('')}`
}
