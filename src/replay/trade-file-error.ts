export type TradeFileErrorCode =
  | 'FILE_NOT_FOUND'
  | 'FILE_EMPTY'
  | 'FILE_UNREADABLE'
  | 'FILE_CUT'
  | 'MARKET_NEEDED'
  | 'COLUMNS_MISSING'

/**
 * Why a file of recorded trades can't be read, or not to its end; the message is one sentence that names the file.
 * `FILE_CUT` comes after everything that could be read; the other codes come instead of the first row.
 */
export class TradeFileError extends Error {
  override readonly name = 'TradeFileError'
  readonly code: TradeFileErrorCode
  readonly path: string

  constructor(code: TradeFileErrorCode, path: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.path = path
  }
}
