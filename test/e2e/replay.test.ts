import { existsSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { hasCluster } from '../../src/postgres/supervisor.ts'
import {
  inDatabase,
  LEGWORK,
  onLinux,
  openWorkshop,
  peakMemoryMiB,
  postmasterOf,
  processesIn,
  SEED,
  seededRandom,
  tradesCsv,
  tradesTaken,
  until,
  type Workshop,
} from '../support/process.ts'
import { expectSettledOnce } from '../support/settled-once.ts'

const TRADES = 3000
const AMOUNT = expect.stringMatching(/^-?[0-9]+(?:\.[0-9]*[1-9])?$/)

let shop: Workshop
let books: string

beforeAll(async () => {
  shop = await openWorkshop()
  books = shop.path('books')
  const csv = tradesCsv(TRADES, seededRandom(SEED))
  await writeFile(shop.path('trades.csv'), csv)
  await writeFile(shop.path('trades.csv.gz'), await promisify(gzip)(csv))
})

afterAll(async () => {
  await shop.close()
})

const replayed = (seed: number, ...more: string[]) => [
  ...['replay', 'trades.csv', '--market', 'BTC/USDT', '--seed', String(seed), '--data-dir', books],
  ...more,
]

/** The one line of a replay in which everything went well. */
function wholeLine(change: Readonly<Record<string, unknown>>): unknown {
  const totals = (currency: string) => ({
    ...{ currency, deposits: AMOUNT, withdrawals: '0', balances: AMOUNT, fees: AMOUNT, clearing: '0' },
  })
  return {
    trades: TRADES,
    duplicates: 0,
    settled: TRADES,
    failed: 0,
    pending: 0,
    rejected: 0,
    errors: [],
    conserved: true,
    breaks: 0,
    seconds: expect.any(Number),
    per_second: expect.any(Number),
    latency_ms: { p50: expect.any(Number), p99: expect.any(Number) },
    rail: 'atomic',
    volume: [{ symbol: 'BTC/USDT', trades: TRADES, quantity: AMOUNT, notional: AMOUNT }],
    totals: [totals('BTC'), totals('USDT')],
    ...change,
  }
}

test(`O-4 a file is settled on either rail, and a second time nothing of it is (seed ${SEED})`, async () => {
  for (const [seed, rail] of [
    [1, 'atomic'],
    [2, 'saga'],
  ] as const) {
    const first = await shop.run(replayed(seed, '--rail', rail, '--json'))
    expect(first).toMatchObject({ status: 0, stderr: '' })
    expect(JSON.parse(first.stdout)).toEqual(wholeLine({ rail }))
    expect(first.stdout.endsWith('\n') && first.stdout.trimEnd().includes('\n')).toBe(false)
    const second = await shop.run(replayed(seed, '--rail', rail, '--json'))
    expect(second).toMatchObject({ status: 0, stderr: '' })
    expect(JSON.parse(second.stdout)).toEqual(wholeLine({ rail, duplicates: TRADES, per_second: 0 }))
    expect(JSON.parse(second.stdout).totals).toEqual(JSON.parse(first.stdout).totals)
  }
  await inDatabase(books, async database => await expectSettledOnce(database, 2 * TRADES))
  expect(await postmasterOf(books)).toBe(null)
  expect(await processesIn(shop.folder)).toEqual([])
})

test('a packed file is the same file, and its result can be read by people', async () => {
  const { status, stdout, stderr } = await shop.run([
    ...['replay', 'trades.csv.gz', '--market', 'BTC/USDT', '--seed', '1', '--data-dir', books],
  ])
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(stdout).toContain('3,000 trades on the atomic rail: 3,000 settled, 0 failed, 0 pending')
  expect(stdout).toContain('3,000 of them known before; 0 lines rejected')
  expect(stdout).toContain('Money is conserved.')
  expect(stdout).toContain('No breaks')
})

test('what a replay left can be verified by another command', async () => {
  const { status, stdout } = await shop.run(['verify', '--json', '--data-dir', books])
  expect(status).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ trades: 2 * TRADES, settled: 2 * TRADES, conserved: true, breaks: 0 })
})

test('the same file with other users is a conflict', async () => {
  const { status, stderr } = await shop.run(replayed(1, '--users', '100'))
  expect(status).toBe(5)
  expect(stderr).toMatch(/^legwork: trade [0-9a-f-]{36} of this file is known here with other content/m)
  expect(stderr).toContain('take another --seed or another --data-dir')
})

