import { describe, expect, test } from 'vitest'
import { BTC_USDT } from '../../test/support/trades.ts'
import { type Market, marketFault, splitSymbol } from './market.ts'

describe('markets', () => {
  test('one whose price and quantity places do not fit its quote asset is refused with the numbers', () => {
    const market: Market = { ...BTC_USDT, quote: { code: 'USDT', scale: 6 } }
    expect(marketFault(market)).toMatch(/price places 2 .* \+ quantity places 5 .* = 7, more than the 6 places of USDT/)
  })

  test('a rounding rule lets it be', () => {
    expect(marketFault({ ...BTC_USDT, quote: { code: 'USDT', scale: 6 }, rounding: 'half_up' })).toBeNull()
    expect(marketFault(BTC_USDT)).toBeNull()
  })

  test('a step smaller than the asset has places is refused', () => {
    expect(marketFault({ ...BTC_USDT, quote: { code: 'USDT', scale: 1 } })).toMatch(/tick_size 0.01 has 2 places/)
    expect(marketFault({ ...BTC_USDT, base: { code: 'BTC', scale: 4 } })).toMatch(/lot_size 0.00001 has 5 places/)
  })

  test.each([
    ['BTC/USDT', { base: 'BTC', quote: 'USDT' }],
    ['BTC-USDT', null],
    ['BTC/BTC', null],
    ['btc/usdt', null],
    ['/USDT', null],
    ['', null],
    ['BTC/USDT/', null],
    [`${'A'.repeat(21)}/USDT`, null],
  ])('the symbol %s', (symbol, parts) => {
    expect(splitSymbol(symbol)).toEqual(parts)
  })
})
