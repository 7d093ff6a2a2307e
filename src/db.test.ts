import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../test/support/database.ts'
import {
  arrayOf,
  codeOf,
  type Database,
  isAway,
  limitSilence,
  openDatabase,
  transaction,
  writeAll,
  writeInSteps,
} from './db.ts'
import { migrate } from './migrate.ts'
import { runStatements, type Statement, UNEXPECTED_COUNT } from './statements.ts'

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

describe('a connection that falls silent', () => {
  test('is given up by whoever waits for its answer, and the next is a sound one', async () => {
    const { url, proxy } = await proxied(db.url)
    const one = openDatabase({ url }, 2)
    limitSilence(one, 300)
    try {
      await one.query('select 1')
      // Idle for longer than that, which is nothing.
      await new Promise(resolve => setTimeout(resolve, 600))
      expect((await one.query('select 1 as one')).rows).toEqual([{ one: 1 }])
      const waiting = transaction(one, async connection => {
        await connection.query(`update counters set value = 1 where name = 'a'`)
        await new Promise(resolve => setTimeout(resolve, 600))
        proxy.isSilent = true
        await connection.query(`update counters set value = 2 where name = 'a'`)
      })
      const batch = transaction(one, async connection => {
        await connection.query('select 1')
        await new Promise(resolve => setTimeout(resolve, 700))
        await runStatements(connection, [{ name: 'one', text: 'select 1', values: [] }])
      })
      for (const lost of [waiting, batch]) {
        const error = await lost.catch((reason: unknown) => reason)
        expect([codeOf(error), isAway(error)]).toEqual(['ETIMEDOUT', true])
      }
      proxy.isSilent = false
      expect((await one.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    } finally {
      await one.end()
      proxy.close()
    }
  })
})

/** In front of a database; while it is silent it passes nothing on, and says nothing of that. */
async function proxied(to: string) {
  const own = new URL(to.replace('@/', '@localhost/'))
  const host = own.searchParams.get('host') ?? own.hostname
  const port = own.searchParams.get('port') ?? (own.port === '' ? '5432' : own.port)
  const sockets = new Set<Socket>()
  const state = {
    isSilent: false,
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
  const server = createServer(near => {
    const far = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(Number(port), host)
    for (const [from, into] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.on('error', () => {})
      from.on('data', data => {
        if (!state.isSilent) into.write(data)
      })
      from.on('close', () => into.destroy())
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port: ownPort } = server.address() as AddressInfo
  return {
    proxy: state,
    url: `postgres://${own.username}:${own.password}@127.0.0.1:${ownPort}${own.pathname}`,
  }
}

describe('statements that are sent together', () => {
  const set = (name: string, value: number): Statement => ({
    ...{ name: 'set', text: 'update counters set value = value * 10 + $2 where name = $1', values: [name, value] },
  })
  const taken: Statement = { name: 'taken', text: `insert into counters values ('a', 1)`, values: [] }

  test('are done in their order, all at once', async () => {
    await writeAll(database, [set('a', 1), set('b', 5), set('a', 2), set('a', 3)])
    expect([await counterOf('a'), await counterOf('b')]).toEqual([123, 5])
    const { rows } = await database.query('select count(distinct xmin::text) as transactions from counters')
    expect(rows).toEqual([{ transactions: 1n }])
  })

  test('are not done where one fails, before it or behind it, and say why', async () => {
    await expect(writeAll(database, [set('a', 1), taken, set('b', 1)])).rejects.toMatchObject({ code: '23505' })
    expect([await counterOf('a'), await counterOf('b')]).toEqual([0, 0])
  })

  test('fail where a count is not as expected', async () => {
    await migrate(database, 'store')
    const count: Statement = {
      ...{ name: 'count', text: `select expect_count(count(*), $1, 'counters') from counters`, values: [3] },
    }
    await expect(writeAll(database, [set('a', 1), count])).rejects.toMatchObject({
      ...{ code: UNEXPECTED_COUNT, message: '2 of 3 counters' },
    })
    expect(await counterOf('a')).toBe(0)
    await writeAll(database, [set('a', 1), { ...count, values: [2] }])
    expect(await counterOf('a')).toBe(1)
  })

  test('can be sent again on a connection on which they failed, and where they were never prepared', async () => {
    const one = openDatabase({ url: db.url }, 1)
    try {
      const half: Statement = { name: 'half', text: 'update counters set value = value / $1', values: [0] }
      const broken: Statement = { name: 'broken', text: 'no statement at all', values: [] }
      await expect(writeAll(one, [half, set('a', 1)])).rejects.toMatchObject({ code: '22012' })
      await expect(writeAll(one, [broken, set('a', 1)])).rejects.toMatchObject({ code: '42601' })
      await writeAll(one, [set('a', 8), { ...half, values: [2] }])
      expect(await counterOf('a')).toBe(4)
      // The driver's own names are others.
      await one.query({ name: 'set', text: 'update counters set value = $1', values: [9] })
      expect(await counterOf('a')).toBe(9)
    } finally {
      await one.end()
    }
  })

  test.each([
    ['text', [`"it's", {null}, \\ and 🪙`, '', null]],
    ['numeric', ['12345678901234567890.123456789', 7, 8n]],
    ['boolean', [true, false]],
    ['timestamptz', [new Date('2024-08-08T01:02:03.004Z')]],
  ])('carry values of %s', async (type, values) => {
    await database.query(`create table if not exists carried_${type} (value ${type})`)
    const text = `insert into carried_${type} values ($1)`
    await writeAll(
      database,
      values.map(value => ({ name: `carry-${type}`, text, values: [value] })),
    )
    const { rows } = await database.query({ text: `select value from carried_${type}`, rowMode: 'array' })
    const plain = (value: unknown): unknown =>
      typeof value === 'number' || typeof value === 'bigint' ? `${value}` : value
    expect(rows.map(([value]) => value)).toEqual(values.map(plain))
  })

  test('of two that wait for each other one is sent again', async () => {
    const many = (names: readonly string[]): readonly Statement[] =>
      names.flatMap(name => [set(name, 1), { name: 'sleep', text: 'select pg_sleep(0.05)', values: [] }])
    await Promise.all([writeAll(database, many(['a', 'b'])), writeAll(database, many(['b', 'a']))])
    expect([await counterOf('a'), await counterOf('b')]).toEqual([11, 11])
  })

  test('in two steps are one transaction', async () => {
    let seen: number | null = null
    const look = async (): Promise<void> => {
      seen = await counterOf('a')
    }
    await writeInSteps(database, [set('a', 1)], [set('a', 2)], { lockTimeoutMs: 1000, between: look })
    expect([seen, await counterOf('a')]).toEqual([0, 12])
    await writeInSteps(database, [set('a', 3)], [set('a', 4)], { lockTimeoutMs: 1000, between: null })
    expect(await counterOf('a')).toBe(1234)
  })

  test('in two steps leave nothing, whichever of them fails, or what is between', async () => {
    const options = { lockTimeoutMs: 1000, between: async () => {} }
    await expect(writeInSteps(database, [set('a', 1), taken], [], options)).rejects.toMatchObject({ code: '23505' })
    await expect(writeInSteps(database, [set('a', 1)], [taken], options)).rejects.toMatchObject({ code: '23505' })
    await expect(writeInSteps(database, [set('a', 1)], [taken], { ...options, between: null })).rejects.toMatchObject({
      code: '23505',
    })
    const between = (): Promise<void> => Promise.reject(new Error('in vain'))
    await expect(writeInSteps(database, [set('a', 1)], [], { ...options, between })).rejects.toThrow('in vain')
    expect(await counterOf('a')).toBe(0)
  })

  test('wait for a lock no longer than they may', async () => {
    const other = await database.connect()
    try {
      await other.query(`begin; update counters set value = 1 where name = 'a'`)
      await expect(
        writeInSteps(database, [set('a', 1)], [], { lockTimeoutMs: 20, between: null }),
      ).rejects.toMatchObject({ code: '55P03' })
      await other.query('rollback')
      // And those behind them wait as long as they have to.
      expect((await database.query('show lock_timeout')).rows).toEqual([{ lock_timeout: '0' }])
    } finally {
      other.release()
    }
  })

  test('fail with the connection, which is not used again', async () => {
    const one = openDatabase({ url: db.url }, 1)
    try {
      const kill: Statement = { name: 'kill', text: 'select pg_terminate_backend(pg_backend_pid())', values: [] }
      await expect(writeAll(one, [set('a', 1), kill, set('a', 2)])).rejects.toThrow()
      expect(await counterOf('a')).toBe(0)
      await writeAll(one, [set('a', 7)])
      expect(await counterOf('a')).toBe(7)
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
