import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { closingQuote, splitFields, trimmed } from './fields.ts'

describe('splitFields', () => {
  test.each([
    ['1,2,3', ['1', '2', '3']],
    ['', ['']],
    [',', ['', '']],
    [' 1 , 2\t,3\r', ['1', '2', '3']],
    ['"1","2"', ['1', '2']],
    ['"1" , "2"\r', ['1', '2']],
    ['"a ""b"", c",2', ['a "b", c', '2']],
    ['"a\nb",2', ['a\nb', '2']],
    ['"",""', ['', '']],
  ])('takes %j apart', (record, fields) => {
    expect(splitFields(record, ',')).toEqual(fields)
  })

  test.each([
    ['1,"2', 'open_quote'],
    ['1,"', 'open_quote'],
    ['1,"2""', 'open_quote'],
    ['1,"2"3', 'stray_quote'],
    ['1,2"', 'stray_quote'],
    ['1,2"3,4', 'stray_quote'],
  ])('refuses %j: %s', (record, fault) => {
    expect(splitFields(record, ',')).toBe(fault)
  })

  test('takes other delimiters, and then leaves commas alone', () => {
    expect(splitFields('1;2,5;3', ';')).toEqual(['1', '2,5', '3'])
    expect(splitFields('1\t"2"\t\t3', '\t')).toEqual(['1', '2', '', '3'])
  })

  test('gives back any fields that were written with quotes', () => {
    const field = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', ' ', ';') })
    fc.assert(
      fc.property(fc.array(field, { minLength: 1 }), fc.boolean(), (fields, spaces) => {
        const written = fields.map(text => `"${text.replaceAll('"', '""')}"`).join(spaces ? ' , ' : ',')
        expect(splitFields(written, ',')).toEqual(fields.map(trimmed))
      }),
    )
  })

  test('splits a line without quotes as split does', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('1', '.', ',', ' ', '\r', 'é', '-') }), line => {
        expect(splitFields(line, ',')).toEqual(line.split(',').map(trimmed))
      }),
    )
  })
})

test('closingQuote passes over doubled quotes', () => {
  expect(closingQuote('a""b"c', 0)).toBe(4)
  expect(closingQuote('a""', 0)).toBe(-1)
})

test('trimmed keeps the bytes of UTF-8 characters', () => {
  const bytes = Buffer.from(' à ').toString('latin1')
  expect(Buffer.from(trimmed(bytes), 'latin1').toString()).toBe('à')
})
