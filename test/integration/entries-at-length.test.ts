/** What reading entries costs where there are many: how much of the table a page reads, and what an export holds. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { get as httpGet, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createServer } from '../../src/api/server.ts'
import { systemClock } from '../../src/clock.ts'
import type { Database } from '../../src/db.ts'
import { createLogger } from '../../src/log.ts'
import { migrate } from '../../src/migrate.ts'
import { selectTotals } from '../../src/wallet/ledger-books.ts'
import { selectEntries, selectEntryCount, selectEntryTime } from '../../src/wallet/ledger-entries.ts'
import { createLedgerWallet } from '../../src/wallet/ledger-wallet.ts'
import type { BookedWallet, Entry, EntryPosition } from '../../src/wallet/wallet.ts'
import { authenticate, bearer } from '../support/api.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { BUSY_USER, ENTRIES_OF_OTHERS, SINCE_MS, writeManyEntries } from '../support/many-entries.ts'
import { until } from '../support/process.ts'
import { ASSETS, FEES } from '../support/trades.ts'

const instruments = { assets: ASSETS, markets: new Map() }
const ACCOUNT = { userId: BUSY_USER, currency: 'USDT' } as const
const LIMIT = 1000
const BUSY_ENTRIES = 100_000
const OTHERS = 1000
const ALL_ENTRIES = BUSY_ENTRIES + OTHERS * ENTRIES_OF_OTHERS
let db: TestDatabase

beforeAll(async () => {
  db = await createTestDatabase()
  await migrate(db.database, 'ledger')
  await writeManyEntries(db.database, { busy: BUSY_ENTRIES, others: OTHERS })
})
afterAll(() => db?.drop())

const openLedger = () =>
  createLedgerWallet({
    ...{ database: db.database, instruments, clock: systemClock(), feeUserId: FEES, log: createLogger('silent') },
  })

interface Plan {
  readonly 'Node Type': string
  readonly 'Index Name'?: string
  readonly 'Relation Name'?: string
  readonly 'Actual Rows': number
  readonly 'Rows Removed by Filter'?: number
  readonly 'Shared Hit Blocks': number
  readonly 'Shared Read Blocks': number
  readonly Plans?: readonly Plan[]
}

/** The plan by which the statement that `run` makes was run, and what its reading of the entries came to. */
async function planOf(run: (database: Database) => Promise<unknown>): Promise<readonly Plan[]> {
  const statements: { readonly text: string; readonly values: unknown[] }[] = []
  const noting = {
    query: async (statement: (typeof statements)[number]) => {
      statements.push(statement)
      return { rows: [] }
    },
  }
  await run(noting as unknown as Database)
  const [statement] = statements
  if (statement === undefined || statements.length > 1) throw new Error('one statement is looked at')
  const { rows } = await db.database.query<{ readonly 'QUERY PLAN': readonly { readonly Plan: Plan }[] }>(
    `explain (analyze, buffers, format json) ${statement.text}`,
    statement.values,
  )
  const nodes = (plan: Plan): readonly Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodes)]
  return rows[0]?.['QUERY PLAN'].flatMap(({ Plan: plan }) => nodes(plan)) ?? []
}

/** That a statement reads entries through this index alone, and no more of them than it gives. */
function expectReads(plan: readonly Plan[], index: string, rows: number): void {
  const reading = plan.filter(node => node['Relation Name'] === 'ledger_entries' || node['Index Name'] !== undefined)
  expect(reading.map(node => [node['Index Name'], node['Actual Rows'], node['Rows Removed by Filter'] ?? 0])).toEqual([
    [index, rows, 0],
  ])
  // A few pages of the index on the way down, and at most one of the table for each row.
  expect((reading[0]?.['Shared Hit Blocks'] ?? 0) + (reading[0]?.['Shared Read Blocks'] ?? 0)).toBeLessThan(rows + 20)
}

const positionOf = (userId: string, seq: bigint): EntryPosition => ({
  ...{ userId, currency: 'USDT', seq, leg: null, atMs: SINCE_MS },
})
const sortsIn = (plan: readonly Plan[]): readonly string[] =>
  plan.map(node => node['Node Type']).filter(type => type.includes('Sort'))

