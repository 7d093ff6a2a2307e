import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import {
  inDatabase,
  openWorkshop,
  postmasterOf,
  processesIn,
  SEED,
  seededRandom,
  type UpServer,
  until,
  type Workshop,
} from '../support/process.ts'
import { expectSettledOnce } from '../support/settled-once.ts'

const USERS = Array.from({ length: 20 }, (_, at) => uuid('a', at))
const CALLERS = 4
const TRADES_A_CALL = 20

let shop: Workshop
let random: () => number

beforeAll(async () => {
  shop = await openWorkshop()
})
beforeEach(() => {
  random = seededRandom(SEED)
})
afterEach(async () => {
  expect(shop.transcript()).not.toMatch(/^\s+at .*[(:]/m)
})
afterAll(async () => {
  await shop.close()
})

function uuid(variety: string, number: number): string {
  return `00000000-0000-4000-8000-${variety}${number.toString(16).padStart(11, '0')}`
}

/** A call of `POST /v1/trades`, and whether it was answered with 202. */
interface Call {
  readonly trades: readonly unknown[]
  taken: boolean
}

/** Callers that hand in trades without a pause until their server is gone. */
interface Load {
  readonly calls: readonly Call[]
  /** Lets them call a server until it answers no more; resolves when each has seen that. */
  on(server: UpServer): Promise<void>
  answered(): number
}

function createLoad(): Load {
  const calls: Call[] = []
  let made = 0
  let answered = 0

  function newCall(): Call {
    const trades = Array.from({ length: TRADES_A_CALL }, () => {
      made++
      const buyer = Math.floor(random() * USERS.length)
      const seller = (buyer + 1 + Math.floor(random() * (USERS.length - 1))) % USERS.length
      return {
        id: uuid('b', made),
        symbol: 'BTC/USDT',
        buyer_user_id: USERS[buyer],
        seller_user_id: USERS[seller],
        price: (20_000 + random() * 10_000).toFixed(2),
        quantity: (0.0001 + random() / 100).toFixed(5),
        buyer_fee: '0.5',
        seller_fee: '0.25',
      }
    })
    const call = { trades, taken: false }
    calls.push(call)
    return call
  }

  async function caller(server: UpServer): Promise<void> {
    while (true) {
      const call = newCall()
      const answer = await server.post('/v1/trades', { trades: call.trades }).catch(() => null)
      // Nobody there, or one who is stopping: what became of this call is not known.
      if (answer === null || answer.status === 503) return
      expect(answer).toEqual({ status: 202, body: { accepted: TRADES_A_CALL, duplicates: 0 } })
      call.taken = true
      answered++
    }
  }

  return {
    calls,
    on: async server => {
      await Promise.all(Array.from({ length: CALLERS }, async () => await caller(server)))
    },
    answered: () => answered,
  }
}

async function fund(server: UpServer): Promise<void> {
  const deposits = USERS.flatMap(userId => [
    { user_id: userId, currency: 'USDT', amount: '1000000000' },
    { user_id: userId, currency: 'BTC', amount: '100000' },
  ])
  for (const deposit of deposits) {
    const key = { 'idempotency-key': `deposit ${deposit.user_id} ${deposit.currency}` }
    const { status } = await server.post('/v1/credits', { ...deposit, reason: 'DEPOSIT' }, key)
    expect([200, 201]).toContain(status)
  }
}

/** What was answered is there; what was not is there as a whole or not at all, and handing it in again completes it. */
async function expectNothingLost(dataDir: string, { calls }: Load): Promise<void> {
  const present = await inDatabase(dataDir, async database => {
    const { rows } = await database.query<{ readonly id: string }>('select id from trades')
    return new Set(rows.map(({ id }) => id))
  })
  const counts = calls.map(({ trades, taken }) => {
    const found = trades.filter(trade => present.has((trade as { readonly id: string }).id)).length
    return { taken, found: found === 0 ? 'none' : found === trades.length ? 'all' : found }
  })
  for (const { taken, found } of counts) expect(taken ? ['all'] : ['all', 'none']).toContain(found)
  const server = await shop.up(['--data-dir', dataDir])
  for (const { trades } of calls.filter(({ taken }) => !taken)) {
    expect(await server.post('/v1/trades', { trades })).toMatchObject({ status: 202 })
  }
  await until('all trades are settled', async () => {
    const { body } = await server.get('/v1/trades?settlement_status=PENDING,SETTLEMENT_FAILED&limit=1')
    return JSON.stringify(body).includes('"trades":[]')
  })
  server.signal('SIGTERM')
  expect(await server.ended).toMatchObject({ status: 0 })
  const verified = await shop.run(['verify', '--json', '--data-dir', dataDir])
  expect(verified.status, verified.stdout).toBe(0)
  await inDatabase(dataDir, async database => await expectSettledOnce(database, calls.length * TRADES_A_CALL))
  expect(await processesIn(shop.folder)).toEqual([])
}

test(`F-6 a server killed five times under load loses no trade and settles none twice (seed ${SEED})`, async () => {
  const dataDir = shop.path('killed')
  const load = createLoad()
  for (let kill = 1; kill <= 5; kill++) {
    const server = await shop.up(['--data-dir', dataDir])
    if (kill === 1) await fund(server)
    const enough = load.answered() + 1 + random() * 40
    const done = load.on(server)
    await until('enough calls are answered', async () => load.answered() >= enough)
    await delay(random() * 20)
    server.signal('SIGKILL')
    await done
    expect(await server.ended).toMatchObject({ status: null })
  }
  await expectNothingLost(dataDir, load)
})

test(`S-6 a server told to stop under load ends in order and loses nothing (seed ${SEED})`, async () => {
  const dataDir = shop.path('stopped')
  const load = createLoad()
  const server = await shop.up(['--data-dir', dataDir])
  await fund(server)
  const done = load.on(server)
  await until('some calls are answered', async () => load.answered() >= 20)
  server.signal('SIGTERM')
  const [{ status, stderr }] = await Promise.all([server.ended, done])
  expect(status).toBe(0)
  expect(stderr).not.toContain('"level":"ERROR"')
  expect(await processesIn(shop.folder)).toEqual([])
  await expectNothingLost(dataDir, load)
})

test(`F-6 a server whose PostgreSQL is killed under load ends and says so, and the next start has everything`, async () => {
  const dataDir = shop.path('orphaned')
  const load = createLoad()
  const server = await shop.up(['--data-dir', dataDir])
  await fund(server)
  const done = load.on(server)
  await until('some calls are answered', async () => load.answered() >= 20)
  process.kill((await postmasterOf(dataDir)) ?? 0, 'SIGKILL')
  const [{ status, stderr }] = await Promise.all([server.ended, done])
  expect(status).toBe(7)
  expect(stderr).toMatch(/^legwork: PostgreSQL has ended; nothing is lost, start again\. Its last words:$/m)
  await expectNothingLost(dataDir, load)
})
