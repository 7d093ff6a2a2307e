import { expect, test } from 'vitest'
import { uuidV7 } from './uuid.ts'

test('ids are of version 7, differ, and sort by their time', () => {
  const ids = Array.from({ length: 100 }, (_, at) => uuidV7(1_700_000_000_000 + at))
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(ids.toSorted()).toEqual(ids)
  expect(ids[0]?.slice(0, 13)).toBe('018bcfe5-6800')
  expect(new Set(Array.from({ length: 1000 }, () => uuidV7(0))).size).toBe(1000)
})