describe('a page is read by a key, and nothing besides it, at any depth', () => {
  test.each([0, 50_000, BUSY_ENTRIES - LIMIT])('of an account, from entry %d on', async depth => {
    const after = positionOf(BUSY_USER, BigInt(depth))
    const plan = await planOf(database => selectEntries(database, instruments, { of: ACCOUNT, after, limit: LIMIT }))
    expectReads(plan, 'ledger_entries_pkey', LIMIT)
    expect(sortsIn(plan)).toEqual([])
  })

  test.each([
    ['the first', null],
    ['one in the midst of an account', positionOf(BUSY_USER, 77_777n)],
    ['one across ten accounts', positionOf('00000000-0000-4000-8000-000000000200', 50n)],
  ])('of all: %s', async (_name, after) => {
    const plan = await planOf(database => selectEntries(database, instruments, { of: null, after, limit: LIMIT }))
    expectReads(plan, 'ledger_entries_pkey', LIMIT)
    expect(sortsIn(plan)).toEqual([])
  })

  test('of a trade, whose entries are few and are sorted', async () => {
    const of = { tradeId: '00000000-0000-4000-0007-00000000c350' }
    const plan = await planOf(database => selectEntries(database, instruments, { of, after: null, limit: LIMIT }))
    expectReads(plan, 'ledger_entries_trade', 1)
  })

  test('what an export asks beforehand is one row each', async () => {
    const { userId, currency } = ACCOUNT
    expectReads(await planOf(database => selectEntryCount(database, userId, currency)), 'ledger_entries_pkey', 1)
    const time = await planOf(database => selectEntryTime(database, userId, currency, 50_000n))
    expectReads(time, 'ledger_entries_pkey', 1)
  })

  test('totals read no entries at all', async () => {
    const relations = (await planOf(database => selectTotals(database, instruments))).map(node => node['Relation Name'])
    expect(relations.filter(name => name !== undefined)).toEqual(['ledger_totals'])
  })
})

