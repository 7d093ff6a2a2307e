import { expect, test } from 'vitest'
import { parseUuid } from './ids.ts'

test.each([
  ['0192F0AB-0000-7000-8000-000000000001', '0192f0ab-0000-7000-8000-000000000001'],
  ['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000001'],
  ['ffffffff-ffff-ffff-ffff-ffffffffffff', 'ffffffff-ffff-ffff-ffff-ffffffffffff'],
  ['0192f0ab00007000800000000000000001', null],
  ['{0192f0ab-0000-7000-8000-000000000001}', null],
  ['0192f0ab-0000-7000-8000-000000000001\n', null],
  ['0192f0ab-0000-7000-8000-00000000000g', null],
  ['', null],
])('%j is the id %j', (text, id) => {
  expect(parseUuid(text)).toBe(id)
})
