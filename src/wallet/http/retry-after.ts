import { MAX_RETRY_AFTER_MS } from '../../core/backoff.ts'

const SECONDS = /^[0-9]+$/
/** RFC 9110, 5.6.7: the one form that is sent today, and the two of old that have to be understood. */
const DATES = [
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/,
  /^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, [0-9]{2}-[A-Z][a-z]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/,
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}$/,
]

/**
 * How long a `Retry-After` asks to be left alone: whole seconds, or a date of HTTP against `nowMs`. At most an hour, never
 * below zero; null where nothing is asked or it is nonsense: then one's own backoff is all there is.
 */
export function retryAfterMs(header: string | null, nowMs: number): number | null {
  if (header === null) return null
  if (SECONDS.test(header)) return Math.min(Number(header) * 1000, MAX_RETRY_AFTER_MS)
  const form = DATES.findIndex(date => date.test(header))
  // The oldest form does not say that it is in GMT.
  const atMs = form === -1 ? Number.NaN : Date.parse(form === 2 ? `${header} GMT` : header)
  return Number.isNaN(atMs) ? null : Math.min(Math.max(atMs - nowMs, 0), MAX_RETRY_AFTER_MS)
}
