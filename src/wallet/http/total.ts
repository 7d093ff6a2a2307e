import { placesOf } from '../../core/money.ts'

const TOTAL = /^(-?)([0-9]+)(?:\.([0-9]+))?$/
const LONGEST = 200

/**
 * Reads a balance, in the smallest unit: many amounts add up to more digits than one may have, and the fee account's may be
 * below zero. Null: it is none, or has places that the asset has not.
 */
export function readTotal(text: unknown, scale: number): bigint | null {
  if (typeof text !== 'string' || text.length > LONGEST) return null
  const match = TOTAL.exec(text)
  if (match === null || placesOf(text) > scale) return null
  const [, sign, whole = '', places = ''] = match
  const units = BigInt(whole + places.slice(0, scale).padEnd(scale, '0'))
  return sign === '-' ? -units : units
}
