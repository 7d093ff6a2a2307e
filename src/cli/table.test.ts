import { expect, test } from 'vitest'
import { tableOf } from './table.ts'

test('columns are as wide as their widest cell, and lines end without spaces', () => {
  expect(
    tableOf([
      ['a', 'bbb', 'c'],
      ['aaaa', 'b', ''],
      ['aa', 'bb'],
    ]),
  ).toBe('a     bbb  c\naaaa  b\naa    bb\n')
  expect(tableOf([])).toBe('')
})

test('what would steer a terminal is not written to it', () => {
  expect(tableOf([['\u001b[31mred\r\n', 'x']])).toBe('?[31mred??  x\n')
})
