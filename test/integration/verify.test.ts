import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Trade } from '../../src/core/trade.ts'
import { createLogger } from '../../src/log.ts'
import { verifyBooks } from '../../src/verify/verify.ts'
import { createIntake } from '../../src/worker/intake.ts'
import { createWorkerPool } from '../../src/worker/pool.ts'
import { type Books, legKey, openBooks, POLICY } from '../support/books.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { fillBooks, POOR, UNIT } from '../support/filled-books.ts'
import { tamperingWith } from '../support/tampering.ts'
import { BUYER, FEES, makeTrade, SELLER } from '../support/trades.ts'

let opened: TestDatabase
let books: Books
/** Trades by what became of them. */
let trades: ReadonlyMap<string, Trade>

beforeAll(async () => {
  opened = await createTestDatabase()
  books = await openBooks(opened.database)
  trades = await fillBooks(books)
  await save()
})

afterAll(() => opened.drop())

function of(name: string): Trade {
  const one = trades.get(name)
  if (one === undefined) throw new Error(`no trade is ${name}`)
  return one
}

// What was saved is put back after each test

const { save, restore, tamper } = tamperingWith(() => opened.database)

/** The kinds of break that are found, each with the trade it is about if it is one of ours. */
async function found(): Promise<readonly string[]> {
  const names = new Map([...trades].map(([name, { id }]) => [id, name]))
  const { examples } = await verifyBooks(opened.database)
  return examples.map(({ kind, tradeId }) => (tradeId === undefined ? kind : `${kind}: ${names.get(tradeId)}`))
}

const id = (name: string) => `'${of(name).id}'`
const SETTLED = 'settled, atomic, buyer-first'
const ON_SAGA = 'settled, saga, buyer-first'
const FAILED = 'seller without goods, saga, buyer-first'
const times = (count: number, what: string) => Array<string>(count).fill(what)

describe('what Legwork left', () => {
  test('is found to be in order, whatever became of each trade', async () => {
    const report = await verifyBooks(opened.database)
    expect(report.examples).toEqual([])
    expect(report).toMatchObject({ trades: trades.size, breaks: 0, conserved: true })
    expect(report.settled + report.failed + report.pending).toBe(trades.size)
  })

  test('is summed up from the entries, in canonical decimals', async () => {
    const { totals } = await verifyBooks(opened.database)
    expect(totals.map(({ currency }) => currency)).toEqual(['BTC', 'ETH', 'EUR', 'USDT'])
    expect(totals[1]).toEqual({
      currency: 'ETH',
      deposits: '20000000',
      withdrawals: '0',
      balances: '20000000',
      fees: '0',
      clearing: '0',
    })
    const usdt = totals[3]
    expect(usdt).toMatchObject({ deposits: '20000001', withdrawals: '0.0000001' })
    const fees = await opened.database.query(
      'select trim_scale(balance)::text as balance from ledger_accounts where user_id = $1',
      [FEES],
    )
    expect(usdt?.fees).toBe(fees.rows[0]?.balance)
    expect(await books.wallet.totals().then(all => all[3]?.clearing)).toBe(BigInt(usdt?.clearing ?? '') * UNIT)
  })

  test('is found to be in order at any instant while settlement is at work', async () => {
    const running = await createTestDatabase()
    try {
      for (const rail of ['atomic', 'saga'] as const) await settleWhileVerifying(running, rail, 300)
    } finally {
      await running.drop()
    }
  })
})

