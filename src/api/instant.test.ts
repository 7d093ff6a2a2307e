import { expect, test } from 'vitest'
import { parseInstant } from './instant.ts'

test('reads RFC 3339 in any zone, to the millisecond', () => {
  const noon = Date.UTC(2026, 10, 22, 12)
  for (const text of [
    '2026-11-22T12:00:00Z',
    '2026-11-22t12:00:00z',
    '2026-11-22T14:00:00+02:00',
    '2026-11-22T00:30:00-11:30',
  ]) {
    expect(parseInstant(text), text).toBe(noon)
  }
  expect(parseInstant('2026-11-22T12:00:00.1Z')).toBe(noon + 100)
  expect(parseInstant('2026-11-22T12:00:00.1239999Z')).toBe(noon + 123)
  expect(parseInstant('1970-01-01T00:00:00Z')).toBe(0)
  expect(parseInstant('9999-12-31T23:59:59.999Z')).toBe(Date.UTC(10_000, 0) - 1)
  expect(parseInstant('2024-02-29T00:00:00Z')).toBe(Date.UTC(2024, 1, 29))
})

test('refuses what is no time, or one no database should have to hold', () => {
  for (const text of [
    '',
    'now',
    '2026-11-22',
    '2026-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:00:60Z',
    '2026-01-01T00:00:00',
    '2026-01-01T00:00:00.Z',
    '1969-12-31T23:59:59Z',
    '9999-12-31T23:59:59-01:00',
    '+12026-01-01T00:00:00Z',
  ]) {
    expect(parseInstant(text), text).toBeNull()
  }
})
