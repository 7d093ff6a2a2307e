import { describe, expect, test } from 'vitest'
import { BTC_USDT } from '../../test/support/trades.ts'
import type { Market } from '../core/market.ts'
import { type OrderInput, priceText, quantityText, readLots, readOrder } from './order-rules.ts'

const MARKET: Market = {
  ...BTC_USDT,
  tickSize: '0.05',
  lotSize: '0.0002',
  minNotional: '10',
  makerFee: '0',
  takerFee: '0',
}

const LIMIT: OrderInput = {
  userId: 'u',
  side: 'buy',
  type: 'limit',
  price: '50000.10',
  quantity: '0.5',
  quoteQuantity: null,
  timeInForce: null,
  postOnly: false,
  selfTradePrevention: null,
}
const MARKET_ORDER: OrderInput = { ...LIMIT, type: 'market', price: null }
const BUDGET: OrderInput = { ...MARKET_ORDER, quantity: null, quoteQuantity: '10' }

const placed = { userId: 'u', selfTradePrevention: 'expire_taker' }

describe('an order becomes the command that places it', () => {
  test.each<[string, OrderInput, object]>([
    [
      'limit',
      LIMIT,
      { ...placed, type: 'limit', side: 'buy', ticks: 1_000_002, lots: 2500, timeInForce: 'GTC', postOnly: false },
    ],
    [
      'all named',
      { ...LIMIT, side: 'sell', timeInForce: 'FOK', selfTradePrevention: 'none' },
      {
        ...{
          ...placed,
          type: 'limit',
          side: 'sell',
          ticks: 1_000_002,
          lots: 2500,
          timeInForce: 'FOK',
          postOnly: false,
        },
        selfTradePrevention: 'none',
      },
    ],
    ['market', { ...MARKET_ORDER, timeInForce: 'IOC' }, { ...placed, type: 'market', side: 'buy', lots: 2500 }],
    ['a market order of any worth', { ...MARKET_ORDER, quantity: '0.0002' }, { type: 'market', lots: 1 }],
    ['budget', BUDGET, { ...placed, type: 'budget', budget: 1_000_000_000n }],
  ])('%s', (_name, input, command) => {
    expect(readOrder(MARKET, input)).toMatchObject({ command })
  })
})

const long = '1'.repeat(39)

test.each<[OrderInput, Partial<OrderInput>, string, string]>([
  [LIMIT, { price: '0' }, 'INVALID_PRICE', 'price'],
  [LIMIT, { price: '-1' }, 'INVALID_PRICE', 'price'],
  [LIMIT, { price: '-0.000000001' }, 'INVALID_PRICE', 'price'],
  [LIMIT, { price: '5e4' }, 'INVALID_PRICE', 'price'],
  [LIMIT, { price: long }, 'INVALID_PRICE', 'price'],
  // 2^53 ticks.
  [LIMIT, { price: '450359962737049.60' }, 'INVALID_PRICE', 'price'],
  [LIMIT, { price: '50000.01' }, 'PRICE_TICK', 'price'],
  [LIMIT, { price: '50000.000000001' }, 'PRICE_TICK', 'price'],
  [LIMIT, { quantity: '0' }, 'INVALID_QUANTITY', 'quantity'],
  [LIMIT, { quantity: '-0.5' }, 'INVALID_QUANTITY', 'quantity'],
  [LIMIT, { quantity: '.5' }, 'INVALID_QUANTITY', 'quantity'],
  [LIMIT, { quantity: long }, 'INVALID_QUANTITY', 'quantity'],
  [LIMIT, { quantity: '1801439850948.1984' }, 'INVALID_QUANTITY', 'quantity'],
  [LIMIT, { quantity: '0.5001' }, 'LOT_SIZE', 'quantity'],
  [LIMIT, { quantity: '0.000000001' }, 'LOT_SIZE', 'quantity'],
  // 9.99999.
  [LIMIT, { price: '49999.95', quantity: '0.0002' }, 'MIN_NOTIONAL', 'quantity'],
  [MARKET_ORDER, { quantity: '0.0001' }, 'LOT_SIZE', 'quantity'],
  [BUDGET, { quoteQuantity: '9.99999999' }, 'MIN_NOTIONAL', 'quote_quantity'],
  [BUDGET, { quoteQuantity: '0' }, 'INVALID_QUANTITY', 'quote_quantity'],
  [BUDGET, { quoteQuantity: '10.000000001' }, 'INVALID_QUANTITY', 'quote_quantity'],
  [LIMIT, { price: null }, 'INVALID_REQUEST', 'price'],
  [LIMIT, { quantity: null }, 'INVALID_REQUEST', 'quantity'],
  [LIMIT, { quoteQuantity: '10' }, 'INVALID_REQUEST', 'quote_quantity'],
  [LIMIT, { postOnly: true, timeInForce: 'IOC' }, 'INVALID_REQUEST', 'post_only'],
  [MARKET_ORDER, { price: '1' }, 'INVALID_REQUEST', 'price'],
  [MARKET_ORDER, { postOnly: true }, 'INVALID_REQUEST', 'post_only'],
  [MARKET_ORDER, { timeInForce: 'GTC' }, 'INVALID_REQUEST', 'time_in_force'],
  [MARKET_ORDER, { quantity: null }, 'INVALID_REQUEST', 'quantity'],
  [BUDGET, { quantity: '1' }, 'INVALID_REQUEST', 'quantity'],
  [BUDGET, { side: 'sell' }, 'INVALID_REQUEST', 'quote_quantity'],
])('%j with %j is %s at %s', (input, change, code, field) => {
  expect(readOrder(MARKET, { ...input, ...change })).toMatchObject({ fault: { code, field } })
})

test('the least notional is enough, to the unit and before rounding', () => {
  expect(readOrder(MARKET, { ...LIMIT, price: '50000', quantity: '0.0002' })).toHaveProperty('command')
  const rounding = { ...MARKET, quote: { code: 'USDT', scale: 2 }, rounding: 'half_up', minNotional: '0.01' } as const
  // 45 × 0.0002 = 0.009, which would be rounded to 0.01.
  const order = { ...LIMIT, price: '45', quantity: '0.0002' }
  expect(readOrder(rounding, order)).toMatchObject({ fault: { code: 'MIN_NOTIONAL' } })
})

test('a worth that no answer could show is refused', () => {
  const asset = (code: string) => ({ code, scale: 18 })
  const fine = { ...MARKET, base: asset('A'), quote: asset('B'), tickSize: '1000', lotSize: '1000' }
  const order = { ...LIMIT, price: '9000000000000000000', quantity: '9000000000000000000' }
  expect(readOrder(fine, order)).toMatchObject({ fault: { code: 'INVALID_PRICE' } })
})

test('ticks and lots are written as the texts they were', () => {
  expect(priceText(MARKET, 1_000_002)).toBe('50000.1')
  expect(quantityText(MARKET, 2500)).toBe('0.5')
  expect(quantityText(MARKET, 0)).toBe('0')
  expect(readLots(MARKET, '0.0006')).toBe(3)
})
