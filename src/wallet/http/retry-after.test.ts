import { expect, test } from 'vitest'
import { retryAfterMs } from './retry-after.ts'

const NOW = Date.UTC(2026, 10, 22, 12, 0, 0)

test.each<[string | null, number | null]>([
  [null, null],
  ['0', 0],
  ['7', 7000],
  ['007', 7000],
  ['3600', 3_600_000],
  ['3601', 3_600_000],
  ['99999999999999999999999999', 3_600_000],
  ['-1', null],
  ['+1', null],
  ['1.5', null],
  ['1e3', null],
  ['', null],
  ['soon', null],
  ['1, 2', null],
  ['0x10', null],
  ['Sun, 22 Nov 2026 12:00:30 GMT', 30_000],
  ['Sunday, 22-Nov-26 12:00:30 GMT', 30_000],
  ['Sun Nov 22 12:00:30 2026', 30_000],
  ['Sun, 22 Nov 2026 11:59:30 GMT', 0],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ['Fri, 22 Nov 2999 12:00:00 GMT', 3_600_000],
  ['Sun, 22 Foo 2026 12:00:30 GMT', null],
  ['Sun, 99 Nov 2026 12:00:30 GMT', null],
  ['2026-11-22T12:00:30Z', null],
  ['22 Nov 2026', null],
])('Retry-After: %s is %s', (header, ms) => {
  expect(retryAfterMs(header, NOW)).toBe(ms)
})
