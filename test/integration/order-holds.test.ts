import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Trade } from '../../src/core/trade.ts'
import { createLogger } from '../../src/log.ts'
import { openInstruments } from '../../src/store/instruments.ts'
import { createOperatorStore } from '../../src/store/pg-operator-store.ts'
import { createStore } from '../../src/store/pg-store.ts'
import type { StoredTrade } from '../../src/store/store.ts'
import { verifyBooks } from '../../src/verify/verify.ts'
import type { BookedWallet, Outcome, Wallet } from '../../src/wallet/wallet.ts'
import { type AdminRequest, createDeadLetterDesk, type DeadLetterDesk } from '../../src/worker/dead-letter-desk.ts'
import { createChance } from '../simulation/chance.ts'
import { ETH_EUR, FAULTS, type Fault, POLICY } from '../support/books.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { type Exchange, type ExchangeOptions, openExchange, purchase, sale, units } from '../support/exchange.ts'
import { until } from '../support/process.ts'
import { BTC_USDT, BUYER, SELLER } from '../support/trades.ts'

/** The dead letters of trades whose debits draw on holds, and what the checker says of the holds meanwhile. */

let db: TestDatabase
let exchange: Exchange
let letters: DeadLetterDesk
/** By a part of the key of a call; of its reversal, with `undo ` before. Each goes wrong until it is removed. */
let faults: Map<string, Fault>

beforeEach(async () => {
  db = await createTestDatabase()
  faults = new Map()
})
afterEach(async () => {
  await exchange.close()
  await expectNoBreaks()
  await db.drop()
})

async function open(options: ExchangeOptions): Promise<void> {
  exchange = await openExchange(db.database, {
    wrapSettling,
    policy: { retryMaxAttempts: 0, undoBackoffMs: 20, retryBackoffMs: 20 },
    ...options,
  })
  letters = await openLetters()
  await exchange.fund(BUYER, 'USDT', '1000000')
  await exchange.fund(SELLER, 'BTC', '100')
}

async function openLetters(): Promise<DeadLetterDesk> {
  const instruments = await openInstruments(db.database, { assets: [], markets: [] })
  return createDeadLetterDesk({
    ...{ store: createOperatorStore(db.database, instruments), trades: createStore(db.database, instruments) },
    ...{ traits: { level: 'settlements', idempotent: true }, policy: POLICY, clock: systemClock() },
    ...{ log: createLogger('silent'), pool: exchange.pool },
  })
}

function wrapSettling(wallet: BookedWallet): Wallet {
  const through = (key: string, done: () => Promise<Outcome>): Promise<Outcome> => {
    const fault = [...faults].find(([end]) => key.includes(end) && key.startsWith('undo ') === end.startsWith('undo '))
    return fault === undefined ? done() : fault[1](done)
  }
  return {
    ...wallet,
    apply: operation => through(operation.key, () => wallet.apply(operation)) as ReturnType<Wallet['apply']>,
    settle: call => through(call.key, () => wallet.settle(call)) as ReturnType<Wallet['settle']>,
    reverse: key => through(`undo ${key}`, () => wallet.reverse(key)) as ReturnType<Wallet['reverse']>,
  }
}

async function expectNoBreaks(): Promise<void> {
  const { breaks, examples } = await verifyBooks(db.database)
  expect({ breaks, examples }).toEqual({ breaks: 0, examples: [] })
}

const ASKED: AdminRequest = { actor: 'ann', reason: null, idempotencyKey: null, content: '' }
const retry = ({ id }: Trade) => letters.retry(id, ASKED, ({ status }) => status)
const resolve = ({ id }: Trade) =>
  letters.resolve(id, { resolution: 'cancelled', note: 'both agreed' }, ASKED, ({ status }) => status)

async function stored({ id }: Trade): Promise<StoredTrade> {
  const instruments = await openInstruments(db.database, { assets: [], markets: [] })
  const found = await createStore(db.database, instruments).trade(id)
  if (found === null) throw new Error(`no trade ${id}`)
  return found
}

async function statusIs(trade: Trade, status: StoredTrade['status']): Promise<void> {
  await until(`the trade is ${status}`, async () => {
    await expectNoBreaks()
    return (await stored(trade)).status === status
  })
}

