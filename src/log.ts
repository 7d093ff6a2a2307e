import { destination, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

/** One JSON object a line on standard error, written at once: the last line before a crash is not lost. */
export function createLogger(level: 'info' | 'warn' | 'silent' = 'info'): Logger {
  return pino(
    {
      level,
      base: { service: 'legwork' },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: label => ({ level: label.toUpperCase() }) },
      redact: { paths: ['*.token', '*.password', '*.authorization', 'headers.authorization'], censor: '[redacted]' },
    },
    destination({ dest: 2, sync: true }),
  )
}
