import { parseDecimal } from './money.ts'

/** Rates are decimal texts of at most this many places. */
const RATE_PLACES = 18

/** A whole, in the units that rates and exact fees are counted in. */
export const WHOLE = 10n ** BigInt(RATE_PLACES)

/** A rate (a share such as `"0.001"`; below zero for a rebate) in units of 10^-18. */
export function rateUnits(rate: string): bigint {
  const units = parseDecimal(rate, RATE_PLACES)
  if (typeof units !== 'bigint') throw new Error(`${rate} is not a fee rate: ${units}`)
  return units
}

/**
 * The fee to charge for an exact one (notional × rate units): rounded up to the smallest unit, a rebate toward zero, so
 * that rounding never costs the exchange (http-api.md, "Configuration"; Vega, field-notes.md 1.7).
 */
export function roundFee(exact: bigint): bigint {
  const down = exact / WHOLE
  return exact > 0n && exact % WHOLE !== 0n ? down + 1n : down
}

/** What a rate takes of a notional. */
export function feeOf(notional: bigint, rate: string): bigint {
  return roundFee(notional * rateUnits(rate))
}
