import { ConfigError } from '../config.ts'
import { codeOf, isAway } from '../db.ts'
import { DataFolderInUseError, PostgresStartError } from '../postgres/supervisor.ts'
import { DatabaseUnreachableError } from '../reach-database.ts'
import { FundingError, ReplayConflictError } from '../replay/replay.ts'
import { TradeFileError, type TradeFileErrorCode } from '../replay/trade-file.ts'
import { OpenOrdersError } from '../store/instruments.ts'
import { OtherWalletError } from '../store/settlement-wallet.ts'
import { CommandError, EXIT, type ExitStatus } from './exit-status.ts'

export interface Failure {
  readonly status: ExitStatus
  /** For standard error: what is wrong and, where it is known, what to do. */
  readonly message: string
}

const FILE_STATUS: Readonly<Record<TradeFileErrorCode, ExitStatus>> = {
  FILE_NOT_FOUND: EXIT.notFound,
  FILE_EMPTY: EXIT.failed,
  FILE_UNREADABLE: EXIT.failed,
  FILE_CUT: EXIT.failed,
  COLUMNS_MISSING: EXIT.failed,
  MARKET_NEEDED: EXIT.usage,
}

/** PostgreSQL's ways to say that we may not come in: a wrong password, no such database. */
const LOCKED_OUT = /^(?:28...|3D000)$/

/** How a command ends that threw, and the words for it. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof CommandError) return { status: error.status, message: error.message }
  if (error instanceof ConfigError) {
    return { status: EXIT.configuration, message: `the configuration can't be used\n${error.message}` }
  }
  if (error instanceof OtherWalletError || error instanceof OpenOrdersError) {
    return { status: EXIT.configuration, message: error.message }
  }
  if (error instanceof DataFolderInUseError) return { status: EXIT.conflict, message: error.message }
  if (error instanceof PostgresStartError) {
    return { status: EXIT.unreachable, message: `${error.message}\n${error.hint}` }
  }
  if (error instanceof DatabaseUnreachableError) return { status: EXIT.unreachable, message: error.message }
  if (error instanceof TradeFileError) return { status: FILE_STATUS[error.code], message: error.message }
  if (error instanceof ReplayConflictError) return { status: EXIT.conflict, message: error.message }
  if (error instanceof FundingError) return { status: EXIT.failed, message: error.message }
  const message = messageOf(error)
  if (codeOf(error) === 'EADDRINUSE') return { status: EXIT.conflict, message: `${message}: choose another --port` }
  if (isAway(error) || LOCKED_OUT.test(codeOf(error)))
    return { status: EXIT.unreachable, message: `the database can't be reached: ${message}` }
  return { status: EXIT.failed, message }
}

/** Of several attempts to connect, each with its own message, the first. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return messageOf(error.errors[0])
  return error instanceof Error ? error.message : String(error)
}
