import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Market } from '../../src/core/market.ts'
import type { Database } from '../../src/db.ts'
import { DeskUnavailableError } from '../../src/orders/desk.ts'
import { OpenOrdersError, openInstruments } from '../../src/store/instruments.ts'
import type { DeskBatch, OrderStore } from '../../src/store/order-store.ts'
import { verifyBooks } from '../../src/verify/verify.ts'
import type { BookedWallet, Hold } from '../../src/wallet/wallet.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { type Exchange, type ExchangeOptions, openExchange, purchase, sale, units } from '../support/exchange.ts'
import { until } from '../support/process.ts'
import { BTC_USDT, BUYER, SELLER } from '../support/trades.ts'

let db: TestDatabase
let database: Database
const opened: Exchange[] = []

beforeEach(async () => {
  db = await createTestDatabase()
  database = db.database
})
afterEach(async () => {
  for (const exchange of opened.splice(0)) await exchange.close()
  const { breaks, examples } = await verifyBooks(database)
  await db.drop()
  expect({ breaks, examples }).toEqual({ breaks: 0, examples: [] })
})

async function open(options: ExchangeOptions = {}): Promise<Exchange> {
  const exchange = await openExchange(database, options)
  opened.push(exchange)
  return exchange
}

async function funded(options: ExchangeOptions = {}): Promise<Exchange> {
  const exchange = await open(options)
  await exchange.fund(BUYER, 'USDT', '1000000')
  await exchange.fund(SELLER, 'BTC', '100')
  return exchange
}

