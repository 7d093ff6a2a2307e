import { describe, expect, test } from 'vitest'
import { nearest } from './nearest.ts'

describe('nearest', () => {
  test.each([
    ['prot', 'port'],
    ['ports', 'port'],
    ['pot', 'port'],
    ['most', 'host'],
    ['timeoutMs', 'timeout_ms'],
    ['TIMEOUT-MS', 'timeout_ms'],
    ['', 'host'],
  ])('%j is nearest to %s', (name, expected) => {
    expect(nearest(name, ['host', 'port', 'timeout_ms'])).toBe(expected)
  })

  test('a name without end is compared by its beginning, in no time', () => {
    expect(nearest('x'.repeat(10_000_000), ['y'.repeat(64), 'x'.repeat(64)])).toBe('x'.repeat(64))
  })

  test('a swap of neighbours is one edit, so that it beats two replacements', () => {
    expect(nearest('abcd', ['axxd', 'acbd'])).toBe('acbd')
  })

  test('the first of equals is taken, and the answer is the candidate and not its name', () => {
    const last = (path: string) => path.slice(path.lastIndexOf('.') + 1)
    expect(nearest('urls', ['database.url', 'wallet.url'], last)).toBe('database.url')
  })
})
