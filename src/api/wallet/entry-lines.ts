/** Entries as the lines of an export: the fields and names of `/v1/entries`, in its order. */
import { EntryView, type EXPORT_FORMATS } from './contract.ts'

export type ExportFormat = (typeof EXPORT_FORMATS)[number]

export interface LineFormat {
  readonly contentType: string
  /** Before all lines. */
  readonly head: string
  readonly line: (entry: EntryView) => string
}

const COLUMNS = Object.keys(EntryView.properties) as readonly (keyof EntryView)[]

export const LINES: Readonly<Record<ExportFormat, LineFormat>> = {
  csv: {
    contentType: 'text/csv; charset=utf-8; header=present',
    head: `${COLUMNS.join(',')}\r\n`,
    line: csvLine,
  },
  ndjson: { contentType: 'application/x-ndjson', head: '', line: entry => `${JSON.stringify(entry)}\n` },
}

/**
 * RFC 4180; what is null is an empty field. A key stands there as it is, also one that a spreadsheet takes for a formula: a mark
 * before it would make it another key, and keys come from whoever may move money, not from users.
 */
function csvLine(entry: EntryView): string {
  let line = ''
  for (const column of COLUMNS) {
    const value = entry[column]
    if (line !== '') line += ','
    if (column === 'key') line += quoted(entry.key)
    else if (value !== null) line += value
  }
  return `${line}\r\n`
}

/** All others are ids, numbers and words of ours. */
function quoted(text: string): string {
  return PLAIN.test(text) ? text : `"${text.replaceAll('"', '""')}"`
}

const PLAIN = /^[0-9A-Za-z_:.-]+$/