describe('an order', () => {
  test('rests with its funds on hold, and gives them back when it is cancelled', async () => {
    const { desk, store, placed, held, atRest } = await funded()
    const { order } = await placed(purchase())
    expect(order).toMatchObject({ status: 'open', filledQuantity: 0n, openedSequence: 1 })
    expect(await held(BUYER, 'USDT')).toBe(units('50050'))
    expect(await store.order(order.id)).toEqual(order)
    const cancelled = await desk.cancel(order.id, BUYER)
    expect(cancelled).toMatchObject({ order: { status: 'cancelled' } })
    await atRest()
    expect(await held(BUYER, 'USDT')).toBe(0n)
    expect(await desk.cancel(order.id, BUYER)).toEqual(cancelled)
    expect(await desk.cancel(order.id, SELLER)).toMatchObject({ refusal: { code: 'NOT_FOUND' } })
  })

  test('settles from the holds of both sides, and what was saved is free', async () => {
    const { wallet, store, placed, held, atRest } = await funded()
    await placed(sale({ price: '49000', quantity: '0.4' }))
    const { order, trades } = await placed(purchase())
    expect(order).toMatchObject({ status: 'partially_filled', filledQuantity: units('0.4') })
    const [{ trade } = { trade: null }] = trades
    expect(trade).toMatchObject({ buyerFee: units('19.6'), sellerFee: units('9.8'), isBuyerMaker: false })
    expect(trade?.terms).toMatchObject({ buyerFeeRate: '0.001', sellerFeeRate: '0.0005', buyerHold: order.hold })
    await atRest()
    expect(await held(BUYER, 'USDT')).toBe(units('30030'))
    expect(await held(SELLER, 'BTC')).toBe(0n)
    expect((await wallet.balance(BUYER, 'USDT'))?.total).toBe(units('980380.4'))
    expect((await wallet.balance(SELLER, 'USDT'))?.total).toBe(units('19590.2'))
    expect((await store.tradesTaken(order)).map(taken => taken.trade)).toEqual(trades.map(taken => taken.trade))
  })

  test('is reduced in its place, and what it no longer needs is free', async () => {
    const { desk, placed, held, atRest } = await funded()
    const { order } = await placed(purchase())
    await placed(purchase({ quantity: '2' }))
    expect(await desk.reduce(order.id, '0.5', null)).toMatchObject({
      order: { quantity: units('0.5'), status: 'open' },
    })
    expect(await desk.reduce(order.id, '0.6', null)).toMatchObject({ refusal: { code: 'INVALID_QUANTITY' } })
    expect(await desk.reduce(order.id, '0.000001', null)).toMatchObject({ refusal: { code: 'LOT_SIZE' } })
    await atRest()
    expect(await held(BUYER, 'USDT')).toBe(units('125125'))
    const { trades } = await placed(sale({ quantity: '0.3' }))
    expect(trades.map(({ trade }) => trade.buyerOrderId)).toEqual([order.id])
    expect(await desk.reduce(order.id, '0.3', null)).toMatchObject({ order: { status: 'cancelled' } })
    await atRest()
    expect(await held(BUYER, 'USDT')).toBe(units('100100'))
  })

  test('at the market holds what the book asks for, also where that has changed meanwhile', async () => {
    const { placed, held, atRest, fund } = await funded()
    await placed(sale({ price: '50000', quantity: '0.5' }))
    await placed(sale({ price: '51000', quantity: '0.5' }))
    const poor = '00000000-0000-4000-8000-0000000000f2'
    await fund(poor, 'USDT', '40340.3')
    const market = { type: 'market', price: null, userId: poor } as const
    // Both look at the same book; the one that comes second finds it changed, and pays more.
    const [first, second] = await Promise.all([
      placed(purchase({ ...market, userId: BUYER, quantity: '0.2' })),
      placed(purchase({ ...market, quantity: '0.5' })),
    ])
    expect([first, second].map(({ order }) => order.status)).toEqual(['filled', 'filled'])
    expect(first.order.filledQuoteQuantity + second.order.filledQuoteQuantity).toBe(units('35200'))
    const { order: rest } = await placed(purchase({ type: 'market', price: null, quantity: '1' }))
    expect(rest).toMatchObject({ status: 'expired', filledQuantity: units('0.3') })
    const { order: nothing } = await placed(purchase({ type: 'market', price: null, quantity: '1' }))
    expect(nothing).toMatchObject({ status: 'expired', filledQuantity: 0n, hold: null })
    await atRest()
    for (const user of [BUYER, poor]) expect(await held(user, 'USDT')).toBe(0n)
  })

  test('by a budget spends what it has, fees included', async () => {
    const { wallet, placed, atRest } = await funded()
    await placed(sale({ price: '100', quantity: '10' }))
    const budget = { type: 'market', price: null, quantity: null, quoteQuantity: '500.5' } as const
    const { order } = await placed(purchase(budget))
    expect(order).toMatchObject({ status: 'filled', quantity: null, filledQuantity: units('5') })
    await atRest()
    expect((await wallet.balance(BUYER, 'USDT'))?.available).toBe(units('999499.5'))
  })

  test('that may not trade at once is refused where it would, and holds nothing', async () => {
    const { place, placed, held, atRest, store } = await funded()
    await placed(sale())
    expect(await place(purchase({ postOnly: true, clientOrderId: 'again' }))).toMatchObject({
      refusal: { code: 'POST_ONLY_WOULD_CROSS' },
    })
    await atRest()
    expect(await held(BUYER, 'USDT')).toBe(0n)
    expect(await store.byClientOrderIds([{ userId: BUYER, clientOrderId: 'again' }])).toEqual([])
    // A refused order does not spend its client order id.
    await placed(purchase({ postOnly: true, price: '49000', clientOrderId: 'again' }))
  })

  test('of one user that meets another settles to its fees', async () => {
    const { wallet, fund, placed, held, atRest } = await funded()
    await fund(BUYER, 'BTC', '1')
    await placed(sale({ userId: BUYER }))
    const { trades } = await placed(purchase({ selfTradePrevention: 'none' }))
    expect(trades).toHaveLength(1)
    await atRest()
    expect((await wallet.balance(BUYER, 'USDT'))?.available).toBe(units('999925'))
    expect((await wallet.balance(BUYER, 'BTC'))?.available).toBe(units('1'))
    expect(await held(BUYER, 'USDT')).toBe(0n)
  })
})