test('F-6 a replay that is interrupted says so, and the next one goes on', async () => {
  const interrupted = shop.start(replayed(3, '--rail', 'saga', '--json'))
  await until(
    'some trades are taken',
    async () => interrupted.hasEnded() || ((await tradesTaken(books)) ?? 0) > 2 * TRADES,
  )
  interrupted.signal('SIGINT')
  const { status, stdout, stderr } = await interrupted.ended
  expect({ status, stderr }).toEqual({
    status: 130,
    stderr: 'legwork: interrupted; run it again and it goes on where it stopped\n',
  })
  expect(JSON.parse(stdout)).toMatchObject({ conserved: true, breaks: 0 })
  const again = await shop.run(replayed(3, '--rail', 'saga', '--json'))
  expect(again.status).toBe(0)
  expect(JSON.parse(again.stdout)).toEqual(wholeLine({ rail: 'saga', duplicates: expect.any(Number) }))
  expect(JSON.parse(again.stdout).duplicates).toBeGreaterThan(0)
  await inDatabase(books, async database => await expectSettledOnce(database, 3 * TRADES))
})

test('Ctrl-C at the terminal while the database is being made ends it in order', async () => {
  const dataDir = shop.path('new')
  const starting = shop.start(['replay', 'trades.csv', '--market', 'BTC/USDT', '--data-dir', dataDir], {
    ownGroup: true,
  })
  await until('initdb is at work', async () => {
    const names: readonly string[] = await readdir(dataDir).catch(() => [])
    const draft = names.find(name => name.startsWith('postgres.init-') && !name.endsWith('.password'))
    return draft !== undefined && existsSync(join(dataDir, draft, 'PG_VERSION'))
  })
  expect(hasCluster(dataDir)).toBe(false)
  // The terminal signals the whole group.
  process.kill(-starting.pid, 'SIGINT')
  expect(await starting.ended).toMatchObject({
    status: 130,
    stderr: 'legwork: interrupted; run it again and it goes on where it stopped\n',
  })
  expect(await processesIn(shop.folder)).toEqual([])
  expect((await shop.run(['verify', '--data-dir', dataDir])).status).toBe(0)
})

test('who stops reading the result does not disturb the work', async () => {
  const piped = (command: string) => shop.run(['-c', command], { program: '/bin/sh', env: { LEGWORK: LEGWORK } })
  expect(await piped('{ "$LEGWORK" --help; echo "$?" >&2; } | true')).toMatchObject({ status: 0, stderr: '0\n' })
  const verify = `"$LEGWORK" verify --data-dir '${books}'`
  expect(await piped(`{ ${verify}; echo "$?" >&2; } | true`)).toMatchObject({ stderr: '0\n' })
})

test.runIf(onLinux)('a result that can not be written is a failure', async () => {
  const { status, stderr } = await shop.run(['-c', '"$LEGWORK" verify --data-dir books >/dev/full'], {
    program: '/bin/sh',
    env: { LEGWORK: LEGWORK },
  })
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: expect.stringMatching(/^legwork: the result could not be written: .*no space left/),
  })
})

test.runIf(onLinux)(`a long file is streamed: 150,000 lines in less than 500 MB (seed ${SEED})`, async () => {
  // Most lines are of another market, since settling is not what is looked at here.
  const trades = 20_000
  const lines = tradesCsv(trades, seededRandom(SEED)).split('\n').slice(1, -1)
  const others = `DOGE/USDT,0.07,1000,true\n`.repeat(Math.ceil(150_000 / trades) - 1)
  const path = shop.path('long.csv')
  await writeFile(
    path,
    `symbol,price,quantity,is_buyer_maker\n${lines.map(line => `BTC/USDT,${line}\n${others}`).join('')}`,
  )
  const long = shop.start([
    ...['replay', path, '--market', 'BTC/USDT', '--rail', 'atomic', '--json', '--data-dir', shop.path('new')],
  ])
  let peak = 0
  await until('the replay ends', async () => {
    peak = Math.max(peak, (await peakMemoryMiB(long.pid)) ?? 0)
    return long.hasEnded()
  })
  const { status, stdout } = await long.ended
  expect(status).toBe(6)
  const result = JSON.parse(stdout)
  expect(result).toMatchObject({ trades, settled: trades, rejected: 140_000, conserved: true, breaks: 0 })
  expect(result.errors).toHaveLength(100)
  expect(peak).toBeGreaterThan(50)
  expect(peak).toBeLessThan(500)
})
