/** What a command ends with (http-api.md, "Command line"). */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  configuration: 4,
  conflict: 5,
  inPart: 6,
  unreachable: 7,
  interrupted: 130,
} as const

export type ExitStatus = (typeof EXIT)[keyof typeof EXIT]

/** Ends a command with one clear sentence on standard error, and no stack. */
export class CommandError extends Error {
  readonly status: ExitStatus
  constructor(status: ExitStatus, message: string) {
    super(message)
    this.status = status
  }
}