async function settleWhileVerifying({ database }: TestDatabase, rail: 'atomic' | 'saga', count: number): Promise<void> {
  const { store, wallet, ...running } = await openBooks(database)
  for (const userId of [BUYER, SELLER]) {
    for (const currency of ['USDT', 'BTC']) await running.deposit(userId, currency, 100_000_000n * UNIT)
  }
  const clock = systemClock()
  let ended = 0
  const pool = createWorkerPool({
    store,
    wallet,
    traits: { level: 'settlements', idempotent: true },
    policy: POLICY,
    clock,
    random: () => 0.5,
    log: createLogger('silent'),
    owner: randomUUID(),
    workerPoolSize: 1,
    queueCapacity: 1000,
    leaseMs: 30_000,
    pollMs: 1000,
    deadLettersEnabled: true,
    onEnd: () => {
      ended++
    },
  })
  const intake = createIntake({ store, pool, clock, rail, legOrder: 'buyer-first', waitsForRoom: false })
  pool.start()
  const poor = { sellerUserId: POOR }
  await intake.take(
    Array.from({ length: count }, (_, at) => ({ trade: makeTrade(at % 10 === 0 ? poor : {}), isTimeGiven: true })),
  )
  do {
    expect((await verifyBooks(database)).examples).toEqual([])
  } while (ended < count)
  await pool.stop(10_000)
  const report = await verifyBooks(database)
  expect(report).toMatchObject({ breaks: 0, conserved: true, pending: 0 })
  expect(report.totals.map(({ clearing }) => clearing)).toEqual(['0', '0', '0', '0'])
}

