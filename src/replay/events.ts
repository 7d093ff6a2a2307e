import { GzipCut, readText } from './bytes.ts'
import { createLineSplitter } from './lines.ts'
import { createRecordReader, type TradeFileOptions } from './record-reader.ts'
import type { FileEvent } from './rows.ts'
import { TradeFileError } from './trade-file-error.ts'

/**
 * The events of a file in its order, in the chunks in which it is read; `onBytes` sees the unpacked text first.
 * Fails as `readTradeFile` does.
 */
export async function* readEvents(
  options: TradeFileOptions,
  onBytes: (bytes: Buffer) => void,
): AsyncGenerator<readonly FileEvent[], void, undefined> {
  const splitter = createLineSplitter()
  const reader = createRecordReader(options)
  let cut: GzipCut | null = null
  try {
    for await (const bytes of readText(options.path)) {
      onBytes(bytes)
      const events = reader.take(splitter.push(bytes), false)
      if (events.length > 0) yield events
    }
  } catch (error) {
    if (!(error instanceof GzipCut)) throw error
    cut = error
  }
  const unfinished = splitter.rest()
  const last = reader.take(cut === null ? unfinished : [], true)
  if (last.length > 0) yield last
  if (cut !== null) {
    const lines = reader.linesTaken()
    if (unfinished.length > 0) yield [{ kind: 'rejected', line: lines + 1, reason: 'cut: the file ends in this line' }]
    throw fileCut(options.path, cut, lines)
  }
  if (!reader.hasRecords()) throw fileEmpty(options.path, reader.linesTaken())
}

function fileCut(path: string, cut: GzipCut, lines: number): TradeFileError {
  const message = `${path} is cut: ${cut.message}; ${lines} ${lines === 1 ? 'line was' : 'lines were'} read.`
  return new TradeFileError('FILE_CUT', path, message, cut)
}

function fileEmpty(path: string, lines: number): TradeFileError {
  const message = lines === 0 ? `${path} is empty.` : `${path} holds no trades.`
  return new TradeFileError('FILE_EMPTY', path, message)
}
