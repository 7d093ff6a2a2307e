import { Decimal } from 'decimal.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { quoted, readAmount, readBoolean, readSide, readSymbol, readTime, utf8 } from './values.ts'

const Exact = Decimal.clone({ precision: 400, toExpNeg: -9e15, toExpPos: 9e15 })
const nines = '9'.repeat(38)

describe('readAmount', () => {
  test.each([
    ['28165.47000000', '28165.47000000'],
    ['0.00056', '0.00056'],
    ['007', '007'],
    ['1.5e-3', '0.0015'],
    ['2E+10', '20000000000'],
    ['1.50e1', '15'],
    ['1.2345e2', '123.45'],
    ['0.05e1', '0.5'],
    ['0.05e2', '5'],
    ['12e0', '12'],
    ['1e-38', `0.${'0'.repeat(37)}1`],
    ['1e37', `1${'0'.repeat(37)}`],
    [nines, nines],
    [`000${nines}`, `000${nines}`],
    [`1.${'0'.repeat(60)}`, `1.${'0'.repeat(60)}`],
  ])('reads %s', (text, value) => {
    expect(readAmount(text)).toEqual({ value })
  })

  test.each([
    ['', 'is missing'],
    ['abc', '"abc" is not a number'],
    ['1_000', '"1_000" is not a number'],
    ['1,000', '"1,000" is not a number'],
    ['0x10', '"0x10" is not a number'],
    ['NaN', '"NaN" is not a number'],
    ['Infinity', '"Infinity" is not a number'],
    ['.5', '".5" is not a number'],
    ['5.', '"5." is not a number'],
    ['+5', '"+5" is not a number'],
    ['1e', '"1e" is not a number'],
    ['1 5', '"1 5" is not a number'],
    ['-1.5', '"-1.5" is not above zero'],
    ['0', '"0" is not above zero'],
    ['0.000', '"0.000" is not above zero'],
    ['0e5', '"0e5" is not above zero'],
    ['1e500', '"1e500" has an exponent of more than two digits'],
    ['1e-005', '"1e-005" has an exponent of more than two digits'],
    ['1e38', '"1e38" has more than 38 digits'],
    ['1e-39', '"1e-39" has more than 38 digits'],
    ['1e99', '"1e99" has more than 38 digits'],
    [`${nines}.1`, `"${nines}.1" has more than 38 digits`],
  ])('refuses %j', (text, fault) => {
    expect(readAmount(text)).toEqual({ fault })
  })

  test('keeps the value of any number with an exponent, to the last digit', () => {
    const digits = fc.stringMatching(/^[0-9]{1,12}$/)
    fc.assert(
      fc.property(
        digits,
        fc.option(digits),
        fc.integer({ min: -20, max: 20 }),
        fc.boolean(),
        (whole, places, exponent, plus) => {
          const text = `${whole}${places === null ? '' : `.${places}`}e${plus && exponent >= 0 ? '+' : ''}${exponent}`
          const exact = new Exact(text)
          const reading = readAmount(text)
          if (exact.isZero()) expect(reading).toEqual({ fault: `"${text}" is not above zero` })
          else if ('value' in reading) {
            expect(reading.value).toMatch(/^(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$/)
            expect(new Exact(reading.value).eq(exact)).toBe(true)
          } else expect(exact.toFixed().replace(/^0+|\./g, '').length).toBeGreaterThan(38)
        },
      ),
      { numRuns: 1000 },
    )
  })
})

test('booleans in every spelling say whether the buyer is the maker', () => {
  for (const text of ['true', 'True', 'TRUE', 't', '1']) expect(readBoolean(text)).toEqual({ value: true })
  for (const text of ['false', 'FALSE', 'F', '0']) expect(readBoolean(text)).toEqual({ value: false })
  expect(readBoolean('')).toEqual({ value: null })
  expect(readBoolean('yes')).toEqual({ fault: '"yes" is neither true nor false' })
})

test('the buyer is the maker when the taker sells', () => {
  for (const text of ['sell', 'SELL', 's']) expect(readSide(text)).toEqual({ value: true })
  for (const text of ['buy', 'Buy', 'B']) expect(readSide(text)).toEqual({ value: false })
  expect(readSide('')).toEqual({ value: null })
  expect(readSide('true')).toEqual({ fault: '"true" is neither buy nor sell' })
})

describe('readTime', () => {
  test.each([
    ['1680652799', 1680652799000],
    ['1680652799.9879', 1680652799987],
    ['1680652799.5', 1680652799500],
    ['1680652799999', 1680652799999],
    ['1680652799999.7', 1680652799999],
    ['1680652799999123', 1680652799999],
    ['1680652799999123456', 1680652799999],
    ['0', 0],
    ['2023-04-04T23:59:59.999Z', 1680652799999],
    ['2023-04-04T23:59:59Z', 1680652799000],
    ['2023-04-05 01:59:59.9999999+02:00', 1680652799999],
    ['2023-04-04t18:29:59.999-05:30', 1680652799999],
    ['2024-02-29T00:00:00Z', 1709164800000],
  ])('reads %s', (text, value) => {
    expect(readTime(text)).toEqual({ value })
  })

  test.each([
    'yesterday',
    '-1',
    '1e9',
    '2023-04-04',
    '2023-04-04T23:59:59',
    '2023-02-30T00:00:00Z',
    '2023-13-01T00:00:00Z',
    '2023-01-01T24:00:00Z',
    '2023-01-01T23:61:00Z',
    '1'.repeat(21),
  ])('refuses %s', text => {
    expect(readTime(text)).toEqual({ fault: expect.stringContaining('is neither an RFC 3339 time nor') })
  })

  test('reads every instant the same from text and from integers of any unit', () => {
    const instant = fc.date({ min: new Date('1974-01-01'), max: new Date('2500-01-01'), noInvalidDate: true })
    fc.assert(
      fc.property(instant, date => {
        const ms = date.getTime()
        for (const text of [date.toISOString(), `${ms}`, `${ms}999`, `${ms}999999`]) {
          expect(readTime(text)).toEqual({ value: ms })
        }
        expect(readTime(`${Math.floor(ms / 1000)}`)).toEqual({ value: Math.floor(ms / 1000) * 1000 })
      }),
    )
  })

  test('an empty time is none', () => {
    expect(readTime('')).toEqual({ value: null })
  })
})

describe('readSymbol', () => {
  test('takes the usual spellings', () => {
    for (const text of ['BTC/USDT', 'BTC-USDT', 'BTC_USDT', 'btc-usdt']) {
      expect(readSymbol(text, null)).toEqual({ value: 'BTC/USDT' })
      expect(readSymbol(text, 'BTC/USDT')).toEqual({ value: 'BTC/USDT' })
    }
  })

  test('takes the run-together one, and an empty field, only with a market', () => {
    expect(readSymbol('BTCUSDT', 'BTC/USDT')).toEqual({ value: 'BTC/USDT' })
    expect(readSymbol('', 'BTC/USDT')).toEqual({ value: 'BTC/USDT' })
    expect(readSymbol('BTCUSDT', null)).toEqual({ fault: '"BTCUSDT" is not BASE/QUOTE' })
    expect(readSymbol('', null)).toEqual({ fault: 'is missing' })
  })

  test('refuses what is of another market or none', () => {
    expect(readSymbol('ETH/USDT', 'BTC/USDT')).toEqual({ fault: '"ETH/USDT": the market is BTC/USDT' })
    for (const text of ['BTC/BTC', 'A/B/C', '/USDT', 'BTC/US DT']) {
      expect(readSymbol(text, null)).toEqual({ fault: `"${text}" is not BASE/QUOTE` })
    }
  })
})

describe('quoted', () => {
  test('bounds a text and escapes what would garble a terminal', () => {
    expect(quoted('a"b\\')).toBe('"a\\"b\\\\"')
    expect(quoted('\x1b[31m\0\n')).toBe('"\\u{1b}[31m\\u{0}\\u{a}"')
    expect(quoted('x'.repeat(1000))).toBe(`"${'x'.repeat(40)}…"`)
    expect(quoted('x'.repeat(40))).toBe(`"${'x'.repeat(40)}"`)
  })

  test('shows UTF-8', () => {
    const bytes = Buffer.from('preço €').toString('latin1')
    expect(utf8(bytes)).toBe('preço €')
    expect(quoted(bytes)).toBe('"preço €"')
  })
})
