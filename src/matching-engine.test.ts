import { expect, test } from 'vitest'
import { createChance } from '../test/simulation/chance.ts'
import { BTC_USDT, FEES } from '../test/support/trades.ts'
import { feeOf } from './core/fees.ts'
import type { Market } from './core/market.ts'
import { formatDecimal, parseStored } from './core/money.ts'
import { acceptTrade } from './core/trade.ts'
import { type EngineTrade, MatchingEngine, type MatchingEngineOptions, type NewOrder } from './matching-engine.ts'

const COARSE: Market = { ...BTC_USDT, symbol: 'ETH/BTC', tickSize: '0.0001', lotSize: '0.0001', minNotional: '0.001' }
const NOW_MS = 1_700_000_000_000

/** An engine whose ids are counted and whose time stands still. */
function createEngine(options: Partial<MatchingEngineOptions> = {}): MatchingEngine {
  let ids = 0
  return new MatchingEngine({
    markets: [BTC_USDT, COARSE],
    clock: { now: () => NOW_MS },
    newId: () => `id-${++ids}`,
    ...options,
  })
}

function limit(id: string, side: 'buy' | 'sell', price: string, quantity: string): NewOrder {
  return { id, userId: `user of ${id}`, symbol: 'BTC/USDT', side, type: 'limit', price, quantity }
}

test('O-1 an order that trades is answered, and told to the listeners, with its trades in order', () => {
  const engine = createEngine()
  const told: (readonly EngineTrade[])[] = []
  const callOff = engine.onTrades(trades => told.push(trades))
  engine.place(limit('cheap', 'sell', '50000', '0.1'))
  engine.place(limit('dear', 'sell', '50000.5', '0.3'))
  expect(told).toEqual([])

  const placed = engine.place(limit('taker', 'buy', '50001', '0.2'))
  expect(placed).toEqual({
    order: {
      ...{ id: 'taker', userId: 'user of taker', symbol: 'BTC/USDT', side: 'buy', type: 'limit', price: '50001' },
      ...{ quantity: '0.2', remainingQuantity: '0', filledQuantity: '0.2', filledQuoteQuantity: '10000.05' },
      status: 'filled',
    },
    trades: [
      {
        ...{ id: 'id-1', symbol: 'BTC/USDT', price: '50000', quantity: '0.1' },
        ...{ makerOrderId: 'cheap', takerOrderId: 'taker', buyerOrderId: 'taker', sellerOrderId: 'cheap' },
        ...{ buyerUserId: 'user of taker', sellerUserId: 'user of cheap', isBuyerMaker: false },
        ...{ buyerFee: '5', sellerFee: '2.5', executedAtMs: NOW_MS },
      },
      expect.objectContaining({ id: 'id-2', price: '50000.5', quantity: '0.1', sellerOrderId: 'dear' }),
    ],
    expired: [],
  })
  expect(told).toEqual(['trades' in placed ? placed.trades : null])
  expect(engine.openOrder('dear')).toMatchObject({ remainingQuantity: '0.2', status: 'partially_filled' })
  expect(engine.openOrder('cheap')).toBeNull()
  expect(engine.book('BTC/USDT')).toEqual({ symbol: 'BTC/USDT', sequence: 4, bids: [], asks: [['50000.5', '0.2', 1]] })
  callOff()
  engine.place(limit('another', 'buy', '50001', '0.1'))
  expect(told).toHaveLength(1)
})

test('who was there first pays the maker’s rate, on whichever side', () => {
  const engine = createEngine()
  engine.place(limit('maker', 'buy', '50000', '1'))
  const placed = engine.place({ ...limit('taker', 'sell', '1', '1'), type: 'market', price: null })
  expect(placed).toMatchObject({
    order: { price: null, type: 'market', status: 'filled' },
    trades: [{ isBuyerMaker: true, buyerOrderId: 'maker', buyerFee: '25', sellerFee: '50' }],
  })
})

