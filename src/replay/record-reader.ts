import { type Columns, findColumns, type TradeFileFormat } from './columns.ts'
import { trimmed } from './fields.ts'
import type { PhysicalLine } from './lines.ts'
import { type FileEvent, readRecord } from './rows.ts'
import { TradeFileError } from './trade-file-error.ts'

/** Which file to read and how. */
export interface TradeFileOptions {
  readonly path: string
  readonly format: TradeFileFormat
  /** `BASE/QUOTE`, for rows that do not name a symbol; those that name another one are rejected. */
  readonly market: string | null
}

/** Makes events of the lines of one file, handed in from its first to its last. */
export interface RecordReader {
  /** The events of the records that these lines complete; at the end also of what was waiting for more. */
  readonly take: (lines: readonly PhysicalLine[], isEnd: boolean) => readonly FileEvent[]
  /** How many physical lines the events so far come from, blank ones and the header included. */
  readonly linesTaken: () => number
  /** Whether there was any record, good or bad. */
  readonly hasRecords: () => boolean
}

/**
 * Makes a reader, which numbers the lines, finds the columns in the first that is not blank, and reads the others as
 * records. It throws `TradeFileError` with `COLUMNS_MISSING` or `MARKET_NEEDED` when it has seen that line.
 */
export function createRecordReader(options: TradeFileOptions): RecordReader {
  let columns: Columns | null = null
  let waiting: readonly PhysicalLine[] = []
  let linesTaken = 0
  let hasRecords = false

  /** Takes a line that is no record; null when the line is one. */
  const takeOther = (line: PhysicalLine): 'blank' | 'header' | null => {
    if (line !== null && trimmed(line) === '') return 'blank'
    if (columns !== null) return null
    columns = columnsOf(line, options)
    return columns.hasHeader ? 'header' : null
  }

  const take = (more: readonly PhysicalLine[], isEnd: boolean): readonly FileEvent[] => {
    const isStart = linesTaken === 0 && waiting.length === 0
    const lines = isStart ? withoutByteOrderMark(more) : waiting.length === 0 ? more : [...waiting, ...more]
    const events: FileEvent[] = []
    let at = 0
    while (at < lines.length) {
      const other = takeOther(lines[at] ?? null)
      if (other === null && columns !== null) {
        const { taken, event } = readRecord({
          lines,
          from: at,
          isEnd,
          number: linesTaken + 1,
          columns,
          market: options.market,
        })
        if (event === null) break
        events.push(event)
        hasRecords = true
        at += taken
        linesTaken += taken
      } else {
        at += 1
        linesTaken += 1
      }
    }
    waiting = at === lines.length ? [] : lines.slice(at)
    return events
  }

  return { take, linesTaken: () => linesTaken, hasRecords: () => hasRecords }
}

/** The bytes of U+FEFF, which some programs put before a text, as the splitter gives them. */
const BYTE_ORDER_MARK = '\xef\xbb\xbf'

function withoutByteOrderMark([first, ...others]: readonly PhysicalLine[]): readonly PhysicalLine[] {
  if (first === undefined) return []
  return [first?.startsWith(BYTE_ORDER_MARK) ? first.slice(BYTE_ORDER_MARK.length) : first, ...others]
}

function columnsOf(firstLine: PhysicalLine, { path, format, market }: TradeFileOptions): Columns {
  // A line that is too long to keep is none of a header; as a row of a dump it costs only itself.
  const columns = findColumns(firstLine ?? '', format)
  if (typeof columns === 'string') throw new TradeFileError('COLUMNS_MISSING', path, `${path} ${columns}.`)
  if (columns.symbol === -1 && market === null) {
    const message = `${path} has no column symbol: name its market with --market, such as --market BTC/USDT.`
    throw new TradeFileError('MARKET_NEEDED', path, message)
  }
  return columns
}
