import type { Columns } from './columns.ts'
import { closingQuote, splitFields, trimmed } from './fields.ts'
import { MAX_LINE_BYTES, type PhysicalLine } from './lines.ts'
import { readAmount, readBoolean, readSide, readSymbol, readTime, utf8 } from './values.ts'

/** A trade as the file has it. */
export interface RecordedTrade {
  /** The physical line on which the record starts, from 1; a header and blank lines count. */
  readonly line: number
  /** `BASE/QUOTE`. */
  readonly symbol: string
  /** Above zero, a plain decimal text of at most 38 digits by value. */
  readonly price: string
  /** As `price`. */
  readonly quantity: string
  /** Null: the file does not say. */
  readonly isBuyerMaker: boolean | null
  readonly venueId: string | null
  /** Milliseconds since the epoch. */
  readonly executedAtMs: number | null
}

/** What a record of the file is: a trade, or a line that can't be read, and why in a few words. */
export type FileEvent =
  | { readonly kind: 'trade'; readonly trade: RecordedTrade }
  | { readonly kind: 'rejected'; readonly line: number; readonly reason: string }

/** Some lines of a file, and what is needed to read the record that begins with one of them. */
export interface RecordInput {
  readonly lines: readonly PhysicalLine[]
  readonly from: number
  /** Whether the file ends with these lines. */
  readonly isEnd: boolean
  /** The number of the line `from` in its file, from 1. */
  readonly number: number
  readonly columns: Columns
  /** As `TradeFileOptions` has it. */
  readonly market: string | null
}

/** The first record among some lines: how many of them it takes; no event: the lines end before it is known. */
export interface FirstRecord {
  readonly taken: number
  readonly event: FileEvent | null
}

/** The most physical lines that a record may span by newlines inside quotes. */
export const MAX_RECORD_LINES = 32

/**
 * Reads the record that starts with `lines[from]`.
 *
 * A line that ends inside a quoted field goes on with the next ones, but only if this gives a whole record and swallows
 * none: else the quote is damage, the line is rejected alone, and reading goes on with the next physical line.
 */
export function readRecord({ lines, from, isEnd, number, columns, market }: RecordInput): FirstRecord {
  const first = lines[from] ?? null
  if (first === null) return rejected(number, `the line has more than ${MAX_LINE_BYTES} bytes`)
  if (!first.includes('"')) return { taken: 1, event: readRow(first.split(columns.delimiter), number, columns, market) }

  let record = first
  for (let taken = 1; ; taken += 1) {
    const fields = splitFields(record, columns.delimiter)
    if (typeof fields !== 'string' && (taken === 1 || isWhole(fields, columns))) {
      return { taken, event: readRow(fields, number, columns, market) }
    }
    if (fields !== 'open_quote') {
      return rejected(number, taken === 1 ? 'a quote stands inside a field' : 'a quote is not closed')
    }
    const next = lines[from + taken]
    if (next === undefined && !isEnd && taken < MAX_RECORD_LINES) return { taken: 0, event: null }
    if (!canGoOn(record, next, taken, columns)) return rejected(number, 'a quote is not closed')
    record = `${record}\n${next}`
  }
}

function rejected(line: number, reason: string): FirstRecord {
  return { taken: 1, event: { kind: 'rejected', line, reason } }
}

/** Whether a record that ends inside quotes may go on with a line: within bounds, and swallowing no record. */
function canGoOn(record: string, next: PhysicalLine | undefined, taken: number, columns: Columns): next is string {
  if (next === undefined || next === null || taken >= MAX_RECORD_LINES) return false
  if (record.length + 1 + next.length > MAX_LINE_BYTES) return false
  const close = closingQuote(next, 0)
  const swallowed = (close === -1 ? next : next.slice(0, close)).split(columns.delimiter)
  // Two damaged lines could otherwise close each other's quotes, and the trades between would be lost unreported.
  return ![columns.price, columns.quantity].every(place => 'value' in readAmount(fieldAt(swallowed, place)))
}

/** Whether the fields of several lines are one record: as many as there are columns, with newlines only in unread ones. */
function isWhole(fields: readonly string[], columns: Columns): boolean {
  const { price, quantity, isBuyerMaker, symbol, id, time } = columns
  const isPlain = [price, quantity, isBuyerMaker, symbol, id, time].every(place => !fields[place]?.includes('\n'))
  return isPlain && countFault(fields, columns) === null
}

function countFault(fields: readonly string[], columns: Columns): string | null {
  if (fields.length < columns.least) return `cut: ${fields.length} of ${columns.least} fields`
  if (fields.length <= columns.most || fields.every((field, at) => at < columns.most || trimmed(field) === ''))
    return null
  // More fields than columns shift the values: `1,000.5` without quotes would be a price of 1.
  return `${fields.length} fields, but ${columns.most} columns`
}

function readRow(fields: readonly string[], line: number, columns: Columns, market: string | null): FileEvent {
  const wrongCount = countFault(fields, columns)
  if (wrongCount !== null) return { kind: 'rejected', line, reason: wrongCount }
  const price = readAmount(fieldAt(fields, columns.price))
  if ('fault' in price) return faulty(line, 'price', price)
  const quantity = readAmount(fieldAt(fields, columns.quantity))
  if ('fault' in quantity) return faulty(line, 'quantity', quantity)
  const makerText = fieldAt(fields, columns.isBuyerMaker)
  const isBuyerMaker = columns.isTakerSide ? readSide(makerText) : readBoolean(makerText)
  if ('fault' in isBuyerMaker) return faulty(line, columns.isTakerSide ? 'side' : 'is_buyer_maker', isBuyerMaker)
  const time = readTime(fieldAt(fields, columns.time))
  if ('fault' in time) return faulty(line, 'time', time)
  const symbol = readSymbol(fieldAt(fields, columns.symbol), market)
  if ('fault' in symbol) return faulty(line, 'unknown symbol', symbol)
  const id = fieldAt(fields, columns.id)
  return {
    kind: 'trade',
    trade: {
      line,
      symbol: symbol.value,
      price: price.value,
      quantity: quantity.value,
      isBuyerMaker: isBuyerMaker.value,
      venueId: id === '' ? null : utf8(id),
      executedAtMs: time.value,
    },
  }
}

function fieldAt(fields: readonly string[], place: number): string {
  return trimmed(fields[place] ?? '')
}

function faulty(line: number, name: string, reading: { readonly fault: string }): FileEvent {
  return { kind: 'rejected', line, reason: `${name} ${reading.fault}` }
}
