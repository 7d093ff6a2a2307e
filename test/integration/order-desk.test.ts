import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { parseStored } from '../../src/core/money.ts'
import { createLogger } from '../../src/log.ts'
import { migrate } from '../../src/migrate.ts'
import type { NewOrder } from '../../src/orders/accept.ts'
import { createOrderDesk, type OrderDesk, type PlaceAnswer } from '../../src/orders/desk.ts'
import { openInstruments } from '../../src/store/instruments.ts'
import type { OrderStore } from '../../src/store/order-store.ts'
import { createOrderStore } from '../../src/store/pg-order-store.ts'
import { createStore } from '../../src/store/pg-store.ts'
import { verifyBooks } from '../../src/verify/verify.ts'
import { createLedgerWallet } from '../../src/wallet/ledger-wallet.ts'
import type { BookedWallet } from '../../src/wallet/wallet.ts'
import { createWorkerPool, type WorkerPool } from '../../src/worker/pool.ts'
import { POLICY } from '../support/books.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/process.ts'
import { BTC_USDT, BUYER, FEES, SELLER } from '../support/trades.ts'

let db: TestDatabase
let wallet: BookedWallet
let store: OrderStore
let pool: WorkerPool
let desk: OrderDesk
let made = 0

beforeEach(async () => {
  db = await createTestDatabase()
  await migrate(db.database, 'store')
  await migrate(db.database, 'ledger')
  const { base, quote } = BTC_USDT
  const instruments = await openInstruments(db.database, { assets: [base, quote], markets: [BTC_USDT] })
  const clock = systemClock()
  const log = createLogger('silent')
  wallet = createLedgerWallet({ database: db.database, instruments, clock, feeUserId: FEES, log })
  store = createOrderStore(db.database, instruments)
  pool = createWorkerPool({
    ...{ store: createStore(db.database, instruments), wallet, clock, log, policy: POLICY, random: () => 0.5 },
    ...{ traits: { level: 'settlements', idempotent: true }, owner: '00000000-0000-4000-a000-000000000001' },
    ...{ workerPoolSize: 10, queueCapacity: 1000, leaseMs: 30_000, pollMs: 50, deadLettersEnabled: true },
  })
  pool.start()
  desk = createOrderDesk({
    ...{ store, instruments, wallet, pool, clock, log, legOrder: 'buyer-first', feeUserId: FEES, pollMs: 50 },
    link: { rail: () => 'atomic', hasHolds: () => true },
  })
  await desk.start()
  await fund(BUYER, 'USDT', '1000000')
  await fund(SELLER, 'BTC', '100')
})
afterEach(async () => {
  await desk.stop()
  await pool.stop(10_000)
  const { breaks, examples } = await verifyBooks(db.database)
  await db.drop()
  expect({ breaks, examples }).toEqual({ breaks: 0, examples: [] })
})

async function fund(userId: string, currency: string, amount: string): Promise<void> {
  const outcome = await wallet.apply({
    ...{ key: `deposit-${++made}`, tradeId: null, type: 'credit', userId, currency },
    ...{ amount: parseStored(amount, 8), reason: 'DEPOSIT' },
  })
  expect(outcome.outcome).toBe('applied')
}

function order(change: Partial<NewOrder>): NewOrder {
  return {
    ...{ userId: BUYER, clientOrderId: null, symbol: 'BTC/USDT', side: 'buy', type: 'limit', price: '50000' },
    ...{ quantity: '1', quoteQuantity: null, timeInForce: null, postOnly: false, selfTradePrevention: null },
    ...change,
  }
}

const sale = (change: Partial<NewOrder> = {}): NewOrder => order({ userId: SELLER, side: 'sell', ...change })

async function place(change: NewOrder): Promise<PlaceAnswer> {
  const [answer] = await desk.place([change])
  return answer as PlaceAnswer
}

async function placed(change: NewOrder) {
  const answer = await place(change)
  if ('refusal' in answer) throw new Error(JSON.stringify(answer.refusal, (_, value) => `${value}`))
  return answer
}

const heldOf = async (userId: string, currency: string): Promise<string> =>
  ((await wallet.balance(userId, currency))?.held ?? 0n).toString()

const settled = () =>
  until('all is settled', async () => pool.status().inFlight === 0 && pool.status().queueDepth === 0)

