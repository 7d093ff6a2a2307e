import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { openDatabase } from '../../src/db.ts'
import { createLogger } from '../../src/log.ts'
import { migrate } from '../../src/migrate.ts'
import { createLedgerWallet } from '../../src/wallet/ledger-wallet.ts'
import { createMemoryWallet } from '../../src/wallet/memory-wallet.ts'
import type { Operation, WalletLevel } from '../../src/wallet/wallet.ts'
import { holdsSuite } from '../suites/holds.ts'
import { walletSuite, walletsAgree } from '../suites/wallet.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { emptyLedger as emptyBooks } from '../support/empty-ledger.ts'
import { ASSETS, BUYER, FEES, SELLER } from '../support/trades.ts'

const clock = systemClock()
const instruments = { assets: ASSETS, markets: new Map() }
let db: TestDatabase

beforeAll(async () => {
  db = await createTestDatabase()
  await migrate(db.database, 'ledger')
})
afterAll(() => db.drop())

const ledger = (level?: WalletLevel) =>
  createLedgerWallet({
    database: db.database,
    instruments,
    clock,
    feeUserId: FEES,
    log: createLogger('silent'),
    ...(level === undefined ? {} : { level }),
  })

async function emptyLedger(level: WalletLevel) {
  await emptyBooks(db.database)
  return ledger(level)
}

walletSuite('the ledger on PostgreSQL', emptyLedger)
holdsSuite('the ledger on PostgreSQL', emptyLedger)
const reference = async (level: WalletLevel) => createMemoryWallet({ assets: ASSETS, clock, feeUserId: FEES, level })
walletsAgree('the ledger on PostgreSQL', async level => [await emptyLedger(level)], reference)
walletsAgree('the ledger of three processes', async level => [await emptyLedger(level), ledger(), ledger()], reference)

const credit = (key: string, change: Partial<Operation> = {}): Operation => ({
  key,
  tradeId: null,
  type: 'credit',
  userId: BUYER,
  currency: 'USDT',
  amount: 10n,
  reason: 'DEPOSIT',
  ...change,
})

describe('two processes on one ledger', () => {
  test('the same new key, at the same moment, moves money once', async () => {
    await emptyLedger('settlements')
    const processes = [ledger(), ledger(), ledger()]
    for (let round = 0; round < 20; round++) {
      const outcomes = await Promise.all(processes.map(wallet => wallet.apply(credit(`race-${round}`))))
      expect(outcomes.filter(each => each.outcome === 'applied' && !each.replayed)).toHaveLength(1)
    }
    expect((await ledger().balance(BUYER, 'USDT'))?.total).toBe(200n)
  })

  test('a key is taken back once, also by two at the same moment', async () => {
    await emptyLedger('settlements')
    const processes = [ledger(), ledger(), ledger()]
    for (let round = 0; round < 20; round++) {
      await ledger().apply(credit(`undo-${round}`))
      const outcomes = await Promise.all(processes.map(wallet => wallet.reverse(`undo-${round}`)))
      expect(outcomes.filter(each => each.outcome === 'applied' && !each.replayed)).toHaveLength(1)
    }
    expect((await ledger().balance(BUYER, 'USDT'))?.total).toBe(0n)
  })

  test('an account opened by both, and money moved crosswise, comes out right', async () => {
    await emptyLedger('settlements')
    const [one, two] = [ledger(), ledger()]
    await Promise.all([
      one.apply(credit('a', { amount: 1000n })),
      two.apply(credit('b', { userId: SELLER, amount: 1000n })),
    ])
    const move = (wallet: typeof one, from: string, to: string, at: number) =>
      wallet.settle({
        key: `${from}-${at}`,
        tradeId: '00000000-0000-4000-9000-00000000bbbb',
        legs: [
          { type: 'debit', userId: from, currency: 'USDT', amount: 1n, reason: 'TRADE_SETTLEMENT' },
          { type: 'credit', userId: to, currency: 'USDT', amount: 1n, reason: 'TRADE_SETTLEMENT' },
        ],
      })
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, (_, at) =>
        at % 2 === 0 ? move(one, BUYER, SELLER, at) : move(two, SELLER, BUYER, at),
      ),
    )
    expect(outcomes.every(each => each.outcome === 'applied')).toBe(true)
    expect((await one.balance(BUYER, 'USDT'))?.total).toBe(1000n)
    expect((await one.balance(SELLER, 'USDT'))?.total).toBe(1000n)
  })
})

