/** The most bytes a physical line may have, without its newline. */
export const MAX_LINE_BYTES = 64 * 1024

/** A physical line without its newline, one character per byte (Latin-1); null: longer than allowed, and dropped. */
export type PhysicalLine = string | null

/** Cuts a stream of bytes into physical lines; holds at most one line of `MAX_LINE_BYTES`. */
export interface LineSplitter {
  /** The lines that these bytes complete. */
  readonly push: (bytes: Buffer) => readonly PhysicalLine[]
  /** What follows the last newline; none when nothing does. */
  readonly rest: () => readonly PhysicalLine[]
}

/**
 * Makes a splitter. Lines end at `\n`; a `\r` before it stays. Bytes become Latin-1 characters because that is the
 * fastest decoding, keeps lengths in bytes, and no piece of a stream can split a character of it.
 */
export function createLineSplitter(): LineSplitter {
  let begun = ''
  let tooLong = false

  const begin = (text: string): void => {
    tooLong = tooLong || begun.length + text.length > MAX_LINE_BYTES
    begun = tooLong ? '' : begun + text
  }

  const push = (bytes: Buffer): readonly PhysicalLine[] => {
    const text = bytes.toString('latin1')
    const last = text.lastIndexOf('\n')
    if (last === -1) {
      begin(text)
      return []
    }
    const lines: PhysicalLine[] = (begun + text.slice(0, last)).split('\n')
    if (tooLong) lines[0] = null
    for (const [index, line] of lines.entries()) {
      if (line !== null && line.length > MAX_LINE_BYTES) lines[index] = null
    }
    begun = ''
    tooLong = false
    begin(text.slice(last + 1))
    return lines
  }

  const rest = (): readonly PhysicalLine[] => {
    if (tooLong) return [null]
    return begun === '' ? [] : [begun]
  }

  return { push, rest }
}
