import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BTC_USDT } from '../../test/support/trades.ts'
import { feeOf } from './fees.ts'
import type { Market } from './market.ts'
import { formatDecimal } from './money.ts'
import { chargeFee, highestFee, NO_FEES, notionalPaidBy } from './order-fees.ts'

const MARKET: Market = { ...BTC_USDT, makerFee: '-0.0005' }

const notionals = fc.bigInt({ min: 0n, max: 10n ** 24n })
const rateUnits = fc.bigInt({ min: -(10n ** 18n) + 1n, max: 10n ** 18n - 1n })
const rates = rateUnits.map(units => formatDecimal(units, 18))

interface Part {
  readonly notional: bigint
  readonly rate: string
}

/** The fees of the fills, one after the other, and the account at the end. */
function chargeAll(parts: readonly Part[]) {
  let account = NO_FEES
  const fees = parts.map(({ notional, rate }) => {
    const step = chargeFee(account, notional, rate)
    account = step.account
    return step.fee
  })
  return { fees, account }
}

const sum = (amounts: readonly bigint[]): bigint => amounts.reduce((total, amount) => total + amount, 0n)

test('three fills of one unit at a third cost one unit, the first of them', () => {
  const part = { notional: 1n, rate: '0.3' }
  expect(chargeAll([part, part, part, part]).fees).toEqual([1n, 0n, 0n, 1n])
  expect(chargeAll([part, { notional: 1n, rate: '-0.3' }]).fees).toEqual([1n, -1n])
})

test('any number of fills at one rate costs what one fill would', () => {
  fc.assert(
    fc.property(fc.array(notionals), rates, (each, rate) => {
      expect(sum(chargeAll(each.map(notional => ({ notional, rate }))).fees)).toBe(feeOf(sum(each), rate))
    }),
  )
})

test('no fee, and no rebate, is above the notional of its fill', () => {
  const parts = fc.array(fc.record({ notional: fc.bigInt({ min: 0n, max: 50n }), rate: rates }))
  fc.assert(
    fc.property(parts, each => {
      const { fees } = chargeAll(each)
      for (const [at, { notional }] of each.entries()) {
        const fee = fees[at] ?? 0n
        expect(fee <= notional && -fee <= notional).toBe(true)
      }
    }),
  )
})

test('the rest of an order is never charged more than the highest fee, whichever of its fills make and which take', () => {
  const markets = fc.tuple(rates, rates).map(([makerFee, takerFee]) => ({ ...MARKET, makerFee, takerFee }))
  const fills = fc.array(fc.tuple(fc.bigInt({ min: 0n, max: 1000n }), fc.boolean()))
  fc.assert(
    fc.property(markets, fills, fills, (market, before, after) => {
      const parts = ([notional, makes]: readonly [bigint, boolean]): Part => ({
        notional,
        rate: makes ? market.makerFee : market.takerFee,
      })
      const { account } = chargeAll(before.map(parts))
      const { fees } = chargeAll([...before, ...after].map(parts))
      const rest = sum(after.map(([notional]) => notional))
      expect(sum(fees.slice(before.length))).toBeLessThanOrEqual(highestFee(account, rest, market))
    }),
  )
})

test('the highest fee is at the higher rate, and never a rebate', () => {
  expect(highestFee(NO_FEES, 1001n, MARKET)).toBe(2n)
  expect(highestFee(chargeFee(NO_FEES, 1n, '0.001').account, 1001n, MARKET)).toBe(1n)
  expect(highestFee(NO_FEES, 1001n, { ...MARKET, takerFee: '-0.001' })).toBe(0n)
})

test('a notional is paid with its fee, and one unit more is not', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 10n ** 24n }), rateUnits, (budget, rate) => {
      const cost = (notional: bigint): bigint => notional + feeOf(notional, formatDecimal(rate, 18))
      const most = notionalPaidBy(budget * 10n ** 18n, rate)
      expect(cost(most)).toBeLessThanOrEqual(budget)
      expect(cost(most + 1n)).toBeGreaterThan(budget)
    }),
  )
  expect(notionalPaidBy(-1n, 0n)).toBe(0n)
})