describe('an export', () => {
  let url = ''
  let pages = 0
  let app: ReturnType<typeof createServer>

  beforeAll(async () => {
    const log = createLogger('silent')
    const ledger = openLedger()
    const wallet = {
      ...ledger,
      readEntries: async function* (range: Parameters<typeof ledger.readEntries>[0]) {
        for await (const page of ledger.readEntries(range)) {
          pages++
          yield page
        }
      },
    }
    const services = { wallet, assets: ASSETS }
    app = createServer({ authenticate, notReady: async () => [], log, version: '0', trades: null, wallet: services })
    url = await app.listen({ host: '127.0.0.1', port: 0 })
  })
  afterAll(() => app?.close())

  async function open(query: string): Promise<IncomingMessage> {
    const request = httpGet(`${url}/v1/entries/export${query}`, { headers: bearer('viewer'), agent: false })
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    expect(answer.statusCode).toBe(200)
    return answer
  }

  test('a client that stops reading stops the reading, holds nothing, and gets the rest when it goes on', async () => {
    pages = 0
    const answer = await open('?format=ndjson')
    let before = -1
    await until('nothing more is read', async () => {
      const isStill = pages === before
      before = pages
      await new Promise(resolve => setTimeout(resolve, 100))
      return isStill
    })
    expect(pages).toBeGreaterThan(0)
    // What the sockets of both sides take, at 300 bytes an entry.
    expect(pages).toBeLessThan(60)
    const { rows } = await db.database.query<{ readonly state: string }>(
      'select state from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null',
    )
    expect(rows).toEqual([])

    let count = 0
    const accounts = new Set<string>()
    const ids = new Set<string>()
    let sum = 0
    for await (const line of createInterface({ input: answer })) {
      const { id, user_id, amount } = JSON.parse(line)
      count++
      accounts.add(user_id)
      ids.add(id)
      sum += Number(amount)
    }
    expect([answer.complete, count, ids.size, accounts.size, sum]).toEqual([
      ...[true, ALL_ENTRIES, ALL_ENTRIES, 1001, ALL_ENTRIES * 1.5],
    ])
  })

  test('a client that goes away ends the reading', async () => {
    pages = 0
    const answer = await open('')
    answer.destroy()
    await until('the reading ends', async () => {
      const before = pages
      await new Promise(resolve => setTimeout(resolve, 100))
      return pages === before
    })
    expect(pages).toBeLessThan(60)
  })

  test('a range of times in the midst of an account is found without reading what is before it', async () => {
    pages = 0
    const timeOf = (minute: number): string => new Date(SINCE_MS + minute * 60_000).toISOString()
    const range = `from=${timeOf(60_000)}&until=${timeOf(60_010)}`
    const answer = await open(`?format=ndjson&user_id=${BUSY_USER}&currency=USDT&${range}`)
    const lines: string[] = []
    for await (const line of createInterface({ input: answer })) lines.push(line)
    expect(lines.map(line => JSON.parse(line).key)).toEqual(
      Array.from({ length: 10 }, (_, at) => `key 7:${60_000 + at}`),
    )
    // A day before and a day after are looked at as well, should a clock have been wrong.
    expect(pages).toBeLessThanOrEqual(2)
  })

  test('an account with a gap in its numbers is not exported as if it were whole', async () => {
    await db.database.query(`
      insert into ledger_entries (user_id, currency, seq, key, amount, balance_after, reason, at)
      select '00000000-0000-4000-8000-00000000ffff', 'USDT', seq, 'k', 1, 1, 'DEPOSIT', now()
      from generate_series(1, 3000) seq where seq <> 2500`)
    const answer = await open('?user_id=00000000-0000-4000-8000-00000000ffff&currency=USDT')
    await expect(answer.toArray()).rejects.toThrow('aborted')
    expect(answer.complete).toBe(false)
  })

  test('an account that grows while it is exported is as it was at the beginning', async () => {
    const user = '00000000-0000-4000-8000-00000000fffe'
    const write = (from: number, to: number) =>
      db.database.query(`
        insert into ledger_entries (user_id, currency, seq, key, amount, balance_after, reason, at)
        select '${user}', 'USDT', seq, 'k', 1, 1, 'DEPOSIT', now() from generate_series(${from}, ${to}) seq`)
    await write(1, 1500)
    const ledger = openLedger()
    const of = { userId: user, currency: 'USDT' }
    let count = 0
    for await (const page of ledger.readEntries({ of, fromMs: null, untilMs: null })) {
      if (count === 0) await write(1501, 1600)
      count += page.length
    }
    expect(count).toBe(1500)
  })

  test('a statement is whole whenever it is asked for, while two processes write', async () => {
    const user = randomUUID()
    const of = { userId: user, currency: 'USDT' }
    const ledgers = [openLedger(), openLedger()]
    let isWriting = true
    const write = async (ledger: BookedWallet): Promise<void> => {
      for (let round = 0; round < 25; round++) {
        const credits = Array.from({ length: 25 }, () =>
          ledger.apply({ ...of, key: randomUUID(), type: 'credit', amount: 1n, reason: 'DEPOSIT', tradeId: null }),
        )
        for (const { outcome } of await Promise.all(credits)) expect(outcome).toBe('applied')
      }
    }
    const writing = Promise.all(ledgers.map(write)).finally(() => {
      isWriting = false
    })
    const reader = openLedger()
    const statement = async (): Promise<readonly Entry[]> => {
      const entries: Entry[] = []
      for await (const page of reader.readEntries({ of, fromMs: null, untilMs: null })) entries.push(...page)
      return entries
    }
    const counts: number[] = []
    do {
      const asked = await reader.balance(user, 'USDT')
      const entries = await statement()
      expect(entries.map(({ seq, balanceAfter }) => [seq, balanceAfter])).toEqual(
        entries.map((_, at) => [BigInt(at + 1), BigInt(at + 1)]),
      )
      // Whatever was there when it was asked for.
      expect(entries.length).toBeGreaterThanOrEqual(Number(asked?.total))
      counts.push(entries.length)
    } while (isWriting)
    await writing
    expect(counts.length).toBeGreaterThan(3)
    expect(await statement()).toHaveLength(1250)
  })
})