test('the fees of an order are summed exactly: many small fills cost what one would', () => {
  const odd: Market = { ...BTC_USDT, takerFee: '0.000000000333', makerFee: '0.000000000333' }
  const engine = createEngine({ markets: [odd] })
  for (let at = 0; at < 30; at++) engine.place(limit(`maker ${at}`, 'sell', '1', '1'))
  const placed = engine.place(limit('taker', 'buy', '1', '30'))
  if (!('trades' in placed)) throw new Error(placed.refusal.detail)
  expect(placed.trades).toHaveLength(30)
  const paid = placed.trades.map(({ buyerFee }) => parseStored(buyerFee, 8)).reduce((sum, fee) => sum + fee)
  expect(paid).toBe(feeOf(3_000_000_000n, odd.takerFee))
  expect(paid).toBe(1n)
})

test('an order that rests is shown, reduced and cancelled', () => {
  const engine = createEngine()
  engine.place(limit('a', 'buy', '50000', '0.5'))
  engine.place({ ...limit('m', 'sell', '1', '0.2'), type: 'market', price: null })
  expect(engine.reduce('a', '0.6')).toMatchObject({ refusal: { code: 'NOT_A_REDUCTION' } })
  expect(engine.reduce('a', '0.000001')).toMatchObject({ refusal: { code: 'LOT_SIZE', field: 'quantity' } })
  expect(engine.reduce('a', '0.5')).toMatchObject({ order: { quantity: '0.5' } })
  expect(engine.reduce('a', '0.3')).toMatchObject({
    order: { quantity: '0.3', remainingQuantity: '0.1', filledQuantity: '0.2', status: 'partially_filled' },
  })
  expect(engine.book('BTC/USDT', 1)?.bids).toEqual([['50000', '0.1', 1]])
  expect(engine.cancel('a')).toMatchObject({ order: { remainingQuantity: '0.1', status: 'cancelled' } })
  for (const late of [engine.cancel('a'), engine.reduce('a', '0.2')]) {
    expect(late).toMatchObject({ refusal: { code: 'ORDER_NOT_OPEN' } })
  }
  engine.place(limit('b', 'buy', '50000', '0.5'))
  engine.place({ ...limit('n', 'sell', '1', '0.2'), type: 'market', price: null })
  expect(engine.reduce('b', '0.2')).toMatchObject({ order: { status: 'cancelled', filledQuantity: '0.2' } })
})

test.each<[Partial<NewOrder>, object]>([
  [{ symbol: 'X/Y' }, { code: 'UNKNOWN_SYMBOL', field: 'symbol' }],
  [{ price: '50000.001' }, { code: 'PRICE_TICK', field: 'price' }],
  [{ price: '0' }, { code: 'INVALID_PRICE', field: 'price' }],
  [{ quantity: '0.000001' }, { code: 'LOT_SIZE', field: 'quantity' }],
  [{ quantity: 'much' }, { code: 'INVALID_QUANTITY', field: 'quantity' }],
  [
    { symbol: 'ETH/BTC', price: '0.01', quantity: '0.01' },
    { code: 'MIN_NOTIONAL', field: 'quantity' },
  ],
  [{ postOnly: true }, { code: 'POST_ONLY_WOULD_CROSS', field: null }],
  // Also an order of another market.
  [{ id: 'there' }, { code: 'ORDER_ID_REUSED', field: null }],
  [
    { id: 'there', symbol: 'ETH/BTC', price: '1' },
    { code: 'ORDER_ID_REUSED', field: null },
  ],
])('with %j is refused: %j', (change, refusal) => {
  const engine = createEngine()
  engine.place(limit('there', 'sell', '50000', '1'))
  const before = engine.book('BTC/USDT')?.asks
  expect(engine.place({ ...limit('new', 'buy', '50000', '1'), ...change })).toMatchObject({ refusal })
  expect(engine.book('BTC/USDT')?.asks).toEqual(before)
})

test('own orders that self-trade prevention took are named', () => {
  const engine = createEngine()
  engine.place({ ...limit('own', 'sell', '50000', '1'), userId: 'me' })
  const placed = engine.place({
    ...{ ...limit('new', 'buy', '50000', '1'), userId: 'me' },
    selfTradePrevention: 'expire_maker',
  })
  expect(placed).toMatchObject({ order: { status: 'open' }, trades: [], expired: [{ id: 'own', status: 'expired' }] })
  expect(engine.openOrder('own')).toBeNull()
})

