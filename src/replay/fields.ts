/** Why a text is not a list of fields: a quote is still open at its end, or one stands where none may. */
export type QuoteFault = 'open_quote' | 'stray_quote'

/** What may stand between two fields. */
export type Delimiter = ',' | ';' | '\t'

/**
 * The fields of a record (RFC 4180: `"a ""b"", c",2`), without the spaces around them. Quotes may stand around whole
 * fields only; anything else is a fault, since a guess about a damaged line could change an amount.
 */
export function splitFields(record: string, delimiter: Delimiter): readonly string[] | QuoteFault {
  const fields: string[] = []
  for (let at = 0; ; at += 1) {
    const start = skipSpaces(record, at)
    if (record[start] === '"') {
      const end = closingQuote(record, start + 1)
      if (end === -1) return 'open_quote'
      fields.push(trimmed(record.slice(start + 1, end).replaceAll('""', '"')))
      at = skipSpaces(record, end + 1)
      if (at < record.length && record[at] !== delimiter) return 'stray_quote'
    } else {
      const end = record.indexOf(delimiter, at)
      at = end === -1 ? record.length : end
      const field = record.slice(start, at)
      if (field.includes('"')) return 'stray_quote'
      fields.push(trimmed(field))
    }
    if (at === record.length) return fields
  }
}

/** Where the quote that closes a field stands, -1 when none does; `""` is a quote inside the field. */
export function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at !== -1; at = text.indexOf('"', at + 2)) {
    if (text[at + 1] !== '"') return at
  }
  return -1
}

/** A text without the spaces and control characters around it. Not `trim`: that takes 0xA0, the end of a UTF-8 `à`. */
export function trimmed(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && text.charCodeAt(start) <= 0x20) start += 1
  while (start < end && text.charCodeAt(end - 1) <= 0x20) end -= 1
  return start === 0 && end === text.length ? text : text.slice(start, end)
}

/** The next place that is no space (nor the `\r` of a CRLF); a tab may be the delimiter and stays. */
function skipSpaces(text: string, from: number): number {
  let at = from
  while (text[at] === ' ' || text[at] === '\r') at += 1
  return at
}
