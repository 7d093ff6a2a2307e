/**
 * Exact money: every amount is a `bigint` in its asset's smallest unit; text appears only at the edges, and only here.
 */

/** How a division that does not come out even is settled. `down` is toward zero. */
export type Rounding = 'half_even' | 'half_up' | 'down'

/** Why a text is not an amount. */
export type DecimalFault = 'not_a_number' | 'too_many_digits' | 'too_many_places'

/** The most digits a number may have at any edge (http-api.md, "Common"). */
export const MAX_DIGITS = 38

/** The most places an asset may have (http-api.md, "Common"). */
export const MAX_SCALE = 18

const PLAIN = /^(-?)([0-9]+)(?:\.([0-9]+))?$/
const MAX_TEXT = 100

/**
 * Reads a decimal text (`"28165.47"`, digits on both sides of a point if there is one, no exponent) as units of
 * 10^-scale. Places count by value: `"1.500"` has one. A leading minus is read; whoever wants none says so after.
 */
export function parseDecimal(text: string, scale: number): bigint | DecimalFault {
  return read(text, scale, MAX_DIGITS)
}

function read(text: string, scale: number, maxDigits: number): bigint | DecimalFault {
  if (text.length > MAX_TEXT) return 'too_many_digits'
  const match = PLAIN.exec(text)
  if (match === null) return 'not_a_number'
  const [, sign, whole = '', places = ''] = match
  const significant = places.replace(/0+$/, '')
  if (whole.replace(/^0+/, '').length + significant.length > maxDigits) return 'too_many_digits'
  if (significant.length > scale) return 'too_many_places'
  const units = BigInt(whole + significant.padEnd(scale, '0'))
  return sign === '-' ? -units : units
}

/** Reads an amount that was stored before; one that does not fit any more is a bug or a damaged table, and throws. */
export function parseStored(text: string, scale: number): bigint {
  const units = read(text, scale, MAX_TEXT)
  if (typeof units !== 'bigint') throw new Error(`stored amount ${text} does not fit ${scale} places: ${units}`)
  return units
}

const TOO_MANY = 10n ** BigInt(MAX_DIGITS)

/** Whether an amount has more digits, by value, than any edge can show. */
export function hasTooManyDigits(units: bigint, scale: number): boolean {
  let digits = units < 0n ? -units : units
  for (let places = scale; digits >= TOO_MANY && places > 0 && digits % 10n === 0n; places--) digits /= 10n
  return digits >= TOO_MANY
}

/** Writes units of 10^-scale as the canonical decimal text: no exponent, no trailing zeros, `-` only below zero. */
export function formatDecimal(units: bigint, scale: number): string {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, '0')
  const point = digits.length - scale
  let end = digits.length
  while (end > point && digits.charCodeAt(end - 1) === ZERO) end--
  const value = end === point ? digits.slice(0, point) : `${digits.slice(0, point)}.${digits.slice(point, end)}`
  return units < 0n ? `-${value}` : value
}

const ZERO = '0'.charCodeAt(0)

/** The number of places a decimal text has by value: `"0.0100"` → 2. The text must be one `parseDecimal` accepts. */
export function placesOf(text: string): number {
  const point = text.indexOf('.')
  return point === -1 ? 0 : text.slice(point + 1).replace(/0+$/, '').length
}

/** numerator / denominator, rounded as the rule says; the denominator is above zero. */
export function divideRounded(numerator: bigint, denominator: bigint, rounding: Rounding): bigint {
  const magnitude = numerator < 0n ? -numerator : numerator
  const quotient = magnitude / denominator
  const twice = (magnitude % denominator) * 2n
  const up = roundsUp(rounding, twice, denominator, quotient)
  const rounded = up ? quotient + 1n : quotient
  return numerator < 0n ? -rounded : rounded
}

function roundsUp(rounding: Rounding, twice: bigint, denominator: bigint, quotient: bigint): boolean {
  switch (rounding) {
    case 'down':
      return false
    case 'half_up':
      return twice >= denominator
    case 'half_even':
      return twice > denominator || (twice === denominator && quotient % 2n === 1n)
  }
}
