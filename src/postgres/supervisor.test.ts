import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, chmod, chown, mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { exitsWithin, foundServer, isPostgresOf } from './processes.ts'
import { DataFolderInUseError, type EmbeddedPostgres, startEmbeddedPostgres } from './supervisor.ts'

const asRoot = process.getuid?.() === 0
const NOBODY = 65534
const limits = { silentMs: 400, recoveryMs: 20_000, fastStopMs: 1000, immediateStopMs: 1000 }

let root: string
const started = new Set<EmbeddedPostgres>()
const folder = async () => await mkdtemp(join(root, 'data-'))

async function start(dataDir: string, log?: (message: string) => void): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ dataDir, limits, ...(log && { log }) })
  started.add(server)
  return server
}

async function query(server: Pick<EmbeddedPostgres, 'connection'>, sql: string): Promise<readonly unknown[]> {
  const client = new pg.Client({ ...server.connection, ssl: false })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows
  } finally {
    await client.end()
  }
}

/** A process of its own that starts the server of a folder, reports it, and stays. */
async function startElsewhere(dataDir: string, uid?: number) {
  const module = new URL('./supervisor.ts', import.meta.url).href
  const source = `
    import { startEmbeddedPostgres } from ${JSON.stringify(module)}
    setInterval(() => {}, 1000)
    const s = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)} }).catch(e => ({ error: e.code + ' ' + e.message }))
    console.log(JSON.stringify({ uid: process.getuid(), connection: s.connection, serverPid: s.serverPid, error: s.error }))
    process.stdin.on('data', async () => { await s.stop(); process.exit(0) })`
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['pipe', 'pipe', 'inherit'],
    // No test may leave one behind, not even one that fails.
    timeout: 60_000,
    ...(uid !== undefined && { uid, gid: uid, cwd: '/' }),
  })
  const [line] = child.stdout === null ? [] : await once(child.stdout, 'data')
  const report: Pick<EmbeddedPostgres, 'connection' | 'serverPid'> & { uid: number; error?: string } = JSON.parse(line)
  return { child, ...report }
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

beforeAll(async () => {
  // 0700 and root's where the tests run as root: the server's user cannot pass through it.
  root = await mkdtemp(join(tmpdir(), 'legwork-supervisor-'))
})

afterAll(async () => {
  for (const server of started) await server.stop()
  await rm(root, { recursive: true, force: true })
})

