import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../test/support/database.ts'
import { arrayOf, codeOf, type Database, isAway, openDatabase, together, transaction } from './db.ts'

let db: TestDatabase
let database: Database

beforeAll(async () => {
  db = await createTestDatabase()
  database = db.database
  await database.query('create table counters (name text primary key, value integer not null)')
})
beforeEach(async () => {
  await database.query('truncate counters')
  await database.query(`insert into counters values ('a', 0), ('b', 0)`)
})
afterAll(() => db.drop())

async function counterOf(name: string): Promise<number> {
  const { rows } = await database.query('select value from counters where name = $1', [name])
  return rows[0]?.value
}

describe('what comes back', () => {
  test('no amount is ever a float: int8 is a bigint, numeric a text', async () => {
    const { rows } = await database.query(
      `select 9007199254740993::int8 as count, 12345678901234567890.123456789::numeric as amount`,
    )
    expect(rows[0]).toEqual({ count: 9_007_199_254_740_993n, amount: '12345678901234567890.123456789' })
  })
})

describe('arrayOf: what goes in comes out', () => {
  const roundTrip = async (values: readonly (string | null)[], type = 'text'): Promise<unknown> => {
    const { rows } = await database.query(`select $1::${type}[] as values`, [arrayOf(values)])
    return rows[0].values
  }

  test.each([
    [[]],
    [['']],
    [['null', 'NULL', 'Null', 'nUlL']],
    [[null, 'null', null]],
    [['"', '\\', '\\"', '""', '\\\\']],
    [['{', '}', '{}', '{a,b}', ',', ',,']],
    [[' ', ' a', 'a ', '\t', '\n', 'a\r\nb']],
    [['ünïcode', '🪙', 'a\u00a0b']],
    [["it's", '$1', '%', '--', ';']],
  ])('%j', async values => {
    expect(await roundTrip(values)).toEqual(values)
  })

  test('any texts', async () => {
    const special = fc.constantFrom('"', '\\', ',', '{', '}', 'null', 'NULL', '', ' ', "'")
    // PostgreSQL holds every character but NUL.
    const text = fc.oneof(
      fc.string({ unit: 'grapheme' }).filter(value => !value.includes('\0')),
      fc.array(special, { maxLength: 6 }).map(parts => parts.join('')),
    )
    const property = fc.asyncProperty(fc.array(fc.option(text), { maxLength: 20 }), async values => {
      expect(await roundTrip(values)).toEqual(values)
    })
    await fc.assert(property, { numRuns: 200, seed: 20261124 })
  })

  test('numbers, truth values and times', async () => {
    const { rows } = await database.query(
      'select $1::int8[] as bigints, $2::integer[] as integers, $3::boolean[] as booleans, $4::timestamptz[] as times',
      [
        arrayOf([9_007_199_254_740_993n, -1n, null]),
        arrayOf([0, -5]),
        arrayOf([true, false, undefined]),
        arrayOf(['2026-11-24T12:00:00.123Z']),
      ],
    )
    expect(rows[0]).toEqual({
      bigints: expect.anything(),
      integers: [0, -5],
      booleans: [true, false, null],
      times: [new Date('2026-11-24T12:00:00.123Z')],
    })
    expect(String(rows[0].bigints)).toBe('9007199254740993,-1,')
  })
})