test('a purchase by budget has no quantity; spent to the last lot, it is filled', () => {
  const engine = createEngine()
  const budget = { ...limit('b', 'buy', '1', '1'), type: 'market', price: null, quantity: null } as const
  expect(engine.place({ ...budget, quoteQuantity: '10' })).toMatchObject({ order: { status: 'expired' } })
  engine.place(limit('a', 'sell', '50000', '1'))
  expect(engine.place({ ...budget, quoteQuantity: '1000' })).toMatchObject({
    // 0.01998 × 50000 = 999, and a fee of 0.999.
    order: { quantity: null, remainingQuantity: null, filledQuantity: '0.01998', status: 'filled' },
    trades: [{ buyerFee: '0.999' }],
  })
  expect(engine.place({ ...budget, quoteQuantity: '0.01' })).toMatchObject({ order: { status: 'expired' } })
})

test('ids and times are made where none are given', () => {
  const engine = new MatchingEngine({ markets: [BTC_USDT] })
  const { id: _, ...order } = limit('', 'sell', '50000', '1')
  engine.place(order)
  const placed = engine.place({ ...order, side: 'buy', userId: 'another' })
  if (!('trades' in placed)) throw new Error(placed.refusal.detail)
  const [{ id, executedAtMs } = { id: '', executedAtMs: 0 }] = placed.trades
  expect([id, placed.order.id]).toEqual([
    expect.stringMatching(/^[0-9a-f-]{14}7/),
    expect.stringMatching(/^[0-9a-f-]{14}7/),
  ])
  expect(Math.abs(executedAtMs - Date.now())).toBeLessThan(60_000)
})

test('an engine that is restored has the same future, and settlement takes every trade of it', () => {
  const chance = createChance(1)
  const orders = Array.from({ length: 600 }, (_, at): NewOrder => {
    const price = chance.is(0.2) ? null : formatDecimal(BigInt(chance.int(900, 1100)), 2)
    return {
      ...{ id: `${at}`, userId: `user ${chance.int(1, 8)}`, symbol: 'BTC/USDT', side: chance.pick(['buy', 'sell']) },
      ...{ type: price === null ? 'market' : 'limit', price, quantity: formatDecimal(BigInt(chance.int(1, 999)), 5) },
      selfTradePrevention: chance.pick(['none', 'expire_taker', 'expire_maker', 'expire_both']),
    }
  })
  const newId = () => 'trade'
  const one = createEngine({ newId })
  let other = createEngine({ newId })
  let trades = 0
  for (const [at, order] of orders.entries()) {
    const placed = one.place(order)
    expect(other.place(order)).toEqual(placed)
    for (const trade of 'trades' in placed ? placed.trades : []) {
      trades++
      expect(acceptTrade(trade, BTC_USDT, FEES)).toHaveProperty('trade')
    }
    if (at % 50 === 0) other = createEngine({ newId, state: JSON.parse(JSON.stringify(other.state())) })
  }
  expect(other.state()).toEqual(one.state())
  expect(trades).toBeGreaterThan(200)
})

test('a state that does not fit the markets, and a market that can’t be traded, are refused at once', () => {
  const engine = createEngine()
  engine.place(limit('a', 'sell', '50000', '1'))
  const state = engine.state()
  expect(() => createEngine({ state, markets: [COARSE] })).toThrow('BTC/USDT, which is not among the markets')
  const other = { ...BTC_USDT, tickSize: '0.1' }
  expect(() => createEngine({ state, markets: [other, COARSE] })).toThrow('another tick size')
  for (const [change, words] of [
    [{ tickSize: '0' }, 'tickSize 0 is not a number above zero'],
    [{ lotSize: 'x' }, 'lotSize x is not'],
    [{ takerFee: '-1' }, 'the rate -1 is no share'],
    [{ lotSize: '0.0000001' }, 'name a rounding rule'],
    [{ lotSize: '0.000000001' }, 'lot_size 0.000000001 has 9 places'],
  ] as const) {
    expect(() => createEngine({ markets: [{ ...BTC_USDT, ...change }] })).toThrow(words)
  }
})