describe('one folder through its life', () => {
  let dataDir: string
  let server: EmbeddedPostgres
  beforeAll(async () => {
    dataDir = join(await folder(), 'new')
    server = await start(dataDir)
    await query(server, 'create table kept (value int)')
  })
  const add = async (value: number) => await query(server, `insert into kept values (${value})`)
  const kept = async () => (await query(server, 'select value from kept order by value')).flat()

  test('the first start makes a private database with durable commits', async () => {
    expect(server.adopted).toBe(false)
    expect(server.connection.database).toBe('legwork')
    const names = ['fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums', 'listen_addresses']
    const settings = await query(server, `select ${names.map(name => `current_setting('${name}')`).join(', ')}`)
    expect(settings).toEqual([['on', 'on', 'on', 'on', '']])
    const encoding = `select pg_encoding_to_char(encoding), datcollate from pg_database where datname = 'legwork'`
    expect(await query(server, encoding)).toEqual([['UTF8', 'C.UTF-8']])
    expect((await stat(join(dataDir, 'postgres.secret'))).mode & 0o777).toBe(0o600)
    expect((await stat(server.connection.host)).mode & 0o777).toBe(0o700)
  })

  test.runIf(asRoot)('the server of root does not run as root', async () => {
    expect(await readFile(`/proc/${server.serverPid}/status`, 'utf8')).toMatch(/^Uid:\t[1-9]/m)
  })

  test('a second start on the folder is refused while the first lives', async () => {
    await expect(start(dataDir)).rejects.toThrow(DataFolderInUseError)
    await expect(start(dataDir)).rejects.toThrow(`${dataDir} is in use by the process ${process.pid}`)
  })

  test('a restart keeps the data, and stopping twice is harmless', async () => {
    await add(1)
    await Promise.all([server.stop(), server.stop()])
    expect(await isPostgresOf(join(dataDir, 'postgres'), server.serverPid)).toBe(false)
    server = await start(dataDir)
    expect(await kept()).toEqual([1])
  })

  test('a server killed by SIGKILL is reported lost, and the next start recovers what was committed', async () => {
    await add(2)
    process.kill(server.serverPid, 'SIGKILL')
    expect(await server.lost).toContain('LOG')
    await server.stop()
    server = await start(dataDir)
    expect(server.adopted).toBe(false)
    expect(await kept()).toEqual([1, 2])
  })

  test.runIf(process.platform === 'linux')('what a killed server left running is waited for, and named', async () => {
    const children = await readFile(`/proc/${server.serverPid}/task/${server.serverPid}/children`, 'utf8')
    const child = Number(children.trim().split(' ')[0])
    process.kill(child, 'SIGSTOP')
    process.kill(server.serverPid, 'SIGKILL')
    await server.lost
    await server.stop()
    const impatient = startEmbeddedPostgres({ dataDir, limits: { ...limits, predecessorMs: 0 } })
    await expect(impatient).rejects.toMatchObject({ code: 'STILL_IN_USE' })
    const patient = start(dataDir)
    process.kill(child, 'SIGCONT')
    server = await patient
    expect(await kept()).toEqual([1, 2])
  })

  test('a server whose parent was killed is taken over with its data, and can be stopped', async () => {
    await server.stop()
    const elsewhere = await startElsewhere(dataDir)
    await query(elsewhere, 'insert into kept values (3)')
    await kill(elsewhere.child)
    const said: string[] = []
    server = await start(dataDir, message => said.push(message))
    expect(server).toMatchObject({ adopted: true, serverPid: elsewhere.serverPid })
    expect(said.join('\n')).toContain('taken over')
    expect(await kept()).toEqual([1, 2, 3])
    await server.stop()
    expect(await isPostgresOf(join(dataDir, 'postgres'), elsewhere.serverPid)).toBe(false)
  })

  test('a server left behind that does not answer is stopped and replaced', async () => {
    const elsewhere = await startElsewhere(dataDir)
    await kill(elsewhere.child)
    process.kill(elsewhere.serverPid, 'SIGSTOP')
    server = await start(dataDir)
    expect(server.adopted).toBe(false)
    expect(server.serverPid).not.toBe(elsewhere.serverPid)
    expect(await kept()).toEqual([1, 2, 3])
  })

  test('a server left behind that is shutting down is waited for', async () => {
    await server.stop()
    const elsewhere = await startElsewhere(dataDir)
    await kill(elsewhere.child)
    process.kill(elsewhere.serverPid, 'SIGINT')
    server = await start(dataDir)
    expect(server.serverPid).not.toBe(elsewhere.serverPid)
    expect(await kept()).toEqual([1, 2, 3])
  })

  test('a postmaster.pid of another program does not block, and that program is left alone', async () => {
    await server.stop()
    const bystander = spawn('sleep', ['60'], { stdio: 'ignore' })
    await writeFile(join(dataDir, 'postgres', 'postmaster.pid'), `${bystander.pid}\n/proc/self/cwd\n1\n5432\n.\n\n`)
    server = await start(dataDir)
    expect(await kept()).toEqual([1, 2, 3])
    expect(bystander.exitCode ?? bystander.signalCode).toBe(null)
    await kill(bystander)
  })

  test('a postmaster.pid of a dead process does not block', async () => {
    await server.stop()
    const gone = spawn('true', { stdio: 'ignore' })
    await once(gone, 'exit')
    await writeFile(join(dataDir, 'postgres', 'postmaster.pid'), `${gone.pid}\n/proc/self/cwd\n1\n5432\n.\n\n`)
    server = await start(dataDir)
    expect(await kept()).toEqual([1, 2, 3])
  })

  test('a log that has grown too large is put aside at a start', async () => {
    await server.stop()
    await truncate(join(dataDir, 'postgres.log'), 11 * 1024 * 1024)
    // Copies often come with wider modes, which PostgreSQL would refuse.
    await chmod(join(dataDir, 'postgres'), 0o755)
    if (asRoot) for (const path of ['', 'PG_VERSION']) await chown(join(dataDir, 'postgres', path), 0, 0)
    server = await start(dataDir)
    expect((await stat(join(dataDir, 'postgres.log.1'))).size).toBe(11 * 1024 * 1024)
    expect((await stat(join(dataDir, 'postgres.log'))).size).toBeLessThan(100_000)
  })

  test('a setting that would let commits be lost is refused, and no server is left behind', async () => {
    await query(server, 'alter role legwork set synchronous_commit = off')
    const { serverPid } = server
    await server.stop()
    await expect(start(dataDir)).rejects.toMatchObject({
      code: 'UNSAFE_SETTINGS',
      message: expect.stringContaining('synchronous_commit = off'),
      hint: expect.stringContaining('alter role legwork reset synchronous_commit'),
    })
    expect(await isPostgresOf(join(dataDir, 'postgres'), serverPid)).toBe(false)
    await expect(stat(join(dataDir, 'postgres', 'postmaster.pid'))).rejects.toThrow('ENOENT')
  })

  test('a wrong or missing password is told in clear words', async () => {
    await writeFile(join(dataDir, 'postgres.secret'), 'wrong\n')
    await expect(start(dataDir)).rejects.toMatchObject({ code: 'SECRET_UNUSABLE' })
    await rm(join(dataDir, 'postgres.secret'))
    await expect(start(dataDir)).rejects.toMatchObject({ code: 'SECRET_UNUSABLE' })
    await writeFile(join(dataDir, 'postgres.secret'), `${server.connection.password}\n`)
  })

  test('a damaged database is told with the last lines of the log', async () => {
    await appendFile(join(dataDir, 'postgres', 'postgresql.conf'), '\nnonsense\n')
    await expect(start(dataDir)).rejects.toMatchObject({
      code: 'START_FAILED',
      message: expect.stringMatching(/last words:\n.*syntax error/s),
    })
    const conf = await readFile(join(dataDir, 'postgres', 'postgresql.conf'), 'utf8')
    await writeFile(join(dataDir, 'postgres', 'postgresql.conf'), conf.replace('\nnonsense\n', ''))
    await truncate(join(dataDir, 'postgres', 'global', 'pg_control'), 100)
    await expect(start(dataDir)).rejects.toMatchObject({ code: 'CLUSTER_DAMAGED' })
  })

  test('a database of another major version is refused', async () => {
    await writeFile(join(dataDir, 'postgres', 'PG_VERSION'), '17\n')
    await expect(start(dataDir)).rejects.toMatchObject({
      code: 'VERSION_MISMATCH',
      message: expect.stringMatching(/PostgreSQL 17, this Legwork brings PostgreSQL 18/),
    })
    await rm(join(dataDir, 'postgres', 'PG_VERSION'))
    await expect(start(dataDir)).rejects.toMatchObject({ code: 'CLUSTER_DAMAGED' })
  })
})