const heldBy = async () => [await exchange.held(BUYER, 'USDT'), await exchange.held(SELLER, 'BTC')]
const released = () =>
  until('all that is free is released', async () => {
    await expectNoBreaks()
    return (await db.database.query('select from hold_releases')).rowCount === 0
  })

/** A purchase of so much, of which one is bought; the trade fails. */
async function failed(quantity: string): Promise<{ readonly trade: Trade; readonly buyOrderId: string }> {
  const { order } = await exchange.placed(purchase({ quantity }))
  const { trades } = await exchange.placed(sale())
  const trade = (trades[0] as StoredTrade).trade
  await statusIs(trade, 'SETTLEMENT_FAILED')
  await released()
  return { trade, buyOrderId: order.id }
}

/** What a sale of one more settles from: the hold must still have it. */
async function fillRest(quantity: string): Promise<void> {
  const { trades } = await exchange.placed(sale({ quantity }))
  for (const { trade } of trades) await statusIs(trade, 'SETTLED')
  await released()
}

const PRICE = units('50025')
const NEED = units('50050')

describe.each(['saga', 'atomic'] as const)('on the %s rail a trade that was refused', rail => {
  beforeEach(async () => {
    await open({ rail })
    faults.set(rail === 'saga' ? ':seller-debit' : ':0', FAULTS.refused)
  })
  /** On the saga rail the buyer's debit had been applied, and was taken back. */
  const buyersPart = rail === 'saga' ? 0n : PRICE

  test('keeps what it needs of each hold, and settles when it is retried while the order is open', async () => {
    const { trade } = await failed('2')
    expect(await heldBy()).toEqual([NEED + buyersPart, units('1')])
    faults.clear()
    await retry(trade)
    const { terms } = (await stored(trade)).trade
    expect(terms).toMatchObject({
      buyerHold: rail === 'saga' ? null : trade.terms?.buyerHold,
      sellerHold: trade.terms?.sellerHold,
    })
    await statusIs(trade, 'SETTLED')
    expect(await heldBy()).toEqual([NEED, 0n])
    await fillRest('1')
    expect(await heldBy()).toEqual([0n, 0n])
  })

  test('gives back what was never debited once it is resolved, and leaves the rest of the order what it needs', async () => {
    const { trade } = await failed('2')
    await resolve(trade)
    await released()
    expect(await heldBy()).toEqual([NEED, 0n])
    faults.clear()
    await fillRest('1')
    expect(await heldBy()).toEqual([0n, 0n])
    expect((await exchange.wallet.balance(SELLER, 'BTC'))?.available).toBe(units('99'))
  })

  test('of orders that are over leaves nothing on hold, retried or resolved', async () => {
    const [one, other] = [(await failed('1')).trade, (await failed('1')).trade]
    expect(await heldBy()).toEqual([2n * buyersPart, units('2')])
    await resolve(one)
    faults.clear()
    await retry(other)
    await statusIs(other, 'SETTLED')
    await released()
    expect(await heldBy()).toEqual([0n, 0n])
  })

  test('can be retried again and again', async () => {
    const { trade } = await failed('2')
    for (const epoch of [':1', ':2']) {
      faults.set(epoch, FAULTS.refused)
      await retry(trade)
      await statusIs(trade, 'SETTLEMENT_FAILED')
    }
    faults.clear()
    await retry(trade)
    await statusIs(trade, 'SETTLED')
    expect(await heldBy()).toEqual([NEED, 0n])
  })
})

