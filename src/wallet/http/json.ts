import { parseDecimal } from '../../core/money.ts'

/** A JSON object as it came, nothing of it checked. */
export type Json = Readonly<Record<string, unknown>>

/** The object, or null where the value is none. */
export function objectOf(value: unknown): Json | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null
}

/** The object a text holds; null where it holds anything else. */
export function parseObject(text: string): Json | null {
  try {
    return objectOf(JSON.parse(text))
  } catch {
    return null
  }
}

/** An amount in the smallest unit; null where the value is none. */
export function unitsOf(text: unknown, scale: number): bigint | null {
  const units = typeof text === 'string' ? parseDecimal(text, scale) : null
  return typeof units === 'bigint' ? units : null
}
