import { divideRounded, parseDecimal } from './money.ts'

/** Rates are decimal texts of at most this many places. */
const RATE_PLACES = 18
const ONE = 10n ** BigInt(RATE_PLACES)

/**
 * What a rate (a share such as `"0.001"`; below zero for a rebate) takes of a notional: rounded up to the smallest unit,
 * a rebate toward zero, so that rounding never costs the exchange (http-api.md, "Configuration"; Vega, field-notes.md 1.7).
 */
export function feeOf(notional: bigint, rate: string): bigint {
  const units = parseDecimal(rate, RATE_PLACES)
  if (typeof units !== 'bigint') throw new Error(`${rate} is not a fee rate: ${units}`)
  const product = notional * units
  const down = divideRounded(product, ONE, 'down')
  return product > 0n && product % ONE !== 0n ? down + 1n : down
}