describe('what the tables refuse, whatever the code forgets', () => {
  test('entries are never changed or removed', async () => {
    await emptyLedger('settlements')
    await ledger().apply(credit('kept'))
    for (const statement of [
      'update ledger_entries set amount = 1',
      'delete from ledger_entries',
      'truncate ledger_entries',
    ]) {
      await expect(db.database.query(statement)).rejects.toThrow('never changed or removed')
    }
  })

  test('a balance below zero, and totals that do not add up', async () => {
    await emptyLedger('settlements')
    await ledger().apply(credit('kept'))
    await expect(db.database.query('update ledger_accounts set balance = -1')).rejects.toThrow('check constraint')
    await expect(db.database.query('update ledger_totals set balances = balances + 1')).rejects.toThrow(
      'check constraint',
    )
  })
})

test('a reversal that was read while the one before it was under way is a repetition of it', async () => {
  await emptyLedger('settlements')
  const wallet = ledger()
  await wallet.apply(credit('taken back'))
  await wallet.apply(credit('spent', { type: 'debit', amount: 1n, reason: 'WITHDRAWAL' }))
  const inTheWay = await db.database.connect()
  const lockAccount = () => inTheWay.query(`begin; select from ledger_accounts where user_id = '${BUYER}' for update`)
  try {
    // A guess that meets a lock is let go, and so are the next ones: eight batches are decided under locks.
    await lockAccount()
    const met = wallet.apply(credit('met', { amount: 1n }))
    await delay(100)
    await inTheWay.query('rollback')
    await met
    for (let at = 0; at < 7; at++) await wallet.apply(credit(`other ${at}`, { userId: SELLER }))
    // The last of them waits for the account, and the one behind it has read by then that nothing is taken back.
    await lockAccount()
    const first = wallet.reverse('taken back')
    await delay(50)
    const second = wallet.reverse('taken back')
    await delay(50)
    await inTheWay.query('rollback')
    expect(await first).toMatchObject({ outcome: 'applied', replayed: false, done: { status: 'reversed' } })
    expect(await second).toMatchObject({ outcome: 'applied', replayed: true, done: { status: 'reversed' } })
  } finally {
    inTheWay.release(true)
  }
})

test('a call that the database refuses costs no other call of its batch', async () => {
  await emptyLedger('settlements')
  const wallet = ledger()
  await db.database.query(`alter table ledger_operations add constraint for_test check (key <> 'poison')`)
  try {
    const keys = ['fine-1', 'poison', 'fine-2']
    const outcomes = await Promise.all(keys.map(key => wallet.apply(credit(key))))
    expect(outcomes.map(each => each.outcome)).toEqual(['applied', 'unanswered', 'applied'])
    expect((await wallet.balance(BUYER, 'USDT'))?.total).toBe(20n)
  } finally {
    await db.database.query('alter table ledger_operations drop constraint for_test')
  }
})

test('a key refused in a currency that is configured later, with fewer places, harms no other call', async () => {
  await emptyLedger('settlements')
  const before = ledger()
  const strange = credit('strange', { currency: 'XAU', amount: 1n })
  expect(await before.apply(strange)).toMatchObject({ outcome: 'refused', code: 'UNKNOWN_CURRENCY' })
  const assets = new Map([...ASSETS, ['XAU', { code: 'XAU', scale: 2 }]])
  const options = { database: db.database, instruments: { assets, markets: new Map() }, clock, feeUserId: FEES }
  const after = createLedgerWallet({ ...options, log: createLogger('silent') })
  const outcomes = await Promise.all([after.apply(credit('fine')), after.apply(strange), after.reverse('strange')])
  expect(outcomes.map(each => each.outcome)).toEqual(['applied', 'fault', 'applied'])
  expect(await after.keyRecord('strange')).toMatchObject({ status: 'cancelled', movement: null })
})