describe('transactions', () => {
  test('all of it is there, or nothing', async () => {
    await transaction(database, connection => connection.query(`update counters set value = 1 where name = 'a'`))
    expect(await counterOf('a')).toBe(1)
    const failing = transaction(database, async connection => {
      await connection.query(`update counters set value = 2 where name = 'a'`)
      throw new Error('after all not')
    })
    await expect(failing).rejects.toThrow('after all not')
    expect(await counterOf('a')).toBe(1)
  })

  test('what a serialization failure rolled back is run again, and counts once', async () => {
    const increment = () =>
      transaction(database, async connection => {
        await connection.query('set transaction isolation level serializable')
        const { rows } = await connection.query(`select value from counters where name = 'a'`)
        await connection.query(`update counters set value = $1 where name = 'a'`, [rows[0].value + 1])
      })
    await Promise.all([increment(), increment(), increment()])
    expect(await counterOf('a')).toBe(3)
  })

  test('of two that wait for each other one is run again', async () => {
    let runs = 0
    let holding = 0
    const bothHold = Promise.withResolvers<void>()
    const isOneDone = Promise.withResolvers<void>()
    const both = async (first: string, second: string): Promise<void> => {
      await transaction(database, async connection => {
        const run = ++runs
        // The one that is run again could else be quicker than the one that has waited for it, and meet it once more.
        if (run > 2) await isOneDone.promise
        await connection.query('update counters set value = value + 1 where name = $1', [first])
        if (++holding === 2) bothHold.resolve()
        await bothHold.promise
        await connection.query('update counters set value = value + 1 where name = $1', [second])
      })
      isOneDone.resolve()
    }
    await Promise.all([both('a', 'b'), both('b', 'a')])
    expect(runs).toBe(3)
    expect([await counterOf('a'), await counterOf('b')]).toEqual([2, 2])
  })

  test('races the caller names are run again, at most five times; anything else is not', async () => {
    let runs = 0
    const insert = (races?: ReadonlySet<string>) =>
      transaction(
        database,
        async connection => {
          runs++
          await connection.query(`insert into counters values ('a', 1)`)
        },
        races,
      )
    await expect(insert(new Set(['23505']))).rejects.toMatchObject({ code: '23505' })
    expect(runs).toBe(5)
    await expect(insert()).rejects.toMatchObject({ code: '23505' })
    expect(runs).toBe(6)
  })

  test('statements that are given together leave at once, and are done in their order', async () => {
    const values: number[] = []
    await transaction(database, connection =>
      together(connection, () =>
        [1, 2, 3].map(async factor => {
          const { rows } = await connection.query(
            `update counters set value = value * 10 + $1 where name = 'a' returning value`,
            [factor],
          )
          values.push(rows[0].value)
        }),
      ),
    )
    expect(values).toEqual([1, 12, 123])
    expect(await counterOf('a')).toBe(123)
  })

  test('of those given together the first that failed says why, and nothing of them is done', async () => {
    const failing = transaction(database, connection => {
      const add = async (sql: string): Promise<void> => {
        await connection.query(sql)
      }
      return together(connection, () => [
        add(`update counters set value = 7 where name = 'a'`),
        // What comes after it fails as well, and its failure is heard of earlier.
        together(connection, () => [together(connection, () => [add(`insert into counters values ('a', 1)`)])]),
        add(`update counters set value = 7 where name = 'b'`),
      ])
    })
    await expect(failing).rejects.toMatchObject({ code: '23505' })
    expect([await counterOf('a'), await counterOf('b')]).toEqual([0, 0])
  })

  test('an error that was swallowed is not taken for success', async () => {
    const swallowing = transaction(database, async connection => {
      await connection.query(`update counters set value = 7 where name = 'a'`)
      await connection.query('select 1/0').catch(() => {})
    })
    await expect(swallowing).rejects.toThrow('a transaction ended in ROLLBACK')
    expect(await counterOf('a')).toBe(0)
  })

  test('a connection that breaks on the way is thrown away; the next is a sound one', async () => {
    const one = openDatabase({ url: db.url }, 1)
    try {
      const broken = transaction(one, async connection => {
        const { rows } = await connection.query('select pg_backend_pid() as pid')
        await database.query('select pg_terminate_backend($1)', [rows[0].pid])
        await connection.query('select 1')
      })
      const error = await broken.then(
        () => null,
        (reason: unknown) => reason,
      )
      expect(isAway(error)).toBe(true)
      expect((await one.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    } finally {
      await one.end()
    }
  })
})

describe('errors', () => {
  test.each([
    [Object.assign(new Error(''), { code: '40001' }), '40001'],
    [new Error('40001'), ''],
    [{ code: '40001' }, ''],
    [Object.assign(new Error(''), { code: 7 }), ''],
    [undefined, ''],
  ])('a code is read of an error, never of its words: %o', (error, code) => {
    expect(codeOf(error)).toBe(code)
  })

  test('nobody there is told from a statement that is wrong', async () => {
    const nobody = openDatabase({ host: '/nonexistent', port: 1, user: 'u', password: 'p', database: 'd' }, 1)
    const error = await nobody.query('select 1').catch((reason: unknown) => reason)
    expect(isAway(error)).toBe(true)
    expect(isAway(await database.query('select 1/0').catch((reason: unknown) => reason))).toBe(false)
    await nobody.end()
  })
})
