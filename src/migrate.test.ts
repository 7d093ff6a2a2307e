import { afterEach, beforeEach, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../test/support/database.ts'
import { openDatabase } from './db.ts'
import { migrate } from './migrate.ts'

let db: TestDatabase

beforeEach(async () => {
  db = await createTestDatabase()
})
afterEach(() => db.drop())

async function tables(): Promise<readonly string[]> {
  const { rows } = await db.database.query(
    `select table_name from information_schema.tables where table_schema = 'public' order by table_name`,
  )
  return rows.map(row => row.table_name)
}

async function applied(part: string): Promise<readonly string[]> {
  const { rows } = await db.database.query(`select name from ${part}_migrations order by id`)
  return rows.map(row => row.name)
}

test('a part of the schema is made, and is not made again', async () => {
  await migrate(db.database, 'store')
  expect(await tables()).toContain('open_settlements')
  expect(await tables()).not.toContain('ledger_entries')
  const before = await applied('store')
  await db.database.query(`insert into assets values ('BTC', 8)`)
  await migrate(db.database, 'store')
  expect(await applied('store')).toEqual(before)
  expect((await db.database.query('select * from assets')).rowCount).toBe(1)
})

test('all parts live in one database, whichever came first', async () => {
  await migrate(db.database, 'access')
  await migrate(db.database, 'ledger')
  expect(await tables()).not.toContain('trades')
  await migrate(db.database, 'store')
  expect(await tables()).toEqual(expect.arrayContaining(['access_keys', 'ledger_entries', 'trades']))
})

test('processes that start at the same moment take turns: each migration runs once', async () => {
  const processes = Array.from({ length: 4 }, () => openDatabase({ url: db.url }, 2))
  try {
    await Promise.all(
      processes.map(async (database, at) => {
        await migrate(database, at % 2 === 0 ? 'store' : 'ledger')
        await migrate(database, at % 2 === 0 ? 'ledger' : 'store')
      }),
    )
  } finally {
    await Promise.all(processes.map(database => database.end()))
  }
  for (const part of ['store', 'ledger']) {
    const names = await applied(part)
    expect(new Set(names).size).toBe(names.length)
    expect(names.length).toBeGreaterThan(0)
  }
})
