import { expect, test } from 'vitest'
import type { Market } from '../core/market.ts'
import { createCast } from './cast.ts'
import { createStakes } from './stakes.ts'

const MARKET: Market = {
  symbol: 'BTC/USDT',
  base: { code: 'BTC', scale: 8 },
  quote: { code: 'USDT', scale: 2 },
  tickSize: '0.01',
  lotSize: '0.00001',
  minNotional: '0',
  makerFee: '0',
  takerFee: '0.001',
  rounding: 'half_even',
}

const cast = createCast({ seed: 1, users: 2, market: 'BTC/USDT' })

function amountsOf(trades: readonly (readonly [price: string, quantity: string])[]): unknown {
  const stakes = createStakes(() => cast)
  for (const [price, quantity] of trades) {
    // Always the same line, so that the same user buys.
    stakes.add({ line: 1, symbol: 'BTC/USDT', price, quantity, isBuyerMaker: null, venueId: null, executedAtMs: null })
  }
  return Object.fromEntries(stakes.list(() => MARKET).map(({ currency, amount }) => [currency, amount]))
}

test('a buyer gets what it pays with its fees, a seller what it sells, rounded up', () => {
  expect(amountsOf([['28000.10', '0.5']])).toEqual({ BTC: 50_000_000n, USDT: 1_400_005n + 1401n + 2n })
  const twice = amountsOf([
    ['1', '0.333'],
    ['1', '0.333'],
  ])
  expect(twice).toEqual({ BTC: 66_600_000n, USDT: 67n + 1n + 4n })
})

test.each([
  ['1e37 of the quote asset', '9999999999999999999999999999999999999', '1'],
  ['38 digits of the base asset', '0.01', '99999999999999999999999999999999999999'],
  ['places that no asset has', '0.0000000000000000001', '1'],
])('a trade that no account can hold needs no funds: %s', (_, price, quantity) => {
  expect(
    amountsOf([
      [price, quantity],
      ['28000.10', '0.5'],
    ]),
  ).toEqual(amountsOf([['28000.10', '0.5']]))
})

test('a large trade that an account can hold is funded as any other', () => {
  expect(amountsOf([['10000000000000000000000000000000000', '1']])).toMatchObject({
    USDT: 10n ** 36n + 10n ** 33n + 2n,
  })
})
