import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BTC_USDT } from '../../test/support/trades.ts'
import type { Market } from './market.ts'
import { divideRounded, type Rounding } from './money.ts'
import { highestNotional, mostLotsWithin, notionalOfLots, notionalRuleOf } from './notional.ts'

const MARKET: Market = { ...BTC_USDT, makerFee: '0', takerFee: '0' }

/** A lot at one tick is worth `lot` / 1000 of a unit, rounded. */
const rounding = (rule: Rounding, lot = '0.001'): Market => ({
  ...MARKET,
  base: { code: 'A', scale: 3 },
  quote: { code: 'B', scale: 0 },
  tickSize: '1',
  lotSize: lot,
  rounding: rule,
})

const RULES: readonly Rounding[] = ['half_even', 'half_up', 'down']
const rules = fc.constantFrom(...RULES)
const counts = fc.integer({ min: 1, max: 5000 })
const lotSizes = fc.constantFrom('0.001', '0.002', '0.005', '0.125', '0.5')

test.each([
  // 500.00 × 0.00003 = 0.015.
  [50_000, 3, 1_500_000n],
  // 90,071,992,547,409.91 × 90,071,992,547.40991
  [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, BigInt(Number.MAX_SAFE_INTEGER) ** 2n * 10n],
])('%i ticks × %i lots are worth %s', (ticks, lots, units) => {
  expect(notionalOfLots(notionalRuleOf(MARKET), ticks, lots)).toBe(units)
})

test('a market whose notionals are not even, without a rule to round them, is a bug: it was checked', () => {
  expect(() => notionalRuleOf({ ...rounding('down'), rounding: null })).toThrow('not even')
})

test('a notional is the same by number and by bigint', () => {
  const large = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
  fc.assert(
    fc.property(large, large, (ticks, lots) => {
      expect(notionalOfLots(notionalRuleOf(MARKET), ticks, lots)).toBe(BigInt(ticks) * BigInt(lots) * 10n)
    }),
  )
})

test('a notional that does not come out even is price × quantity, rounded by the rule', () => {
  fc.assert(
    fc.property(rules, lotSizes, counts, counts, (rule, lot, ticks, lots) => {
      const thousandths = BigInt(Number(lot) * 1000)
      const exact = divideRounded(BigInt(ticks) * BigInt(lots) * thousandths, 1000n, rule)
      expect(notionalOfLots(notionalRuleOf(rounding(rule, lot)), ticks, lots)).toBe(exact)
    }),
  )
})

test('the most lots within an amount are within it, and one more is not', () => {
  const amounts = fc.bigInt({ min: 0n, max: 3000n })
  fc.assert(
    fc.property(fc.option(rules), lotSizes, counts, amounts, (rule, lot, ticks, amount) => {
      const market = rule === null ? { ...MARKET, quote: { code: 'USDT', scale: 7 } } : rounding(rule, lot)
      const notionals = notionalRuleOf(market)
      const most = Number(mostLotsWithin(notionals, ticks, amount))
      if (most > 0) expect(notionalOfLots(notionals, ticks, most) <= amount).toBe(true)
      expect(notionalOfLots(notionals, ticks, most + 1) > amount).toBe(true)
    }),
    { numRuns: 1000 },
  )
})

test('no way to split an order into fills is worth more than the highest notional', () => {
  const splits = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(rules, lotSizes, counts, splits, (rule, lot, ticks, fills) => {
      const market = rounding(rule, lot)
      const notionals = fills.map(lots => notionalOfLots(notionalRuleOf(market), ticks, lots))
      const lots = fills.reduce((sum, each) => sum + each, 0)
      expect(notionals.reduce((sum, each) => sum + each, 0n)).toBeLessThanOrEqual(highestNotional(market, ticks, lots))
    }),
    { numRuns: 1000 },
  )
})

test.each([
  // All exact.
  [MARKET, 7, 3, 210n],
  // 1.5
  [rounding('down', '0.5'), 1, 3, 2n],
  // Each lot of 0.5 becomes 1.
  [rounding('half_up', '0.5'), 1, 3, 3n],
  // Each lot of 0.001 becomes 0, though half a unit each would be allowed for.
  [rounding('half_up'), 1, 3, 1n],
  // 30.003 and three halves.
  [rounding('half_even'), 10_001, 3, 32n],
])('the highest notional is no higher than it must be (%#)', (market, ticks, lots, units) => {
  expect(highestNotional(market, ticks, lots)).toBe(units)
})
