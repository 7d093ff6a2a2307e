import { expect, test } from 'vitest'
import { BTC_USDT } from '../../test/support/trades.ts'
import type { Market } from '../core/market.ts'
import { createCast } from './cast.ts'
import { createStakes } from './stakes.ts'

const MARKET: Market = { ...BTC_USDT, quote: { code: 'USDT', scale: 2 }, makerFee: '0', rounding: 'half_even' }

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

test('a trade whose places no asset has needs no funds', () => {
  const good = ['28000.10', '0.5'] as const
  expect(amountsOf([['0.0000000000000000001', '1'], good])).toEqual(amountsOf([good]))
})

test('however much a file asks for, it is funded', () => {
  expect(amountsOf([['9'.repeat(38), '9'.repeat(38)]])).toMatchObject({ BTC: (10n ** 38n - 1n) * 10n ** 8n })
})
