import { type Delimiter, splitFields, trimmed } from './fields.ts'

/** How the file names its columns: by a header, or by being the exchange's own dump. `auto` looks. */
export type TradeFileFormat = 'auto' | 'legwork' | 'binance'

/** Where a row holds what; -1: nowhere. */
export interface Columns {
  readonly delimiter: Delimiter
  readonly hasHeader: boolean
  /** A row with fewer fields is cut; fields beyond `most` must be empty. */
  readonly least: number
  readonly most: number
  readonly price: number
  readonly quantity: number
  readonly isBuyerMaker: number
  /** Whether `isBuyerMaker` is the place of the taker's side instead. */
  readonly isTakerSide: boolean
  readonly symbol: number
  readonly id: number
  readonly time: number
}

const PRICE = ['price']
const QUANTITY = ['quantity', 'qty', 'amount', 'size']
const MAKER = ['is_buyer_maker', 'buyer_is_maker']
const SIDE = ['side', 'taker_side']
const SYMBOL = ['symbol', 'pair']
const ID = ['id', 'trade_id']
/** The trade's own time before the time at which somebody was told of it. */
const TIME = [
  'trade_ts_ms',
  'trade_time',
  'executed_at',
  'transact_time',
  'timestamp',
  'time',
  'ts',
  'timestamp_ms',
  'time_ms',
  'ts_ms',
  'event_ts_ms',
]
const KNOWN: ReadonlySet<string> = new Set([PRICE, QUANTITY, MAKER, SIDE, SYMBOL, ID, TIME].flat())
const DELIMITERS: readonly Delimiter[] = [',', ';', '\t']

/**
 * The columns that the first line of a file tells, or what it lacks in words that follow the file's name.
 *
 * A line with the name of a column is a header. Otherwise the file is the exchange's dump (id, price, quantity, quote
 * quantity, time, is_buyer_maker, and sometimes best match), for `auto` only if a field of it starts with a digit.
 */
export function findColumns(firstLine: string, format: TradeFileFormat): Columns | string {
  const header = bestSplit(firstLine, cells => cells.filter(cell => KNOWN.has(cell)).length)
  if (header !== null) return headerColumns(header)
  const dump = bestSplit(firstLine, cells => (cells.some(cell => /^[0-9]/.test(cell)) ? cells.length : 0))
  if (format === 'legwork' || (format === 'auto' && dump === null)) {
    return 'has no header with the columns price and quantity'
  }
  return dumpColumns(dump?.delimiter ?? ',')
}

interface SplitLine {
  readonly delimiter: Delimiter
  readonly cells: readonly string[]
}

/** The split with the highest score, the comma before the others; null when all score 0. */
function bestSplit(line: string, score: (cells: readonly string[]) => number): SplitLine | null {
  let best: SplitLine | null = null
  let highest = 0
  for (const delimiter of DELIMITERS) {
    const fields = splitFields(line, delimiter)
    // A first line with a damaged quote still shows whether it is a header or a row.
    const texts = typeof fields === 'string' ? line.split(delimiter) : fields
    const cells = texts.map(text => trimmed(text).toLowerCase())
    if (score(cells) <= highest) continue
    best = { delimiter, cells }
    highest = score(cells)
  }
  return best
}

function headerColumns({ delimiter, cells }: SplitLine): Columns | string {
  const price = place(cells, PRICE)
  const quantity = place(cells, QUANTITY)
  if (price === -1 || quantity === -1) {
    const missing = price !== -1 ? 'quantity' : quantity !== -1 ? 'price' : 'price, nor quantity'
    return `has a header without a column ${missing}`
  }
  const maker = place(cells, MAKER)
  const count = cells.findLastIndex(cell => cell !== '') + 1
  return {
    delimiter,
    hasHeader: true,
    least: count,
    most: count,
    price,
    quantity,
    isBuyerMaker: maker === -1 ? place(cells, SIDE) : maker,
    isTakerSide: maker === -1,
    symbol: place(cells, SYMBOL),
    id: place(cells, ID),
    time: place(cells, TIME),
  }
}

function place(cells: readonly string[], names: readonly string[]): number {
  const name = names.find(candidate => cells.includes(candidate))
  return name === undefined ? -1 : cells.indexOf(name)
}

function dumpColumns(delimiter: Delimiter): Columns {
  return {
    delimiter,
    hasHeader: false,
    least: 6,
    most: 7,
    price: 1,
    quantity: 2,
    isBuyerMaker: 5,
    isTakerSide: false,
    symbol: -1,
    id: 0,
    time: 4,
  }
}
