import { expect, test } from 'vitest'
import { uuidAfter, uuidV7 } from './uuid.ts'

test('ids are of version 7, differ, and sort by their time', () => {
  const ids = Array.from({ length: 100 }, (_, at) => uuidV7(1_700_000_000_000 + at))
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(ids.toSorted()).toEqual(ids)
  expect(ids[0]?.slice(0, 13)).toBe('018bcfe5-6800')
  expect(new Set(Array.from({ length: 1000 }, () => uuidV7(0))).size).toBe(1000)
})

test('ids are counted on from one', () => {
  expect(uuidAfter('018bcfe5-6800-7000-8000-0000000000ff', 1)).toBe('018bcfe5-6800-7000-8000-000000000100')
  expect(uuidAfter('018bcfe5-6800-7000-8000-fffffffff000', 0xfff)).toBe('018bcfe5-6800-7000-8000-ffffffffffff')
  expect(() => uuidAfter('018bcfe5-6800-7000-8000-fffffffff000', 0x1000)).toThrow(RangeError)
})
