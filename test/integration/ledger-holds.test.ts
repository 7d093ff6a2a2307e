import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { openDatabase } from '../../src/db.ts'
import { createLogger } from '../../src/log.ts'
import { migrate } from '../../src/migrate.ts'
import { createLedgerWallet } from '../../src/wallet/ledger-wallet.ts'
import type { BookedWallet } from '../../src/wallet/wallet.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { emptyLedger } from '../support/empty-ledger.ts'
import { ASSETS, BUYER, FEES, SELLER } from '../support/trades.ts'

const TRADE = '00000000-0000-4000-9000-00000000eeee'
const instruments = { assets: ASSETS, markets: new Map() }
let db: TestDatabase

beforeAll(async () => {
  db = await createTestDatabase()
  await migrate(db.database, 'ledger')
})
beforeEach(() => emptyLedger(db.database))
afterAll(() => db.drop())

function ledger(database = db.database): BookedWallet {
  return createLedgerWallet({
    database,
    instruments,
    clock: systemClock(),
    feeUserId: FEES,
    log: createLogger('silent'),
  })
}

async function fund(amount: bigint, userId = BUYER): Promise<void> {
  const of = { tradeId: null, userId, currency: 'USDT', amount } as const
  const outcome = await ledger().apply({ key: `fund ${userId}`, type: 'credit', ...of, reason: 'DEPOSIT' })
  expect(outcome.outcome).toBe('applied')
}

/** What each account holds, and what remains of its holds: the same, whatever happened. */
async function sums(): Promise<readonly unknown[]> {
  const { rows } = await db.database.query(`
    select a.user_id, trunc(a.held * 1e8)::text as held,
      trunc(coalesce((
        select sum(h.remaining) from ledger_holds h where h.user_id = a.user_id and h.currency = a.currency
      ), 0) * 1e8)::text as remaining
    from ledger_accounts a
    order by a.user_id`)
  return rows
}