describe.each(['saga', 'atomic'] as const)('on the %s rail a debit whose call was lost', rail => {
  beforeEach(async () => {
    await open({ rail })
    faults.set(rail === 'saga' ? ':0:buyer-debit' : ':0', FAULTS.lostBefore)
  })
  test('leaves its part to nobody, and the end of the order does not release it', async () => {
    const { trade, buyOrderId } = await failed('2')
    expect(await heldBy()).toEqual([NEED + PRICE, units('1')])
    await retry(trade)
    await statusIs(trade, 'SETTLED')
    // The seller's order is over: all that remained of its hold is released.
    await released()
    expect(await heldBy()).toEqual([NEED + PRICE, 0n])
    await exchange.desk.cancel(buyOrderId, null)
    await released()
    expect(await heldBy()).toEqual([PRICE, 0n])
    const { rows } = await db.database.query('select hold from orders where id = $1', [buyOrderId])
    await exchange.wallet.release({ key: 'by hand', hold: rows[0]?.hold, amountAtto: null })
    expect(await heldBy()).toEqual([0n, 0n])
  })

  test('leaves nothing on hold where the order is over, retried or resolved', async () => {
    const [one, other] = [(await failed('1')).trade, (await failed('1')).trade]
    expect(await heldBy()).toEqual([2n * PRICE, units('2')])
    await resolve(one)
    await released()
    expect(await heldBy()).toEqual([PRICE, units('1')])
    await retry(other)
    await statusIs(other, 'SETTLED')
    await released()
    expect(await heldBy()).toEqual([0n, 0n])
  })

  test('keeps its part while another trade of the order has yet to draw', async () => {
    await exchange.placed(purchase({ quantity: '2' }))
    const trades: Trade[] = []
    for (const _ of [1, 2]) {
      const made = await exchange.placed(sale())
      trades.push((made.trades[0] as StoredTrade).trade)
    }
    const [one, other] = trades as [Trade, Trade]
    for (const trade of trades) await statusIs(trade, 'SETTLEMENT_FAILED')
    await released()
    await retry(one)
    await statusIs(one, 'SETTLED')
    await released()
    expect(await heldBy()).toEqual([2n * PRICE, units('1')])
    await resolve(other)
    await released()
    expect(await heldBy()).toEqual([0n, 0n])
  })

  test('is in doubt while its reversal is not answered, and no break', async () => {
    faults.set('undo ', FAULTS.lostBefore)
    for (const lost of [FAULTS.lostBefore, FAULTS.lostAfter]) {
      faults.set(rail === 'saga' ? ':0:buyer-debit' : ':0', lost)
      await exchange.placed(purchase({ quantity: '2' }))
      await exchange.placed(sale())
      await expectNoBreaks()
    }
    faults.delete('undo ')
    await until('both failed', async () => (await db.database.query('select from dead_letters')).rowCount === 2)
  })
})

test('a parked rollback that is retried draws on the hold no more, before and after it is complete', async () => {
  await open({ rail: 'saga' })
  faults.set(':0:seller-debit', FAULTS.refused)
  faults.set('undo ', FAULTS.refused)
  const { trade } = await failed('2')
  expect(await heldBy()).toEqual([NEED, units('1')])
  await retry(trade)
  await statusIs(trade, 'SETTLEMENT_FAILED')
  faults.clear()
  await retry(trade)
  await statusIs(trade, 'SETTLED')
  expect(await heldBy()).toEqual([NEED, 0n])
})

test('without holds, what a failed trade was to take is reserved until it is resolved', async () => {
  await open({ rail: 'saga', hasHolds: false })
  faults.set(':0:seller-debit', FAULTS.refused)
  const { trade } = await failed('1')
  const all = sale({ quantity: '100' })
  expect(await exchange.place(all)).toMatchObject({ refusal: { available: units('99') } })
  await resolve(trade)
  await exchange.placed(all)
})

test('many letters retried at once drop the holds of those that have drawn', async () => {
  await open({ rail: 'saga' })
  faults.set(':0:seller-debit', FAULTS.refused)
  for (let count = 0; count < 5; count++) await failed('2')
  faults.clear()
  const any = { kinds: [], codes: [], statuses: [], rollbacks: [] }
  expect(await letters.retryAll(any, null, ASKED, ({ count }) => count)).toMatchObject({ answer: 5 })
  await exchange.atRest()
  expect(await heldBy()).toEqual([5n * NEED, 0n])
})