test('a folder whose path is too long for a socket works too, and what a killed initdb left is removed', async () => {
  const dataDir = join(await folder(), 'x'.repeat(80))
  await mkdir(join(dataDir, 'postgres.init-half', 'base'), { recursive: true })
  const server = await start(dataDir)
  expect(server.connection.host.startsWith(tmpdir())).toBe(true)
  expect(await query(server, 'select 1')).toEqual([[1]])
  await expect(stat(join(dataDir, 'postgres.init-half'))).rejects.toThrow('ENOENT')
  await server.stop()
  await expect(stat(server.connection.host)).rejects.toThrow('ENOENT')
})

test.runIf(asRoot)('an ordinary user starts and stops it, and root takes over as that user', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'legwork-nobody-'))
  try {
    await chown(dataDir, NOBODY, NOBODY)
    const ordinary = await startElsewhere(dataDir, NOBODY)
    expect(ordinary).toMatchObject({ uid: NOBODY })
    expect(ordinary.error).toBe(undefined)
    expect(await query(ordinary, 'select 1')).toEqual([[1]])
    const watched = foundServer(join(dataDir, 'postgres'), ordinary.serverPid)
    ordinary.child.stdin?.write('stop\n')
    await once(ordinary.child, 'exit')
    expect(await exitsWithin(watched, 1000)).toBe(true)
    const server = await start(dataDir)
    expect(await readFile(`/proc/${server.serverPid}/status`, 'utf8')).toMatch(new RegExp(`^Uid:\t${NOBODY}\t`, 'm'))
    await server.stop()
    await chown(join(dataDir, 'postgres'), 1, 1)
    const refused = await startElsewhere(dataDir, NOBODY)
    await kill(refused.child)
    expect(refused.error).toMatch(/^NO_PERMISSION .* belong to the user with the id 1/)
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
})

test('a data folder that is a file is told in clear words', async () => {
  const path = join(await folder(), 'file')
  await writeFile(path, '')
  await expect(start(path)).rejects.toMatchObject({ name: 'PostgresStartError', code: 'START_FAILED' })
})