describe('several processes at once', () => {
  test('a hundred holds on a balance that covers three: three are taken, and 97 say why not', async () => {
    await fund(100n)
    const processes = [ledger(), ledger(), ledger()]
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, (_, at) =>
        (processes[at % 3] as BookedWallet).hold({ key: `hold-${at}`, userId: BUYER, currency: 'USDT', amount: 30n }),
      ),
    )
    expect(outcomes.filter(each => each.outcome === 'applied')).toHaveLength(3)
    const amounts = outcomes.flatMap(each => (each.outcome === 'refused' ? [each.amounts] : []))
    expect(amounts).toEqual(Array.from({ length: 97 }, () => ({ currency: 'USDT', available: 10n, required: 30n })))
    expect(await sums()).toEqual([{ user_id: BUYER, held: '90', remaining: '90' }])
  })

  test('the same hold, and the same release, at the same moment, have one effect', async () => {
    await fund(1000n)
    const processes = [ledger(), ledger(), ledger()]
    for (let round = 0; round < 20; round++) {
      const hold = { key: `hold-${round}`, userId: BUYER, currency: 'USDT', amount: 10n }
      const placed = await Promise.all(processes.map(wallet => wallet.hold(hold)))
      expect(placed.filter(each => each.outcome === 'applied' && !each.replayed)).toHaveLength(1)
      const release = { key: `release-${round}`, hold: hold.key, amountAtto: 4n * 10n ** 10n }
      const released = await Promise.all(processes.map(wallet => wallet.release(release)))
      expect(released.filter(each => each.outcome === 'applied' && !each.replayed)).toHaveLength(1)
      expect(new Set(released.map(each => each.outcome === 'applied' && each.done.remaining))).toEqual(new Set([6n]))
    }
    expect(await ledger().balance(BUYER, 'USDT')).toMatchObject({ available: 880n, held: 120n, total: 1000n })
  })

  test('a hold that is drawn on and taken back at the same moment ends in one of two ways', async () => {
    const [one, two] = [ledger(), ledger()]
    await fund(10_000n)
    for (let round = 0; round < 20; round++) {
      const key = `hold-${round}`
      const of = { userId: BUYER, currency: 'USDT' } as const
      await one.hold({ key, ...of, amount: 10n })
      const debit = { key: `debit-${round}`, type: 'debit', tradeId: TRADE, ...of, amount: 10n, hold: key } as const
      const [drawn, reversed] = await Promise.all([
        one.apply({ ...debit, reason: 'TRADE_SETTLEMENT' }),
        two.reverse(key),
      ])
      expect(reversed).toMatchObject({ outcome: 'applied', done: { status: 'reversed' } })
      expect(drawn.outcome === 'applied' || (drawn.outcome === 'refused' && drawn.code === 'HOLD_NOT_FOUND')).toBe(true)
    }
    expect(await one.balance(BUYER, 'USDT')).toMatchObject({ held: 0n })
  })

  test('what is held by another process is not given away: a guess on what was available is decided again', async () => {
    const [guessing, holding] = [ledger(), ledger()]
    await fund(100n)
    const debit = (key: string, amount: bigint) => {
      const of = { userId: BUYER, currency: 'USDT', tradeId: TRADE, reason: 'TRADE_SETTLEMENT' } as const
      return guessing.apply({ key, type: 'debit', ...of, amount })
    }
    // It knows the account from now on, and reads it no more.
    expect(await debit('first', 10n)).toMatchObject({ outcome: 'applied' })
    await holding.hold({ key: 'hold', userId: BUYER, currency: 'USDT', amount: 90n })
    expect(await debit('second', 1n)).toMatchObject({ outcome: 'refused', amounts: { available: 0n, required: 1n } })
    await holding.release({ key: 'release', hold: 'hold', amountAtto: null })
    expect(await debit('third', 1n)).toMatchObject({ outcome: 'applied' })
  })

  test('a hold, and an account, that another process brought in meanwhile are there for this one', async () => {
    const [guessing, other] = [ledger(), ledger()]
    await fund(100n)
    const of = { currency: 'USDT', tradeId: TRADE, reason: 'TRADE_SETTLEMENT' } as const
    const debit = (key: string, userId: string, named: { readonly hold?: string } = {}) =>
      guessing.apply({ key, type: 'debit', userId, amount: 10n, ...of, ...named })
    expect(await debit('first', BUYER, { hold: 'hold' })).toMatchObject({ outcome: 'refused', code: 'HOLD_NOT_FOUND' })
    expect(await debit('second', SELLER)).toMatchObject({ outcome: 'refused', code: 'INSUFFICIENT_BALANCE' })
    await other.hold({ key: 'hold', userId: BUYER, currency: 'USDT', amount: 100n })
    await other.apply({ key: 'given', type: 'credit', userId: SELLER, amount: 10n, ...of })
    expect(await debit('third', BUYER, { hold: 'hold' })).toMatchObject({ outcome: 'applied' })
    expect(await debit('fourth', SELLER)).toMatchObject({ outcome: 'applied' })
  })

  test('what was drawn on, released or taken back by another process is so for this one', async () => {
    const [guessing, other] = [ledger(), ledger()]
    await fund(100n)
    const of = { userId: BUYER, currency: 'USDT' } as const
    for (const key of ['drawn', 'released', 'reversed']) await guessing.hold({ key, ...of, amount: 10n })
    const debit = (wallet: BookedWallet, key: string, hold: string) =>
      wallet.apply({ key, type: 'debit', ...of, amount: 8n, hold, tradeId: TRADE, reason: 'TRADE_SETTLEMENT' })
    await debit(other, 'debit', 'drawn')
    await other.release({ key: 'release', hold: 'released', amountAtto: 8n * 10n ** 10n })
    await other.reverse('reversed')
    const rest = (hold: string) => guessing.release({ key: `rest of ${hold}`, hold, amountAtto: 3n * 10n ** 10n })
    for (const hold of ['drawn', 'released']) {
      expect(await rest(hold)).toMatchObject({ code: 'HOLD_EXCEEDED', amounts: { available: 2n, required: 3n } })
    }
    expect(await rest('reversed')).toMatchObject({ outcome: 'refused', code: 'HOLD_NOT_FOUND' })
    expect(await debit(guessing, 'too late', 'reversed')).toMatchObject({ code: 'HOLD_NOT_FOUND' })
    expect(await guessing.balance(BUYER, 'USDT')).toMatchObject({ available: 88n, held: 4n, total: 92n })
  })

  test('random calls of all kinds on the same accounts: nothing is held or spent twice', {
    timeout: 60_000,
  }, async () => {
    const databases = [1, 2, 3].map(() => openDatabase({ url: db.url }, 8))
    const processes = databases.map(ledger)
    const users = Array.from({ length: 4 }, (_, at) => `00000000-0000-4000-8000-0000000000e${at}`)
    for (const userId of users) await fund(2000n, userId)
    let seed = 20261125
    const below = (limit: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      return (seed >>> 8) % limit
    }
    const userAt = (at: number): string => users[at % users.length] ?? BUYER
    const net = new Map(users.map(userId => [userId, 2000n]))
    const move = (userId: string, amount: bigint): void => {
      net.set(userId, (net.get(userId) ?? 0n) + amount)
    }
    let made = 0
    const step = async (wallet: BookedWallet): Promise<void> => {
      const at = made++
      const [userId, amount] = [userAt(below(4)), BigInt(1 + below(120))]
      // Mostly a hold of the user's own: its number says whose it is.
      const hold = `hold ${users.indexOf(userId) + 4 * below(1 + at / 4)}`
      const of = { currency: 'USDT', amount, reason: 'TRADE_SETTLEMENT' } as const
      const outcome = await (async () => {
        switch (below(8)) {
          case 0:
          case 1:
            return await wallet.hold({ key: `hold ${at}`, userId: userAt(at), currency: 'USDT', amount })
          case 2: {
            const amountAtto = below(2) === 0 ? null : amount * 10n ** 10n
            return await wallet.release({ key: `release ${at}`, hold, amountAtto })
          }
          case 3:
            return await wallet.reverse(hold)
          case 4: {
            const to = userAt(below(4))
            const legs = [
              { ...of, type: 'debit' as const, userId, hold },
              { ...of, type: 'credit' as const, userId: to },
            ]
            const settled = await wallet.settle({ key: `settle ${at}`, tradeId: TRADE, legs })
            if (settled.outcome === 'applied') {
              move(userId, -amount)
              move(to, amount)
            }
            return settled
          }
          default: {
            const named = below(2) === 0 ? {} : { hold }
            const type = below(3) === 0 ? ('credit' as const) : ('debit' as const)
            const operation = { ...of, key: `move ${at}`, tradeId: TRADE, type, userId }
            const moved = await wallet.apply(type === 'debit' ? { ...operation, ...named } : operation)
            if (moved.outcome === 'applied') move(userId, type === 'debit' ? -amount : amount)
            return moved
          }
        }
      })()
      expect(['applied', 'refused', 'fault']).toContain(outcome.outcome)
    }
    const worker = async (wallet: BookedWallet): Promise<void> => {
      while (made < 4000) await step(wallet)
    }
    await Promise.all(Array.from({ length: 90 }, (_, at) => worker(processes[at % 3] as BookedWallet)))
    for (const row of (await sums()) as { held: string; remaining: string }[]) expect(row.held).toBe(row.remaining)
    for (const userId of users) {
      const balance = await ledger().balance(userId, 'USDT')
      expect(balance?.total).toBe(net.get(userId))
      expect(balance?.available).toBeGreaterThanOrEqual(0n)
    }
    for (const database of databases) await database.end()
  })
})

