import { type DestinationStream, destination, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

/** What no line may show, wherever in an object it stands: at the top, or one or two levels down. */
const SECRETS = ['token', 'password', 'authorization', 'Authorization', 'cookie', 'secret']
const PATHS = SECRETS.flatMap(name => [name, `*.${name}`, `*.*.${name}`])

/** One JSON object a line on standard error, written at once: the last line before a crash is not lost. */
export function createLogger(
  level: 'info' | 'warn' | 'silent' = 'info',
  to: DestinationStream = destination({ dest: 2, sync: true }),
): Logger {
  return pino(
    {
      level,
      base: { service: 'legwork' },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: label => ({ level: label.toUpperCase() }) },
      redact: { paths: PATHS, censor: '[redacted]' },
    },
    to,
  )
}
