import { Decimal } from 'decimal.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  divideRounded,
  formatDecimal,
  hasTooManyDigits,
  parseDecimal,
  parseStored,
  placesOf,
  type Rounding,
} from './money.ts'

const Exact = Decimal.clone({ precision: 200, toExpNeg: -200, toExpPos: 200 })

describe('S-2 amounts are exact', () => {
  test.each([
    ['0', 8, 0n],
    ['1', 0, 1n],
    ['28165.47000000', 8, 2816547000000n],
    ['28165.4700', 2, 2816547n],
    ['0.00000001', 8, 1n],
    ['-0.5', 1, -5n],
    ['007', 0, 7n],
    ['99999999999999999999999999999999999999', 0, 10n ** 38n - 1n],
  ])('reads %s at scale %i', (text, scale, units) => {
    expect(parseDecimal(text, scale)).toBe(units)
  })

  test.each([
    ['', 'not_a_number'],
    ['.5', 'not_a_number'],
    ['5.', 'not_a_number'],
    ['1e3', 'not_a_number'],
    ['+1', 'not_a_number'],
    [' 1', 'not_a_number'],
    ['1_000', 'not_a_number'],
    ['0x10', 'not_a_number'],
    ['NaN', 'not_a_number'],
    ['１', 'not_a_number'],
    ['0.123456789', 'too_many_places'],
    ['1'.repeat(39), 'too_many_digits'],
    ['0'.repeat(101), 'too_many_digits'],
  ])('says why %s is no amount', (text, fault) => {
    expect(parseDecimal(text, 8)).toBe(fault)
  })

  test('any text reads as the number it is, or as none', () => {
    const digits = fc.stringMatching(/^[0-9]{1,25}$/)
    fc.assert(
      fc.property(
        fc.boolean(),
        digits,
        fc.option(digits),
        fc.integer({ min: 0, max: 30 }),
        (isBelow, whole, places, scale) => {
          const text = `${isBelow ? '-' : ''}${whole}${places === null ? '' : `.${places}`}`
          const exact = new Exact(text)
          const read = parseDecimal(text, scale)
          expect(placesOf(text)).toBe(exact.decimalPlaces())
          if (typeof read === 'bigint') expect(exact.mul(new Exact(10).pow(scale)).eq(read.toString())).toBe(true)
          else if (read === 'too_many_places') expect(exact.decimalPlaces()).toBeGreaterThan(scale)
          else expect([read, whole.length + (places?.length ?? 0) > 38]).toEqual(['too_many_digits', true])
        },
      ),
    )
  })

  test('what was stored is read as it is; what does not fit is damage, and is said', () => {
    expect(parseStored('28165.47', 8)).toBe(2816547000000n)
    expect(() => parseStored('0.001', 2)).toThrow('stored amount 0.001 does not fit 2 places: too_many_places')
  })

  test('what is written reads as the same number, and is canonical', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }),
        fc.integer({ min: 0, max: 18 }),
        (units, scale) => {
          const text = formatDecimal(units, scale)
          expect(parseDecimal(text, scale)).toBe(units)
          expect(text).toBe(new Exact(units.toString()).div(new Exact(10).pow(scale)).toFixed())
        },
      ),
    )
  })

  test.each([
    ['1', 0],
    ['1.50', 1],
    ['0.01', 2],
    ['10.000', 0],
  ])('%s has %i places by value', (text, places) => {
    expect(placesOf(text)).toBe(places)
  })
})

describe('division names its rounding', () => {
  const MODES: Readonly<Record<Rounding, Decimal.Rounding>> = {
    half_even: Decimal.ROUND_HALF_EVEN,
    half_up: Decimal.ROUND_HALF_UP,
    down: Decimal.ROUND_DOWN,
  }

  test.each(['half_even', 'half_up', 'down'] as const)('%s agrees with decimal arithmetic', rounding => {
    const numerator = fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n })
    fc.assert(
      fc.property(numerator, fc.bigInt({ min: 1n, max: 10n ** 12n }), (a, b) => {
        const expected = new Exact(a.toString()).div(b.toString()).toDecimalPlaces(0, MODES[rounding])
        expect(divideRounded(a, b, rounding)).toBe(BigInt(expected.toFixed(0)))
      }),
    )
  })

  test.each([
    [5n, 'half_even', 0n],
    [15n, 'half_even', 2n],
    [5n, 'half_up', 1n],
    [-5n, 'half_up', -1n],
    [-25n, 'half_even', -2n],
    [19n, 'down', 1n],
    [-19n, 'down', -1n],
  ] as const)('%s tenths, %s, are %s', (tenths, rounding, whole) => {
    expect(divideRounded(tenths, 10n, rounding)).toBe(whole)
  })
})

test.each<[string, bigint, number, boolean]>([
  ['38 digits without places', 10n ** 38n - 1n, 0, false],
  ['39 digits', 10n ** 38n, 0, true],
  ['38 digits of whole coins', (10n ** 38n - 1n) * 10n ** 8n, 8, false],
  ['one unit more than that', (10n ** 38n - 1n) * 10n ** 8n + 1n, 8, true],
  ['10^30 coins and a unit', 10n ** 38n + 1n, 8, true],
  ['10^30 coins', 10n ** 38n, 8, false],
  ['zero', 0n, 18, false],
  ['the same below zero', -(10n ** 38n), 0, true],
])('digits are counted by value: %s', (_, units, scale, isTooMany) => {
  expect(hasTooManyDigits(units, scale)).toBe(isTooMany)
  expect(typeof parseDecimal(formatDecimal(units, scale), scale) === 'bigint').toBe(!isTooMany)
})

test('what was stored is read back however many digits a sum has, and a text that does not fit throws', () => {
  expect(parseStored(`${'9'.repeat(45)}.5`, 1)).toBe(BigInt(`${'9'.repeat(45)}5`))
  expect(() => parseStored('1.25', 1)).toThrow('does not fit 1 places')
})