describe.each([true, false])('F-1 funds, held by the wallet: %s', hasHolds => {
  test('a hundred orders at once on a balance that covers three: three are accepted', async () => {
    const { desk, fund, place, held } = await funded({ hasHolds })
    const user = '00000000-0000-4000-8000-0000000000f1'
    await fund(user, 'USDT', '350')
    const small = purchase({ userId: user, price: '100' })
    const answers = await Promise.all(Array.from({ length: 100 }, () => place(small)))
    const refusals = answers.flatMap(answer => ('refusal' in answer ? [answer.refusal] : []))
    expect(refusals).toHaveLength(97)
    const [available, required] = [units('49.7'), units('100.1')]
    for (const refusal of refusals) {
      expect(refusal).toEqual({ code: 'INSUFFICIENT_BALANCE', currency: 'USDT', available, required })
    }
    expect(await held(user, 'USDT')).toBe(hasHolds ? units('300.3') : 0n)
    expect(desk.refusedForFunds()).toBe(97)
  })

  test('what orders and their trades need is not there for others', async () => {
    const { desk, place, placed, atRest } = await funded({ hasHolds })
    const { order } = await placed(sale({ quantity: '60' }))
    expect(await place(sale({ quantity: '41' }))).toMatchObject({ refusal: { available: units('40') } })
    await placed(purchase({ quantity: '10' }))
    await atRest()
    expect(await place(sale({ quantity: '41' }))).toMatchObject({ refusal: { available: units('40') } })
    await desk.cancel(order.id, null)
    await atRest()
    expect(await place(sale({ quantity: '91' }))).toMatchObject({ refusal: { available: units('90') } })
    await placed(sale({ quantity: '90' }))
  })
})

describe('a client order id', () => {
  test('is taken once, however many bring it at once', async () => {
    const { desk, place, placed } = await funded()
    const mine = purchase({ clientOrderId: 'mine' })
    const answers = await Promise.all(Array.from({ length: 20 }, () => placed(mine)))
    expect(new Set(answers.map(({ order }) => order.id)).size).toBe(1)
    expect(answers.filter(({ isNew }) => isNew)).toHaveLength(1)
    expect(await placed({ ...mine, price: '50000.00' })).toMatchObject({ isNew: false, trades: [] })
    expect(await place({ ...mine, quantity: '2' })).toMatchObject({ refusal: { code: 'CLIENT_ORDER_ID_REUSED' } })
    const other = purchase({ clientOrderId: 'other' })
    const twice = await desk.place([other, mine, other])
    expect(twice.map(answer => 'isNew' in answer && answer.isNew)).toEqual([true, false, false])
  })

  test('answers the trades that the order took', async () => {
    const { placed } = await funded()
    await placed(sale({ quantity: '0.4' }))
    await placed(sale({ quantity: '0.4' }))
    const first = await placed(purchase({ clientOrderId: 'mine' }))
    await placed(sale({ quantity: '0.2' }))
    const again = await placed(purchase({ clientOrderId: 'mine' }))
    expect(again.order).toMatchObject({ id: first.order.id, status: 'filled' })
    expect(again.trades.map(({ trade }) => trade.id)).toEqual(first.trades.map(({ trade }) => trade.id))
  })

  test('answers its order whatever the market takes by now, and other content with that alone', async () => {
    const { desk, place, placed } = await funded()
    const mine = purchase({ clientOrderId: 'mine' })
    const first = await placed(mine)
    await desk.setHalted('BTC/USDT', true)
    expect(await placed(mine)).toMatchObject({ isNew: false, order: { id: first.order.id } })
    for (const change of [{ price: '0.001' }, { quantity: '0.000000000001' }, { symbol: 'X/Y' }, { price: '-1' }]) {
      expect(await place({ ...mine, ...change })).toMatchObject({ refusal: { code: 'CLIENT_ORDER_ID_REUSED' } })
    }
    expect(await place({ ...mine, clientOrderId: 'new' })).toMatchObject({ refusal: { code: 'MARKET_HALTED' } })
  })
})

