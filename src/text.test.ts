import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodingOf } from './text.ts'

test('whatever the text, its bytes are those of UTF-8', () => {
  const texts = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary-ascii' }))
  fc.assert(fc.property(texts, text => Buffer.from(text, encodingOf(text)).equals(Buffer.from(text, 'utf8'))))
})

test('only ASCII is copied', () => {
  expect(['', 'a~', 'é', '\u0080', '€', '😀'].map(encodingOf)).toEqual([
    'latin1',
    'latin1',
    'utf8',
    'utf8',
    'utf8',
    'utf8',
  ])
})