test('a settlement repeated after its currency was given more places is still the same one', async () => {
  await emptyLedger('settlements')
  const legs = (scale: bigint) =>
    [
      { type: 'debit', userId: FEES, currency: 'USDT', amount: 5n * scale, reason: 'TRADE_SETTLEMENT' },
      { type: 'credit', userId: BUYER, currency: 'USDT', amount: 5n * scale, reason: 'TRADE_SETTLEMENT' },
    ] as const
  const call = { key: 'grown', tradeId: '00000000-0000-4000-9000-00000000cccc' }
  expect(await ledger().settle({ ...call, legs: legs(1n) })).toMatchObject({ outcome: 'applied', replayed: false })
  const assets = new Map([...ASSETS, ['USDT', { code: 'USDT', scale: 9 }]])
  const options = { database: db.database, instruments: { assets, markets: new Map() }, clock, feeUserId: FEES }
  const after = createLedgerWallet({ ...options, log: createLogger('silent') })
  expect(await after.settle({ ...call, legs: legs(10n) })).toMatchObject({ outcome: 'applied', replayed: true })
})

test('three processes at work on the same accounts at once: nothing stands still, and everything adds up', async () => {
  await emptyLedger('settlements')
  const databases = [1, 2, 3].map(() => openDatabase({ url: db.url }, 8))
  const processes = databases.map(database =>
    createLedgerWallet({ database, instruments, clock, feeUserId: FEES, log: createLogger('silent') }),
  )
  const users = Array.from({ length: 6 }, (_, at) => `00000000-0000-4000-8000-0000000000d${at}`)
  for (const userId of users) await ledger().apply(credit(`fund ${userId}`, { userId, amount: 200n }))
  // The same numbers in every run; how the processes meet is not.
  let seed = 20261124
  const below = (limit: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return (seed >>> 8) % limit
  }
  const userAt = (at: number): string => users[at] ?? BUYER
  let made = 0
  let longestMs = 0
  const worker = async (wallet: (typeof processes)[number]): Promise<void> => {
    while (made < 20_000) {
      const at = made++
      // A tenth of the keys was used before, and a twelfth of the calls takes something back.
      const key = below(10) === 0 ? `shared-${below(at + 1)}` : `shared-${at}`
      const amount = BigInt(1 + below(150))
      const leg = { currency: 'USDT', reason: 'TRADE_SETTLEMENT' } as const
      const legs = [
        { ...leg, type: 'debit' as const, userId: userAt(below(6)), amount },
        { ...leg, type: 'credit' as const, userId: userAt(below(6)), amount: amount - 1n },
        { ...leg, type: 'credit' as const, userId: FEES, amount: 1n },
      ].filter(each => each.amount > 0n)
      const started = performance.now()
      const outcome =
        below(12) === 0
          ? await wallet.reverse(key)
          : await wallet.settle({ key, tradeId: '00000000-0000-4000-9000-00000000dddd', legs })
      expect(outcome.outcome).not.toBe('unanswered')
      longestMs = Math.max(longestMs, performance.now() - started)
    }
  }
  await Promise.all(Array.from({ length: 300 }, (_, at) => worker(processes[at % 3] as (typeof processes)[number])))
  const totals = (await ledger().totals()).find(each => each.currency === 'USDT')
  expect(totals).toEqual({ currency: 'USDT', balances: 1200n, clearing: 0n, deposits: 1200n, withdrawals: 0n })
  expect(longestMs).toBeLessThan(15_000)
  for (const database of databases) await database.end()
})