describe('orders of one call are taken in their order', () => {
  const user = '00000000-0000-4000-8000-0000000000f1'
  const mine = (change: Parameters<typeof purchase>[0] = {}) => purchase({ userId: user, price: '100', ...change })

  test.each([
    ['an IOC that expires', mine({ timeInForce: 'IOC' }), { order: { status: 'expired' } }],
    ['a FOK that expires', mine({ timeInForce: 'FOK' }), { order: { status: 'expired' } }],
    ['a post-only that would cross', mine({ price: '120', postOnly: true, quantity: '0.8' }), { refusal: {} }],
    ['one that is filled for less', mine({ price: '120', quantity: '0.5' }), { order: { status: 'filled' } }],
  ])('what %s gives back is there for the next', async (_, before, answer) => {
    const { desk, fund, placed, atRest } = await funded()
    await fund(user, 'USDT', '100.1')
    await placed(sale({ price: '110', quantity: '0.5' }))
    const rest = mine({ quantity: '0.4' })
    const answers = await desk.place([before, rest, mine(), purchase({ price: '90' }), mine({ quantity: '0.01' })])
    const want = [answer, { order: { status: 'open' } }, { refusal: { code: 'INSUFFICIENT_BALANCE' } }]
    expect(answers).toMatchObject([...want, { order: { status: 'open' } }, { order: { status: 'open' } }])
    await atRest()
  })

  test('also where some of them are of one client order id', async () => {
    const { desk, fund } = await funded()
    await fund(user, 'USDT', '100.1')
    const named = mine({ clientOrderId: 'mine' })
    const answers = await desk.place([{ ...named, price: '5000' }, named, sale({ price: '100' }), named])
    expect(answers).toMatchObject([
      { refusal: { code: 'INSUFFICIENT_BALANCE' } },
      { isNew: true, order: { status: 'open' } },
      { isNew: true, order: { status: 'filled' } },
      { isNew: false, order: { status: 'filled' } },
    ])
  })
})

describe('the books', () => {
  test('are the same after they were read anew', async () => {
    const before = await funded()
    for (const price of ['49000', '49000', '48000']) await before.placed(purchase({ price, quantity: '0.3' }))
    for (const price of ['51000', '52000', '51000']) await before.placed(sale({ price, quantity: '0.2' }))
    await before.placed(sale({ price: '49000', quantity: '0.1' }))
    const depth = await before.desk.depth('BTC/USDT', 10)
    expect(depth).toMatchObject({
      bids: [
        [units('49000'), units('0.5'), 2],
        [units('48000'), units('0.3'), 1],
      ],
    })
    await before.close()
    const after = await open()
    expect(await after.desk.depth('BTC/USDT', 10)).toEqual(depth)
    const { trades } = await after.placed(sale({ price: '49000', quantity: '0.3' }))
    // The first of the price comes first, with what was left of it.
    expect(trades.map(({ trade }) => trade.quantity)).toEqual([units('0.2'), units('0.1')])
  })

  test('are run by one process at a time; the next takes over when it is gone', async () => {
    const first = await funded()
    const second = await open()
    expect([first, second].map(({ desk }) => desk.isLeading())).toEqual([true, false])
    await expect(second.place(purchase())).rejects.toThrow(DeskUnavailableError)
    const { order } = await first.placed(purchase())
    await first.close()
    await until('the second leads', async () => second.desk.isLeading())
    expect(await second.desk.cancel(order.id, null)).toMatchObject({ order: { status: 'cancelled' } })
  })

  test('of a process that was asleep while another took over can not be written', async () => {
    let isAsleep = false
    let wake = (): void => {}
    const wrapStore = (store: OrderStore): OrderStore => ({
      ...store,
      commit: async (batch: DeskBatch) => {
        if (isAsleep) await new Promise<void>(resolve => (wake = resolve))
        await store.commit(batch)
      },
    })
    const sleeper = await funded({ wrapStore })
    isAsleep = true
    const lost = sleeper.place(purchase())
    lost.catch(() => {})
    await until('the order is held', async () => (await sleeper.held(BUYER, 'USDT')) > 0n)
    // Its connection breaks, which it does not notice.
    await database.query(
      `select pg_terminate_backend(l.pid) from pg_locks l where l.locktype = 'advisory' and l.database = (select oid from pg_database where datname = current_database())`,
    )
    isAsleep = false
    const other = await open()
    await until('the other leads', async () => other.desk.isLeading() || sleeper.desk.isLeading())
    wake()
    await expect(lost).rejects.toThrow(DeskUnavailableError)
    await other.atRest()
    // What was set aside for an order that never came to be is taken back, and need not be looked for again.
    expect(await other.held(BUYER, 'USDT')).toBe(0n)
    await until('no ids are left', async () => (await database.query('select from order_id_blocks')).rowCount === 0)
  })

  test('are read anew where a batch could not be stored', async () => {
    let fails = 1
    const wrapStore = (store: OrderStore): OrderStore => ({
      ...store,
      commit: async (batch: DeskBatch) => {
        if (batch.placed.length > 0 && fails-- > 0) throw new Error('the connection broke')
        await store.commit(batch)
      },
    })
    const { desk, place, placed, held, atRest } = await funded({ wrapStore })
    await expect(place(purchase())).rejects.toThrow(DeskUnavailableError)
    await until('the books are open again', async () => desk.isLeading())
    await atRest()
    expect(await held(BUYER, 'USDT')).toBe(0n)
    expect(await desk.depth('BTC/USDT', 10)).toEqual({ symbol: 'BTC/USDT', sequence: 0, bids: [], asks: [] })
    await placed(purchase())
  })
})