describe('what was tampered with', () => {
  afterEach(restore)

  test.each<[what: string, statements: () => readonly string[], breaks: readonly string[]]>([
    // Currencies
    [
      'money on an account that came from nowhere',
      () => [`update ledger_accounts set balance = balance + 1 where user_id = '${BUYER}' and currency = 'EUR'`],
      ['conservation', 'account-balance'],
    ],
    [
      'sums that are both too high, so that they still add up',
      () => [`update ledger_totals set deposits = deposits + 1, withdrawals = withdrawals + 1 where currency = 'EUR'`],
      times(2, 'totals'),
    ],
    ['a currency without sums', () => [`delete from ledger_totals where currency = 'ETH'`], times(2, 'totals')],
    [
      'a leg that the settlement does not know of',
      () => [
        `update trades set settlement = jsonb_set(settlement, '{steps,1,state}', '"waiting"') where id = ${id('waits')}`,
      ],
      ['clearing', 'leg-unexpected: waits'],
    ],
    // Accounts
    [
      'money that moved from one account to another without an entry',
      () => [
        `update ledger_accounts set balance = balance + case user_id when '${BUYER}' then 1 else -1 end
         where user_id in ('${BUYER}', '${SELLER}') and currency = 'EUR'`,
      ],
      times(2, 'account-balance'),
    ],
    [
      'a wrong count of entries',
      () => [`update ledger_accounts set entry_count = entry_count + 1 where user_id = '${FEES}'`],
      ['account-count'],
    ],
    [
      'an account that went below zero on its way',
      () => [`update ledger_accounts set may_overdraw = false where user_id = '${FEES}'`],
      ['account-overdrawn: rebates, atomic, buyer-first', 'account-overdrawn: settled, atomic, buyer-first'].slice(
        0,
        1,
      ),
    ],
    [
      'an account that is below zero',
      () => [
        'alter table ledger_accounts drop constraint ledger_accounts_available',
        `update ledger_accounts set balance = case user_id when '${BUYER}' then balance + 1e14 else balance - 1e14 end
         where user_id in ('${BUYER}', '${SELLER}') and currency = 'EUR'`,
      ],
      [...times(2, 'account-balance'), 'account-overdrawn'],
    ],
    // Holds
    [
      'more held on one account and less on another than remains of their holds',
      () => [
        `update ledger_accounts set held = 0.00000001 where user_id = '${BUYER}' and currency = 'EUR'`,
        `update ledger_accounts set held = 0.00000001 where user_id = '${SELLER}' and currency = 'USDT'`,
      ],
      times(2, 'account-held'),
    ],
    [
      'a hold that has more left than it gave',
      () => [`update ledger_holds set remaining = remaining + 0.00000001 where key = 'drawn'`],
      ['account-held'],
    ],
    [
      'more held than there is',
      () => [
        'alter table ledger_accounts drop constraint if exists ledger_accounts_available',
        `update ledger_accounts set held = balance + 1 where user_id = '${SELLER}' and currency = 'EUR'`,
      ],
      ['account-overdrawn', 'account-held'],
    ],
    [
      'holds that are gone, of nobody, of another amount or account, or taken back by nobody',
      () => [
        `update ledger_accounts set held = held - 0.00000002 where user_id = '${SELLER}' and currency = 'USDT'`,
        `update ledger_accounts set held = 0.00000002 where user_id = '${BUYER}' and currency = 'EUR'`,
        `update ledger_holds set user_id = '${BUYER}', currency = 'EUR' where key = 'drawn'`,
        `update ledger_holds set amount = amount + 1 where key = 'released'`,
        `update ledger_holds set reversed = false where key = 'reversed'`,
        `delete from ledger_holds where key = 'closed'`,
        `insert into ledger_holds values ('of nobody', '${BUYER}', 'EUR', 1, 0)`,
        `insert into ledger_holds values ('refused hold', '${BUYER}', 'EUR', 1, 0)`,
      ],
      times(6, 'hold-operation'),
    ],
    [
      'an account without a row',
      () => [`delete from ledger_accounts where user_id = '${BUYER}' and currency = 'ETH'`],
      ['conservation', 'account-balance', 'account-count'],
    ],
    [
      'an entry that left a gap',
      () => [
        `update ledger_entries e set seq = seq + 1 from ledger_accounts a
         where e.user_id = a.user_id and e.currency = a.currency and e.seq = a.entry_count and e.user_id = '${FEES}'`,
      ],
      ['entry-gap: in hand, whole and done'],
    ],
    [
      'a wrong balance after an entry',
      () => [
        `update ledger_entries e set balance_after = balance_after + 1 from ledger_accounts a
         where e.user_id = a.user_id and e.currency = a.currency and e.seq = a.entry_count and e.user_id = '${FEES}'`,
      ],
      ['entry-balance: in hand, whole and done'],
    ],
    // Keys
    [
      'an operation said to be refused that has entries',
      () => [`update ledger_operations set status = 'refused', code = 'X' where trade_id = ${id(SETTLED)}`],
      [`operation-entries: ${SETTLED}`],
    ],
    [
      'an operation said to be applied that was reversed',
      () => [`update ledger_operations set status = 'applied' where key = 'in'`],
      ['operation-entries'],
    ],
    [
      'an operation said to be reversed that was not',
      () => [`update ledger_operations set status = 'reversed' where key = '${legKey(of(ON_SAGA), 'fee')}'`],
      [`operation-entries: ${ON_SAGA}`],
    ],
    [
      'an operation of another amount than its entry',
      () => [`update ledger_operations set amount = amount + 1 where key = '${legKey(of(ON_SAGA), 'fee')}'`],
      [`operation-entries: ${ON_SAGA}`],
    ],
    [
      'an operation without its entry',
      () => [
        `insert into ledger_operations (key, kind, status, user_id, currency, amount, reason, at)
         values ('nothing', 'credit', 'applied', '${BUYER}', 'EUR', 1, 'DEPOSIT', now())`,
      ],
      ['operation-entries'],
    ],
    [
      'entries without an operation',
      () => [`delete from ledger_operations where trade_id = ${id(SETTLED)}`],
      [`entry-without-operation: ${SETTLED}`],
    ],
    [
      'a settlement that took and did not give',
      () => [
        `update ledger_operations set kind = 'settlement', content = '', key = '${of('in hand, whole').id}:0',
           trade_id = ${id('in hand, whole')} where key = '${legKey(of('in hand'), 'buyer-credit')}'`,
        `update ledger_entries set leg = 0, key = '${of('in hand, whole').id}:0', trade_id = ${id('in hand, whole')}
         where key = '${legKey(of('in hand'), 'buyer-credit')}'`,
      ],
      ['clearing', 'settlement-unbalanced: in hand, whole', 'leg-unexpected: in hand, whole'],
    ],
    // Trades
    [
      'a trade of a market that is not there',
      () => [`update trades set symbol = 'X/Y' where id = ${id('nothing moves, saga, buyer-first')}`],
      ['market-unknown: nothing moves, saga, buyer-first'],
    ],
    [
      'a notional that is not price × quantity',
      () => [`update trades set price = price + 1 where id = ${id(SETTLED)}`],
      [`notional: ${SETTLED}`],
    ],
    [
      'a notional that is not rounded by its market',
      () => [`update markets set rounding = 'half_up' where symbol = 'ETH/EUR'`],
      ['notional: half down to even, atomic', 'notional: half down to even, saga'],
    ],
    [
      'notionals that are rounded up where they should be down',
      () => [`update markets set rounding = 'down' where symbol = 'ETH/EUR'`],
      ['notional: half up to even, atomic', 'notional: half up to even, saga'],
    ],
    [
      'a settled trade that moved nothing',
      () => [`update trades set id = '${randomUUID()}' where id = ${id(ON_SAGA)}`],
      [...times(5, 'leg-missing: undefined'), `trade-unknown: ${ON_SAGA}`],
    ],
    [
      'a leg under a key of the wrong epoch',
      () => [
        `update ledger_entries set key = replace(key, ':0:', ':1:') where key = '${legKey(of(ON_SAGA), 'buyer-debit')}'`,
        `update ledger_operations set key = replace(key, ':0:', ':1:') where key = '${legKey(of(ON_SAGA), 'buyer-debit')}'`,
      ],
      [`leg-missing: ${ON_SAGA}`, `leg-unexpected: ${ON_SAGA}`],
    ],
    [
      'legs of a settlement that changed places',
      () => [
        `update ledger_entries set leg = 5 - leg where trade_id = ${id('all fee, atomic, buyer-first')} and leg in (2, 3)`,
      ],
      [
        ...times(2, 'leg-missing: all fee, atomic, buyer-first'),
        ...times(2, 'leg-unexpected: all fee, atomic, buyer-first'),
      ],
    ],
    [
      'another buyer',
      () => [`update trades set buyer_user_id = '${POOR}' where id = ${id(SETTLED)}`],
      [...times(2, `leg-missing: ${SETTLED}`), ...times(2, `leg-unexpected: ${SETTLED}`)],
    ],
    [
      'a fee that was the other side’s',
      () => [`update trades set buyer_fee = buyer_fee + 1, seller_fee = seller_fee - 1 where id = ${id(SETTLED)}`],
      times(2, `leg-amount: ${SETTLED}`),
    ],
    [
      'a settlement said to be in an epoch it never reached',
      () => [
        `update trades set settlement = jsonb_set(settlement, '{epoch}', '2') where id = ${id('begun anew at once')}`,
      ],
      [...times(5, 'leg-missing: begun anew at once'), ...times(5, 'leg-unexpected: begun anew at once')],
    ],
    [
      'a fee said to be owed that was collected',
      () => [
        `update trades set settlement = (select settlement from trades where id = ${id('fee owed')}) where id = ${id(ON_SAGA)}`,
        `insert into open_settlements select ${id(ON_SAGA)}, due_at, null, 1 from open_settlements where trade_id = ${id('fee owed')}`,
      ],
      ['clearing', `leg-unexpected: ${ON_SAGA}`],
    ],
    [
      'a fee said to be collected that is owed',
      () => [
        `update trades set settlement = null where id = ${id('fee owed')}`,
        `delete from open_settlements where trade_id = ${id('fee owed')}`,
      ],
      ['clearing', 'leg-missing: fee owed'],
    ],
    [
      'a settled trade said to be rolled back',
      () => [
        `update trades set settlement_status = 'SETTLEMENT_FAILED', settled_at = null,
           settlement = (select settlement from trades where id = ${id(FAILED)}) where id = ${id(ON_SAGA)}`,
        `insert into open_settlements values (${id(ON_SAGA)}, null, null, 1)`,
        `update dead_letters set trade_id = ${id(ON_SAGA)} where trade_id = ${id('begun anew')}`,
        `update dead_letters set status = 'open', resolution = null where trade_id = ${id(ON_SAGA)}`,
      ],
      times(5, `leg-unexpected: ${ON_SAGA}`),
    ],
    [
      'a parked settlement of which less stands than it says',
      () => [
        `update trades set settlement = jsonb_set(settlement, '{steps,1,state}', '"applied"') where id = ${id(FAILED)}`,
        `update trades set settlement = jsonb_set(settlement, '{steps,0,state}', '"applied"') where id = ${id(FAILED)}`,
        `update trades set settlement = jsonb_set(settlement, '{phase}', '"parked"') where id = ${id(FAILED)}`,
        `update open_settlements set due_at = now() where trade_id = ${id(FAILED)}`,
      ],
      ['clearing', `leg-undone: ${FAILED}`],
    ],
    [
      'a trade that is not there',
      () => [`delete from trades where id = ${id(SETTLED)}`],
      [`trade-unknown: ${SETTLED}`],
    ],
    [
      'an open settlement of a trade that is not there',
      () => [`insert into open_settlements values ('${randomUUID()}', null, null, 1)`],
      ['trade-unknown: undefined'],
    ],
    // Statuses
    [
      'a status that its settlement contradicts',
      () => [
        `update trades set settlement = jsonb_set(settlement, '{phase}', '"forward"') where id = ${id('begun anew')}`,
      ],
      ['status-phase: begun anew'],
    ],
    [
      'a settled trade without a time',
      () => [
        'alter table trades drop constraint if exists trades_check2',
        `update trades set settled_at = null where id = ${id(SETTLED)}`,
      ],
      [`settled-at: ${SETTLED}`],
    ],
    [
      'a trade with a time that is not settled',
      () => [
        'alter table trades drop constraint if exists trades_check2',
        `update trades set settled_at = now() where id = ${id(FAILED)}`,
      ],
      [`settled-at: ${FAILED}`],
    ],
    [
      'letters that are gone',
      () => [`delete from dead_letters where trade_id in (${id(FAILED)}, ${id('fee parked')})`],
      [`letter-missing: ${FAILED}`, 'letter-missing: fee parked'],
    ],
    [
      'a letter of the wrong kind',
      () => [`update dead_letters set kind = 'fee' where trade_id = ${id(FAILED)}`],
      [`letter-missing: ${FAILED}`],
    ],
    [
      'an open letter of a settled trade',
      () => [`update dead_letters set status = 'open', resolution = null where trade_id = ${id('begun anew')}`],
      ['letter-stale: begun anew'],
    ],
    [
      'a letter that is being retried, by nobody',
      () => [`update dead_letters set status = 'retrying' where trade_id = ${id(FAILED)}`],
      [`letter-stale: ${FAILED}`],
    ],
    [
      'settled trades in the queue',
      () => [
        `insert into open_settlements values (${id(SETTLED)}, now(), null, 1), (${id(ON_SAGA)}, null, null, 1)`,
        `update open_settlements set due_at = now() where trade_id in (${id(FAILED)}, ${id('fee parked')})`,
      ],
      [
        `work-after-end: ${SETTLED}`,
        `work-after-end: ${ON_SAGA}`,
        `work-after-end: ${FAILED}`,
        'work-after-end: fee parked',
      ],
    ],
    [
      'work that nobody comes for',
      () => [
        `delete from open_settlements where trade_id in (${id('recorded')}, ${id(FAILED)})`,
        `update open_settlements set due_at = null where trade_id in (${id('fee owed')}, ${id('parked')})`,
      ],
      [`work-lost: ${FAILED}`, 'work-lost: fee owed', 'work-lost: parked', 'work-lost: recorded'],
    ],
  ])('%s', async (_, statements, breaks) => {
    await tamper(...statements())
    expect(await found()).toEqual(breaks)
  })

  test('a leg that moved money twice', async () => {
    for (const name of [ON_SAGA, 'in hand']) {
      const leg = books.legOf(of(name), 'buyer-debit')
      await books.wallet.apply({ ...leg, key: 'again' })
      await tamper(
        `delete from ledger_operations where key = 'again'`,
        `update ledger_entries set key = '${leg.key}' where key = 'again'`,
      )
      expect(await found()).toEqual(['clearing', `operation-entries: ${name}`, `leg-repeated: ${name}`])
      await restore()
    }
  })

  test('a leg that moved money again under another key', async () => {
    await books.wallet.apply({ ...books.legOf(of(ON_SAGA), 'buyer-debit'), key: 'again' })
    expect(await found()).toEqual(['clearing', `leg-unexpected: ${ON_SAGA}`])
    await books.wallet.reverse('again')
    expect(await found()).toEqual([])
  })

  test('legs of a settled trade that were taken back', async () => {
    await books.wallet.reverse(legKey(of(ON_SAGA), 'fee'))
    expect(await found()).toEqual(['clearing', `leg-undone: ${ON_SAGA}`])
    await books.wallet.reverse(legKey(of(SETTLED), 'settlement'))
    expect(await found()).toEqual(['clearing', ...times(5, `leg-undone: ${SETTLED}`), `leg-undone: ${ON_SAGA}`])
  })

  test('a leg of a trade that nobody has begun, and one of a trade that is rolled back', async () => {
    await books.wallet.apply(books.legOf(of('recorded'), 'buyer-debit'))
    expect(await found()).toEqual(['clearing', 'leg-unexpected: recorded'])
    await books.wallet.apply({ ...books.legOf(of(FAILED), 'buyer-debit'), key: legKey(of(FAILED), 'buyer-debit', 1) })
    expect(await found()).toEqual(['clearing', `leg-unexpected: ${FAILED}`, 'leg-unexpected: recorded'])
  })

  test('is not asked for letters where none are written', async () => {
    await tamper('delete from dead_letters')
    expect(await verifyBooks(opened.database, { deadLettersEnabled: false })).toMatchObject({ breaks: 0 })
  })

  test('is counted in full, shown as far as 100, and always in the same order', async () => {
    await tamper(`
      insert into open_settlements select gen_random_uuid(), null, null, 1 from generate_series(1, 250)`)
    const report = await verifyBooks(opened.database)
    expect(report.breaks).toBe(250)
    expect(report.examples).toHaveLength(100)
    expect(await verifyBooks(opened.database)).toEqual(report)
  })

  test('is told with what was expected and what was found', async () => {
    await tamper(`update trades set buyer_fee = 24, seller_fee = 51 where id = ${id(SETTLED)}`)
    const { examples } = await verifyBooks(opened.database)
    expect(examples).toHaveLength(2)
    expect(examples).toContainEqual({
      kind: 'leg-amount',
      tradeId: of(SETTLED).id,
      account: BUYER,
      currency: 'USDT',
      key: `${of(SETTLED).id}:0`,
      detail:
        'the leg buyer-debit of a trade that is SETTLED should have exactly one entry, of -50024 USDT, ' +
        'on this account under this key, but has one of -50025 USDT',
    })
  })

  test('is not money lost where only its place is wrong', async () => {
    await tamper(`update ledger_accounts set entry_count = entry_count + 1 where user_id = '${FEES}'`)
    expect(await verifyBooks(opened.database)).toMatchObject({ breaks: 1, conserved: true })
    await tamper(`update ledger_accounts set balance = balance + 1 where user_id = '${FEES}'`)
    expect(await verifyBooks(opened.database)).toMatchObject({ breaks: 3, conserved: false })
    // Trades that were settled elsewhere have nothing in these books.
    const elsewhere = await verifyBooks(opened.database, { isWalletElsewhere: true })
    expect(elsewhere).toMatchObject({ trades: trades.size, breaks: 0, conserved: null, totals: [] })
  })
})