describe.each(['saga', 'atomic'] as const)('on the %s rail', rail => {
  test.each([1, 2])('no instant of a desk at work shows a break, seed %i', { timeout: 120_000 }, async seed => {
    const chance = createChance(seed)
    const market = { ...ETH_EUR, makerFee: '-0.0003', takerFee: '0.0017' }
    await open({ rail, markets: [BTC_USDT, market], wrapSettling: wallet => unsteady(wallet, () => chance.next()) })
    const users = Array.from({ length: 6 }, () => chance.uuid())
    for (const user of users) {
      for (const currency of ['BTC', 'USDT', 'ETH', 'EUR']) await exchange.fund(user, currency, '5000')
    }
    let isDone = false
    let snapshots = 0
    const working = Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let count = 0; count < 60; count++) await act(chance, users)
      }),
    ).finally(() => {
      isDone = true
    })
    const deciding = (async () => {
      while (!isDone) await decide(chance)
    })()
    const looking = (async () => {
      for (; !isDone; snapshots++) await expectNoBreaks()
    })()
    // Whatever fails, nothing goes on behind the test.
    await Promise.allSettled([working, deciding, looking])
    await Promise.all([working, deciding, looking])
    const { rows } = await db.database.query(
      `select (select count(*) from trades) as trades, (select count(*) from dead_letters) as letters`,
    )
    expect(snapshots).toBeGreaterThan(10)
    expect(Number(rows[0]?.trades)).toBeGreaterThan(50)
    expect(Number(rows[0]?.letters)).toBeGreaterThan(3)
  })
})

/** Refuses, loses calls and loses answers, now and then; what may have been applied is never refused afterwards. */
function unsteady(wallet: BookedWallet, random: () => number): Wallet {
  const called = new Set<string>()
  const through = <Answer>(key: string, done: () => Promise<Answer>): Promise<Answer> => {
    const lot = random()
    const isFirst = !called.has(key)
    called.add(key)
    const fault: Fault = lot < 0.04 ? FAULTS.lostAfter : lot < 0.08 ? FAULTS.lostBefore : FAULTS.refused
    return lot > 0.12 || (lot > 0.08 && !isFirst) ? done() : (fault(done as never) as Promise<Answer>)
  }
  return {
    ...wallet,
    apply: operation => through(operation.key, () => wallet.apply(operation)),
    settle: call => through(call.key, () => wallet.settle(call)),
    reverse: key => through(`undo ${key}`, () => wallet.reverse(key)),
  }
}

async function act(chance: ReturnType<typeof createChance>, users: readonly string[]): Promise<void> {
  const isBtc = chance.is(0.5)
  const [symbol, price, quantity] = isBtc
    ? ['BTC/USDT', chance.int(95, 105).toFixed(2), (chance.int(1, 300) / 100_000).toFixed(5)]
    : ['ETH/EUR', (chance.int(90, 110) / 100).toFixed(2), (chance.int(1, 500_000) / 100_000).toFixed(5)]
  const user = chance.pick(users)
  const lot = chance.next()
  const { desk } = exchange
  if (lot < 0.1) {
    await desk.cancelAll(user, chance.is(0.5) ? symbol : null)
    return
  }
  if (lot < 0.2) {
    const [order] = await exchange.store.orders({
      ...{ userIds: [user], symbols: [], statuses: ['open', 'partially_filled'], belowId: null, limit: 1 },
    })
    if (order !== undefined) await desk.reduce(order.id, (Number(order.quantity) / 2e8).toFixed(5), user)
    return
  }
  const isLimit = lot < 0.85
  const isBudget = !isLimit && chance.is(0.5)
  await exchange.place(
    purchase({
      ...{
        userId: user,
        symbol,
        side: isBudget || chance.is(0.5) ? 'buy' : 'sell',
        type: isLimit ? 'limit' : 'market',
      },
      price: isLimit ? price : null,
      quantity: isBudget ? null : quantity,
      quoteQuantity: isBudget ? chance.int(1, 5).toFixed(2) : null,
      timeInForce: isLimit ? chance.pick(['GTC', 'GTC', 'GTC', 'IOC', 'FOK'] as const) : null,
      selfTradePrevention: chance.pick(['none', 'expire_taker', 'expire_maker', 'expire_both'] as const),
    }),
  )
}

/** What operators do. */
async function decide(chance: ReturnType<typeof createChance>): Promise<void> {
  await new Promise(resume => setTimeout(resume, 20))
  const { rows } = await db.database.query<{ readonly trade_id: string }>(
    `select trade_id from dead_letters where status = 'open' limit 5`,
  )
  for (const { trade_id: id } of rows) {
    const lot = chance.next()
    if (lot < 0.4) await letters.retry(id, ASKED, () => null)
    else if (lot < 0.6) await letters.resolve(id, { resolution: 'written_off', note: 'x' }, ASKED, () => null)
  }
}