test('a hold whose answer was lost is taken back, and the order was not taken', async () => {
  let isLost = true
  const wrapWallet = (wallet: BookedWallet): BookedWallet => ({
    ...wallet,
    hold: async (hold: Hold) => {
      const done = await wallet.hold(hold)
      if (!isLost) return done
      return { outcome: 'unanswered', code: 'TIMEOUT', detail: 'no answer', reached: true, retryAfterMs: null }
    },
  })
  const { desk, place, placed, held, atRest } = await funded({ wrapWallet })
  expect(await place(purchase())).toMatchObject({ refusal: { code: 'UNAVAILABLE' } })
  await atRest()
  expect(await held(BUYER, 'USDT')).toBe(0n)
  expect((await desk.depth('BTC/USDT', 1))?.bids).toEqual([])
  isLost = false
  await placed(purchase())
})

test('a hold that can not be taken back at once is taken back later, and is not forgotten', async () => {
  let refusals = 2
  const refused = { outcome: 'refused', code: 'NOT_FOUND', detail: 'not just now' } as const
  const wrapWallet = (wallet: BookedWallet): BookedWallet => ({
    ...wallet,
    hold: async (hold: Hold) => {
      await wallet.hold(hold)
      return { outcome: 'unanswered', code: 'TIMEOUT', detail: 'no answer', reached: true, retryAfterMs: null }
    },
    reverse: async key => (refusals-- > 0 ? refused : await wallet.reverse(key)),
  })
  const { place, held } = await funded({ wrapWallet })
  expect(await place(purchase())).toMatchObject({ refusal: { code: 'UNAVAILABLE' } })
  await until('it is taken back', async () => (await held(BUYER, 'USDT')) === 0n)
  expect(refusals).toBe(-1)
})

test('what moved under the key of a hold is somebody else’s, and not taken back', async () => {
  const reversed: string[] = []
  const wrapWallet = (wallet: BookedWallet): BookedWallet => ({
    ...wallet,
    hold: async () => ({ outcome: 'fault', code: 'IDEMPOTENCY_KEY_REUSED', detail: 'the key has moved other money' }),
    reverse: async key => {
      reversed.push(key)
      return await wallet.reverse(key)
    },
  })
  const exchange = await funded({ wrapWallet })
  expect(await exchange.place(purchase())).toMatchObject({ refusal: { code: 'UNAVAILABLE' } })
  await exchange.close()
  expect(reversed).toEqual([])
})

test('fees and rounding stay as they are while orders rest, whose holds are made for them', async () => {
  const { desk, placed } = await funded()
  const { order } = await placed(purchase())
  const assets = [BTC_USDT.base, BTC_USDT.quote]
  const start = (change: Partial<Market>) =>
    openInstruments(database, { assets, markets: [{ ...BTC_USDT, ...change }] })
  for (const change of [{ takerFee: '0.002' }, { makerFee: '0' }, { rounding: 'down' }] as const) {
    await expect(start(change)).rejects.toThrow(OpenOrdersError)
  }
  await start({ takerFee: '0.0010', minNotional: '1' })
  await desk.cancel(order.id, null)
  await start({ takerFee: '0.002' })
  await start({})
})

test('a market that is halted takes no orders, and lets them be cancelled', async () => {
  const { desk, place, placed } = await funded()
  const { order } = await placed(purchase())
  expect(await desk.setHalted('BTC/USDT', true)).toBe(true)
  expect(await desk.setHalted('BTC/EUR', true)).toBe(false)
  expect(await place(purchase())).toMatchObject({ refusal: { code: 'MARKET_HALTED' } })
  expect(await desk.cancel(order.id, null)).toMatchObject({ order: { status: 'cancelled' } })
  await desk.setHalted('BTC/USDT', false)
  await placed(purchase())
})