describe('what the tables refuse, whatever the code forgets', () => {
  beforeEach(async () => {
    await fund(100n)
    await ledger().hold({ key: 'hold', userId: BUYER, currency: 'USDT', amount: 60n })
  })

  test.each([
    ['a balance below what is held', `update ledger_accounts set balance = 0.00000059`, 'ledger_accounts_available'],
    ['more held than there is', `update ledger_accounts set held = 1`, 'ledger_accounts_available'],
    ['more left than was held', `update ledger_holds set remaining = amount + 0.00000001`, 'check constraint'],
    ['less than nothing left', `update ledger_holds set remaining = -1`, 'check constraint'],
    ['something left of what was taken back', `update ledger_holds set reversed = true`, 'check constraint'],
    ['a hold that is removed', `delete from ledger_holds`, 'never removed'],
    ['all holds that are removed', `truncate ledger_holds`, 'never removed'],
    [
      'a second hold under a key',
      `insert into ledger_holds (key, user_id, currency, amount, remaining) values ('hold', '${BUYER}', 'USDT', 0.00000001, 0.00000001)`,
      'duplicate key',
    ],
    [
      'a credit that names a hold',
      `update ledger_operations set hold = 'hold' where kind = 'credit'`,
      'ledger_operations_hold',
    ],
  ])('%s', async (_, statement, words) => {
    await expect(db.database.query(statement)).rejects.toThrow(words)
    expect(await sums()).toEqual([{ user_id: BUYER, held: '60', remaining: '60' }])
  })
})

test('books that were kept before there were holds go on as they are', async () => {
  const old = await createTestDatabase()
  try {
    const folder = new URL('../../migrations/ledger/', import.meta.url)
    await old.database.query(await readFile(new URL('0001_ledger.sql', folder), 'utf8'))
    await old.database.query(`
      create table ledger_migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null);
      insert into ledger_migrations (name, run_on) values ('0001_ledger', now());
      insert into ledger_accounts values ('${BUYER}', 'USDT', 0.000001, 1, false), ('${FEES}', 'USDT', -0.000001, 1, true);
      insert into ledger_operations (key, kind, status, user_id, currency, amount, reason, balance_after, at)
      values ('before', 'credit', 'applied', '${BUYER}', 'USDT', 0.000001, 'DEPOSIT', 0.000001, now())`)
    await migrate(old.database, 'ledger')
    const wallet = ledger(old.database)
    expect(await wallet.balance(BUYER, 'USDT')).toMatchObject({ available: 100n, held: 0n, total: 100n })
    expect(await wallet.balance(FEES, 'USDT')).toMatchObject({ available: -100n, held: 0n, total: -100n })
    expect(await wallet.keyRecord('before')).toMatchObject({
      kind: 'credit',
      status: 'applied',
      hold: null,
      held: null,
    })
    const of = { userId: BUYER, currency: 'USDT', amount: 100n } as const
    const again = { key: 'before', tradeId: null, type: 'credit', ...of, reason: 'DEPOSIT' } as const
    expect(await wallet.apply(again)).toMatchObject({ outcome: 'applied', replayed: true })
    expect(await wallet.hold({ key: 'hold', ...of })).toMatchObject({ outcome: 'applied', done: { remaining: 100n } })
  } finally {
    await old.drop()
  }
})
