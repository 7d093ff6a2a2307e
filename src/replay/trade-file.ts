/**
 * A file of recorded trades of a real market, as `legwork replay` takes it (http-api.md, "Command line").
 *
 * bytes.ts unpacks the file, lines.ts cuts it into physical lines, columns.ts reads its header,
 * record-reader.ts numbers the lines, rows.ts makes a trade or
 * a rejection of each record, values.ts reads the fields. A fault costs its own line and no other.
 */
import { createHash } from 'node:crypto'
import { placesOf } from '../core/money.ts'
import { readEvents } from './events.ts'
import type { TradeFileOptions } from './record-reader.ts'
import type { FileEvent, RecordedTrade } from './rows.ts'
import { TradeFileError } from './trade-file-error.ts'

export type { TradeFileFormat } from './columns.ts'
export type { TradeFileOptions } from './record-reader.ts'
export type { FileEvent, RecordedTrade } from './rows.ts'
export { TradeFileError, type TradeFileErrorCode } from './trade-file-error.ts'

/** The places of the finest amount there can be (http-api.md, "Common": scales 0 to 18). */
const MAX_PLACES = 18

/**
 * Reads a file of recorded trades in its order, a chunk of events for every 64 KiB of text or less. The memory held does
 * not depend on the file's length; a consumer that stops early closes the file.
 *
 * Throws `TradeFileError`: `FILE_CUT` after everything that could be read, the other codes before the first event.
 */
export function readTradeFile(options: TradeFileOptions): AsyncIterable<readonly FileEvent[]> {
  return readEvents(options, () => {})
}

/** Reads a file as far as its first event, before anything is begun for its sake. Throws what `readTradeFile` throws then. */
export async function checkTradeFile(options: TradeFileOptions): Promise<void> {
  try {
    for await (const _ of readTradeFile(options)) return
  } catch (error) {
    if (!(error instanceof TradeFileError) || error.code !== 'FILE_CUT') throw error
  }
}

/** What the trades of one symbol need of a market. */
export interface SurveyedMarket {
  readonly trades: number
  /** The most places of a price by value (`"1.500"` has one), 0 to 18; texts with more fit no market and do not count. */
  readonly pricePlaces: number
  /** The same of the quantities. */
  readonly quantityPlaces: number
}

/** What has to be known of a file before its first trade is taken. */
export interface TradeFileSurvey {
  /** SHA-256 of the unpacked text, in hex: packed or not, a content has one; of a cut file, what can be unpacked. */
  readonly fingerprint: string
  readonly trades: number
  readonly rejected: number
  /** Whether the file is cut, as `readTradeFile` will say at its end. */
  readonly isCut: boolean
  /** By symbol, in the order of their first trades. */
  readonly markets: ReadonlyMap<string, SurveyedMarket>
}

/**
 * Reads a whole file once, as `readTradeFile` does and with its errors, save that bad lines and a cut are only counted;
 * `onTrade` sees each trade on the way. Throws the signal's reason when that is aborted.
 */
export async function surveyTradeFile(
  options: TradeFileOptions,
  onTrade: (trade: RecordedTrade) => void = () => {},
  signal?: AbortSignal,
): Promise<TradeFileSurvey> {
  const hash = createHash('sha256')
  const markets = new Map<string, { -readonly [Key in keyof SurveyedMarket]: SurveyedMarket[Key] }>()
  let trades = 0
  let rejected = 0
  let isCut = false

  const count = ({ symbol, price, quantity }: RecordedTrade): void => {
    const market = markets.get(symbol) ?? { trades: 0, pricePlaces: 0, quantityPlaces: 0 }
    trades += 1
    market.trades += 1
    market.pricePlaces = morePlaces(market.pricePlaces, price)
    market.quantityPlaces = morePlaces(market.quantityPlaces, quantity)
    markets.set(symbol, market)
  }

  try {
    for await (const events of readEvents(options, bytes => hash.update(bytes))) {
      signal?.throwIfAborted()
      for (const event of events) {
        if (event.kind === 'trade') {
          count(event.trade)
          onTrade(event.trade)
        } else rejected += 1
      }
    }
  } catch (error) {
    if (!(error instanceof TradeFileError) || error.code !== 'FILE_CUT') throw error
    isCut = true
  }
  return { fingerprint: hash.digest('hex'), trades, rejected, isCut, markets }
}

function morePlaces(most: number, text: string): number {
  const places = placesOf(text)
  return places > most && places <= MAX_PLACES ? places : most
}
