import { Decimal } from 'decimal.js'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { feeOf } from './fees.ts'
import { formatDecimal } from './money.ts'

const Exact = Decimal.clone({ precision: 200 })

test.each([
  [5_000_000_000_000n, '0.001', 5_000_000_000n],
  [1n, '0.001', 1n],
  [1_001n, '0.001', 2n],
  [1_000n, '0.001', 1n],
  [1_001n, '-0.001', -1n],
  [1n, '-0.001', 0n],
  [0n, '0.001', 0n],
  [1_001n, '0', 0n],
])('of %s units at %s is %s: a fee rounds up, a rebate toward zero', (notional, rate, fee) => {
  expect(feeOf(notional, rate)).toBe(fee)
})

test('for any notional and rate is the exact share, rounded up', () => {
  const notionals = fc.bigInt({ min: 0n, max: 10n ** 38n - 1n })
  const rates = fc.bigInt({ min: -(10n ** 18n), max: 10n ** 18n })
  fc.assert(
    fc.property(notionals, rates, (notional, rateUnits) => {
      const rate = formatDecimal(rateUnits, 18)
      const exact = new Exact(notional.toString()).mul(rate)
      expect(feeOf(notional, rate)).toBe(BigInt(exact.toDecimalPlaces(0, Decimal.ROUND_CEIL).toFixed(0)))
    }),
  )
})

test('a rate that is none is a bug: the configuration has checked it', () => {
  expect(() => feeOf(1n, '0.1%')).toThrow('0.1% is not a fee rate: not_a_number')
})
