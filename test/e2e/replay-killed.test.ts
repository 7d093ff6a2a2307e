import { writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  inDatabase,
  openWorkshop,
  postmasterOf,
  processesIn,
  SEED,
  type Started,
  seededRandom,
  tradesCsv,
  tradesTaken,
  until,
  type Workshop,
} from '../support/process.ts'
import { expectSettledOnce } from '../support/settled-once.ts'

const TRADES = 2500
const KILLS_WHILE_SETTLING = 3
const random = seededRandom(SEED)

let shop: Workshop

beforeAll(async () => {
  shop = await openWorkshop()
  await writeFile(shop.path('trades.csv'), tradesCsv(TRADES, random))
})

afterAll(async () => {
  await shop.close()
})

/** A moment to be killed at, after the process was started. */
type Moment = (replay: Started, dataDir: string) => Promise<unknown>

/** Anywhere in its first start: before there is a database, while initdb makes it, or after. */
const inFirstStart: Moment = async () => await delay(random() * 1500)

/** When the server left behind is being taken over, or the tables are made or looked through. */
const inRecovery: Moment = async (replay, dataDir) => {
  await until('PostgreSQL runs', async () => replay.hasEnded() || (await postmasterOf(dataDir)) !== null)
  await delay(random() * 600)
}

/** Once a share of the trades is taken. */
function whileSettling(share: number): Moment {
  return async (replay, dataDir) => {
    const enough = async () => ((await tradesTaken(dataDir)) ?? 0) >= share * TRADES
    await until('enough trades are taken', async () => replay.hasEnded() || (await enough()))
    await delay(random() * 50)
  }
}

test.each(['atomic', 'saga'] as const)(
  `F-6 a replay killed five times on the %s rail settles each trade once (seed ${SEED})`,
  async rail => {
    const dataDir = shop.path(rail)
    const args = [
      ...['replay', 'trades.csv', '--market', 'BTC/USDT', '--rail', rail],
      ...['--data-dir', dataDir, '--json'],
    ]
    const shares = Array.from({ length: KILLS_WHILE_SETTLING }, (_, at) => (at + random()) / KILLS_WHILE_SETTLING)
    let killed = 0
    for (const moment of [inFirstStart, inRecovery, ...shares.map(whileSettling)]) {
      const replay = shop.start(args)
      await moment(replay, dataDir)
      replay.signal('SIGKILL')
      if ((await replay.ended).status === null) killed++
    }
    expect(killed).toBeGreaterThanOrEqual(4)
    const last = await shop.run(args)
    expect(last.status, last.stderr).toBe(0)
    const result = JSON.parse(last.stdout)
    expect(result).toMatchObject({ trades: TRADES, settled: TRADES, failed: 0, pending: 0, conserved: true, breaks: 0 })
    expect(result.duplicates).toBeGreaterThan(0)
    expect(await postmasterOf(dataDir)).toBe(null)
    expect(await processesIn(dataDir)).toEqual([])
    await inDatabase(dataDir, async database => {
      await expectSettledOnce(database, TRADES)
      const { rows } = await database.query(`
        select count(*) = count(distinct (user_id, currency)) as is_once
        from ledger_entries
        where reason = 'DEPOSIT'`)
      expect(rows).toEqual([{ is_once: true }])
    })
  },
)

test(`F-6 a replay whose PostgreSQL is killed ends and says so, and the next one completes it (seed ${SEED})`, async () => {
  const dataDir = shop.path('orphaned')
  const args = ['replay', 'trades.csv', '--market', 'BTC/USDT', '--rail', 'saga', '--data-dir', dataDir, '--json']
  const replay = shop.start(args)
  const enough = async () => ((await tradesTaken(dataDir)) ?? 0) >= 1
  await until('some trades are taken', async () => replay.hasEnded() || (await enough()))
  process.kill((await postmasterOf(dataDir)) ?? 0, 'SIGKILL')
  const { status, stdout, stderr } = await replay.ended
  expect({ status, stdout }).toEqual({ status: 7, stdout: '' })
  expect(stderr).toMatch(/^legwork: PostgreSQL has ended; nothing is lost, start again\. Its last words:$/m)
  expect(stderr).not.toMatch(/^\s+at .*[(:]/m)
  const last = await shop.run(args)
  expect(last.status, last.stderr).toBe(0)
  expect(JSON.parse(last.stdout)).toMatchObject({ trades: TRADES, settled: TRADES, conserved: true, breaks: 0 })
})
