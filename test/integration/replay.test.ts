import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/log.ts'
import { createSettlement } from '../../src/main.ts'
import { createOutstanding } from '../../src/replay/outstanding.ts'
import { ReplayConflictError, type ReplayOptions, type ReplayResult, replay } from '../../src/replay/replay.ts'
import { verifyBooks } from '../../src/verify/verify.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'

let folder: string
let db: TestDatabase

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'legwork-replay-'))
  db = await createTestDatabase()
})
afterAll(async () => {
  await db.drop()
  await rm(folder, { recursive: true, force: true })
})

interface Run {
  readonly result: ReplayResult
  readonly rejected: readonly string[]
}

async function run(name: string, rail: 'atomic' | 'saga', change: Partial<ReplayOptions> = {}): Promise<Run> {
  const flags = { 'settlement.rail': rail, data_dir: folder }
  const { config } = loadConfig({ path: null, env: {}, flags, cwd: folder })
  const outstanding = createOutstanding()
  const settlement = await createSettlement({
    config,
    opened: { database: db.database, server: null, close: async () => {} },
    log: createLogger('silent'),
    waitsForRoom: true,
    onEnd: ({ id }, { status }, latencyMs) => outstanding.ended(id, status, latencyMs),
  })
  const rejected: string[] = []
  try {
    const result = await replay({
      ...settlement,
      file: { path: join(folder, name), format: 'auto', market: 'BTC/USDT' },
      users: 5,
      seed: 1,
      strict: false,
      feeUserId: config.settlement.feeUserId,
      outstanding,
      clock: systemClock(),
      batch: 7,
      signal: new AbortController().signal,
      onRejected: (line, reason) => rejected.push(`${line}: ${reason}`),
      onProgress: () => {},
      ...change,
    })
    return { result, rejected }
  } finally {
    await settlement.pool.stop(5_000)
  }
}

const HEADER = 'price,quantity,is_buyer_maker'
const lines = (count: number, from = 0): readonly string[] =>
  Array.from({ length: count }, (_, at) => `${28_000 + from + at}.5,0.0${(at % 9) + 1},${at % 2 === 0}`)

async function write(name: string, rows: readonly string[]): Promise<void> {
  await writeFile(join(folder, name), `${[HEADER, ...rows].join('\n')}\n`)
}

test.each(['atomic', 'saga'] as const)(
  'O-4 a file is settled on the %s rail, and a second time nothing of it is',
  async rail => {
    await write(`${rail}.csv`, lines(40, rail === 'saga' ? 500 : 0))
    const first = await run(`${rail}.csv`, rail)
    expect(first.rejected).toEqual([])
    expect(first.result).toMatchObject({ trades: 40, duplicates: 0, pending: 0, tally: { settled: 40, fresh: 40 } })
    expect(first.result.volume).toMatchObject([{ symbol: 'BTC/USDT', trades: 40, quantity: '1.9' }])
    const again = await run(`${rail}.csv`, rail)
    expect(again.result).toMatchObject({ trades: 40, duplicates: 40, pending: 0, tally: { settled: 40, fresh: 0 } })
    expect(await verifyBooks(db.database)).toMatchObject({ conserved: true, breaks: 0 })
  },
)

test('the same file with other users is a conflict, and nothing of it is taken', async () => {
  await expect(run('atomic.csv', 'atomic', { users: 6 })).rejects.toThrow(ReplayConflictError)
})

test('a broken line costs itself, and with strict the replay ends there', async () => {
  const rows = [...lines(5, 1000), '-1,1,true', ...lines(5, 2000), '28000.123456789,1,true']
  await write('broken.csv', rows)
  const { result, rejected } = await run('broken.csv', 'atomic')
  expect(result).toMatchObject({ trades: 10, rejected: 2, stoppedAtFault: false, tally: { settled: 10 } })
  expect(rejected).toEqual(['7: price "-1" is not above zero', '13: price: more than the 8 places of USDT'])
  await write('strict.csv', [...rows, ...lines(1, 2500)])
  expect((await run('strict.csv', 'atomic', { strict: true })).result).toMatchObject({
    trades: 5,
    rejected: 1,
    stoppedAtFault: true,
  })
})

test('of a cut file what could be read is settled, and the cut is told', async () => {
  const whole = gzipSync([HEADER, ...lines(3000, 3000)].join('\n'))
  await writeFile(join(folder, 'cut.csv.gz'), whole.subarray(0, Math.floor(whole.length / 2)))
  const { result } = await run('cut.csv.gz', 'atomic')
  expect(result.cut).toContain('cut')
  expect(result.trades).toBeGreaterThan(100)
  expect(result.tally.settled).toBe(result.trades)
})

test('a market that nobody configured is made from the places of the file, finer assets included', async () => {
  await writeFile(
    join(folder, 'other.csv'),
    'symbol,price,qty\nPEPE/USDT,0.0000012345,1000000\nETH/BTC,0.0612345,0.12345\n',
  )
  const file = { path: join(folder, 'other.csv'), format: 'auto', market: null } as const
  const { result, rejected } = await run('other.csv', 'saga', { file })
  expect(rejected).toEqual([])
  expect(result).toMatchObject({ trades: 2, tally: { settled: 2 } })
  expect(result.volume).toMatchObject([{ symbol: 'PEPE/USDT', notional: '1.2345' }, { symbol: 'ETH/BTC' }])
  expect(await verifyBooks(db.database)).toMatchObject({ conserved: true, breaks: 0 })
})

test('an interrupted replay leaves what was handed in to the next', async () => {
  await write('interrupted.csv', lines(60, 9000))
  const controller = new AbortController()
  const { result } = await run('interrupted.csv', 'atomic', {
    signal: controller.signal,
    onProgress: () => controller.abort('SIGINT'),
  })
  expect(result.trades).toBeLessThan(60)
  expect((await run('interrupted.csv', 'atomic')).result).toMatchObject({ trades: 60, tally: { settled: 60 } })
})
