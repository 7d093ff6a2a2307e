/** The encoding that gives the bytes of UTF-8 with the least work: what is all ASCII is only copied as `latin1`. */
export function encodingOf(text: string): 'latin1' | 'utf8' {
  return Buffer.byteLength(text) === text.length ? 'latin1' : 'utf8'
}
