import { splitSymbol } from '../core/market.ts'
import { MAX_DIGITS, parseDecimal, placesOf } from '../core/money.ts'

/** The value of a field, or what is wrong with it in words that follow the field's name. */
export type Reading<Value> = { readonly value: Value } | { readonly fault: string }

const PLAIN_NUMBER = /^[0-9]+(?:\.[0-9]+)?$/
const NUMBER = /^([+-]?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)([0-9]+))?$/
const QUOTED_CHARACTERS = 40

/**
 * Reads a number above zero as a plain decimal text: as it stands, or with its exponent (two digits at most) carried
 * out exactly: `"1.5e-3"` → `"0.0015"`. At most 38 digits by value; places are the market's to judge.
 */
export function readAmount(text: string): Reading<string> {
  // Nearly all numbers are short, plain and above zero; only the others pay for saying what they are.
  if (text.length <= MAX_DIGITS && PLAIN_NUMBER.test(text) && /[1-9]/.test(text)) return { value: text }
  if (text === '') return { fault: 'is missing' }
  const match = NUMBER.exec(text)
  const [, sign = '', whole = '', places = '', exponentSign = '', exponent = ''] = match ?? []
  if (match === null || sign === '+') return { fault: `${quoted(text)} is not a number` }
  if (sign === '-' || !/[1-9]/.test(whole + places)) return { fault: `${quoted(text)} is not above zero` }
  if (exponent.length > 2) return { fault: `${quoted(text)} has an exponent of more than two digits` }
  const plain = exponent === '' ? text : shifted(whole, places, Number(exponentSign + exponent))
  const digits = parseDecimal(plain, placesOf(plain))
  return typeof digits === 'bigint' ? { value: plain } : { fault: `${quoted(text)} has more than ${MAX_DIGITS} digits` }
}

/** whole.places × 10^exponent as a plain decimal text without superfluous zeros; the number is above zero. */
function shifted(whole: string, places: string, exponent: number): string {
  const digits = whole + places
  const point = whole.length + exponent
  const left = digits.slice(0, Math.max(point, 0)).padEnd(point, '0').replace(/^0+/, '')
  const right = ('0'.repeat(Math.max(-point, 0)) + digits.slice(Math.max(point, 0))).replace(/0+$/, '')
  return right === '' ? left : `${left === '' ? '0' : left}.${right}`
}

const YES: ReadonlySet<string> = new Set(['true', 't', '1'])
const NO: ReadonlySet<string> = new Set(['false', 'f', '0'])

/** Reads whether the buyer is the maker; null when the field is empty. */
export function readBoolean(text: string): Reading<boolean | null> {
  if (text === '') return { value: null }
  const word = text.toLowerCase()
  if (YES.has(word)) return { value: true }
  return NO.has(word) ? { value: false } : { fault: `${quoted(text)} is neither true nor false` }
}

/** Reads the taker's side as whether the buyer is the maker: it is when the taker sells. Null when the field is empty. */
export function readSide(text: string): Reading<boolean | null> {
  switch (text.toLowerCase()) {
    case '':
      return { value: null }
    case 'sell':
    case 's':
      return { value: true }
    case 'buy':
    case 'b':
      return { value: false }
    default:
      return { fault: `${quoted(text)} is neither buy nor sell` }
  }
}

const SINCE_1970 = /^0*([0-9]{1,20})(?:\.[0-9]+)?$/
const RFC_3339 =
  /^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$/

/**
 * Reads a time as whole milliseconds since the epoch, finer digits dropped; null when the field is empty. RFC 3339,
 * or seconds (up to 11 digits: until the year 5138), milliseconds (14), microseconds (17) or nanoseconds (20).
 */
export function readTime(text: string): Reading<number | null> {
  if (text === '') return { value: null }
  const time = text.includes('-') ? rfc3339Ms(text) : since1970Ms(text)
  if (time !== null) return { value: time }
  return { fault: `${quoted(text)} is neither an RFC 3339 time nor seconds, ms, us or ns since 1970` }
}

function since1970Ms(text: string): number | null {
  const [, digits] = SINCE_1970.exec(text) ?? []
  if (digits === undefined) return null
  // Cut as text, since nanoseconds do not fit a number exactly.
  if (digits.length <= 11) return Number(digits) * 1000 + millisOf(text.slice(text.indexOf('.')))
  if (digits.length <= 14) return Number(digits)
  return Number(digits.slice(0, digits.length <= 17 ? -3 : -6))
}

function rfc3339Ms(text: string): number | null {
  const [, date, clock, fraction = '', zone] = RFC_3339.exec(text) ?? []
  if (date === undefined || clock === undefined || zone === undefined) return null
  const day = Date.parse(`${date}T00:00:00Z`)
  const second = Date.parse(`${date}T${clock}${zone.toUpperCase()}`)
  // The engine takes 30 February as 2 March, and 24:00 as the next day.
  if (Number.isNaN(second) || clock.startsWith('24') || new Date(day).toISOString().slice(0, 10) !== date) return null
  return second + millisOf(fraction)
}

/** `".1239"` → 123; anything that is no fraction → 0. */
function millisOf(fraction: string): number {
  return fraction.startsWith('.') ? Number(fraction.slice(1, 4).padEnd(3, '0')) : 0
}

/**
 * Reads `BTC/USDT`, `BTC-USDT` or `BTC_USDT`, any case, as the symbol `BTC/USDT`. With a market given, every row must
 * be of it; then `BTCUSDT` is known too, and an empty field means that market.
 */
export function readSymbol(text: string, market: string | null): Reading<string> {
  const name = text.toUpperCase().replace(/[-_]/, '/')
  if (market !== null) {
    if (name === '' || name === market || name === market.replace('/', '')) return { value: market }
    return { fault: `${quoted(text)}: the market is ${market}` }
  }
  if (name === '') return { fault: 'is missing' }
  return splitSymbol(name) === null ? { fault: `${quoted(text)} is not BASE/QUOTE` } : { value: name }
}

/** A text of the file for a message: in quotes, on one line, at most 40 characters, control characters escaped. */
export function quoted(text: string): string {
  const whole = utf8(text.slice(0, 4 * QUOTED_CHARACTERS))
  const start = Array.from(whole).slice(0, QUOTED_CHARACTERS).join('')
  const shown = start.replace(/[\p{C}\p{Zl}\p{Zp}"\\]/gu, escaped)
  return start.length < utf8(text).length ? `"${shown}…"` : `"${shown}"`
}

function escaped(character: string): string {
  if (character === '"' || character === '\\') return `\\${character}`
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`
}

/** The UTF-8 text whose bytes a Latin-1 text holds one per character. */
export function utf8(bytes: string): string {
  return /^[\x20-\x7e]*$/.test(bytes) ? bytes : Buffer.from(bytes, 'latin1').toString('utf8')
}