const usdt = (amount: number): string => (BigInt(Math.round(amount * 1000)) * 10n ** 5n).toString()

test('an order rests with its funds on hold, and gives them back when it is cancelled', async () => {
  const { order: made } = await placed(order({}))
  expect(made).toMatchObject({ status: 'open', filledQuantity: 0n, openedSequence: 1 })
  expect(await heldOf(BUYER, 'USDT')).toBe(usdt(50050))
  expect(await store.order(made.id)).toEqual(made)
  const cancelled = await desk.cancel(made.id, BUYER)
  expect(cancelled).toMatchObject({ order: { status: 'cancelled' } })
  await until('the hold is released', async () => (await heldOf(BUYER, 'USDT')) === '0')
  expect(await desk.cancel(made.id, BUYER)).toEqual(cancelled)
})

test('a trade settles from the holds of both orders, and what was saved is free', async () => {
  await placed(sale({ price: '49000', quantity: '0.4' }))
  const { order: taker, trades } = await placed(order({ price: '50000', quantity: '1' }))
  expect(taker).toMatchObject({ status: 'partially_filled', filledQuantity: 40_000_000n })
  expect(trades).toMatchObject([{ trade: { buyerFee: 1_960_000_000n, sellerFee: 980_000_000n, isBuyerMaker: false } }])
  await settled()
  await until('only the rest is held', async () => (await heldOf(BUYER, 'USDT')) === usdt(50000 * 0.6 * 1.001))
  expect(await heldOf(SELLER, 'BTC')).toBe('0')
  expect((await wallet.balance(BUYER, 'USDT'))?.total.toString()).toBe(usdt(1_000_000 - 19_600 - 19.6))
  expect((await wallet.balance(SELLER, 'USDT'))?.total.toString()).toBe(usdt(19_600 - 9.8))
  expect(await store.tradesTaken(taker)).toMatchObject(trades.map(({ trade }) => ({ trade })))
})

test('F-1 a hundred orders at once on a balance that covers three: three are accepted', async () => {
  const user = '00000000-0000-4000-8000-0000000000f1'
  await fund(user, 'USDT', '350')
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => place(order({ userId: user, price: '100', quantity: '1' }))),
  )
  const refusals = answers.flatMap(answer => ('refusal' in answer ? [answer.refusal] : []))
  expect(refusals).toHaveLength(97)
  for (const refusal of refusals) {
    expect(refusal).toEqual({
      ...{
        code: 'INSUFFICIENT_BALANCE',
        currency: 'USDT',
        available: BigInt(usdt(49.7)),
        required: BigInt(usdt(100.1)),
      },
    })
  }
  expect(await heldOf(user, 'USDT')).toBe(usdt(300.3))
  expect(desk.refusedForFunds()).toBe(97)
})

test('a purchase at the market holds what the book asks for', async () => {
  await placed(sale({ price: '50000', quantity: '0.5' }))
  await placed(sale({ price: '51000', quantity: '0.5' }))
  const { order: bought, trades } = await placed(order({ type: 'market', price: null, quantity: '0.8' }))
  expect(bought).toMatchObject({ status: 'filled', filledQuoteQuantity: 40_300n * 10n ** 8n })
  expect(trades).toHaveLength(2)
  const { order: rest } = await placed(order({ type: 'market', price: null, quantity: '1' }))
  expect(rest).toMatchObject({ status: 'expired', filledQuantity: 20_000_000n })
  await settled()
  await until('nothing is held', async () => (await heldOf(BUYER, 'USDT')) === '0')
})

test('a client order id is taken once', async () => {
  const first = await placed(order({ clientOrderId: 'mine' }))
  const answers = await Promise.all([
    placed(order({ clientOrderId: 'mine', price: '50000.00' })),
    placed(order({ clientOrderId: 'mine' })),
  ])
  for (const answer of answers) expect(answer).toEqual({ ...first, isNew: false })
  expect(await place(order({ clientOrderId: 'mine', quantity: '2' }))).toMatchObject({
    refusal: { code: 'CLIENT_ORDER_ID_REUSED' },
  })
  const twice = await desk.place([order({ clientOrderId: 'other' }), order({ clientOrderId: 'other' })])
  expect(twice.map(answer => 'isNew' in answer && answer.isNew)).toEqual([true, false])
})
