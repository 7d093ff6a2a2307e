const RFC_3339 = /^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$/
const LATEST_MS = Date.UTC(10_000, 0) - 1

/** Reads an RFC 3339 time of the years 1970 to 9999 as whole milliseconds since the epoch, finer digits dropped; else null. */
export function parseInstant(text: string): number | null {
  const [, date, clock, fraction = '', zone] = RFC_3339.exec(text) ?? []
  if (date === undefined || clock === undefined || zone === undefined) return null
  const second = Date.parse(`${date}T${clock}${zone.toUpperCase()}`)
  // The engine takes 30 February as 2 March, and 24:00 as the next day.
  if (Number.isNaN(second) || clock.startsWith('24') || !isOfCalendar(date)) return null
  const ms = second + Number(fraction.slice(1, 4).padEnd(3, '0'))
  return ms < 0 || ms > LATEST_MS ? null : ms
}

function isOfCalendar(date: string): boolean {
  return new Date(Date.parse(`${date}T00:00:00Z`)).toISOString().startsWith(date)
}

let lastMs = Number.NaN
let lastText = ''

/** A time as every answer writes it. Those of one batch are of the same few milliseconds: each is written once. */
export function formatInstant(ms: number): string {
  if (ms !== lastMs) {
    lastText = new Date(ms).toISOString()
    lastMs = ms
  }
  return lastText
}
