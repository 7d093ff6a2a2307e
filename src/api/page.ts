/** A list in pages: at most `limit` items, and a cursor to where the next page begins. */

const DEFAULT_LIMIT = 50
const MAX_LIMIT = 1000

/** The number of items asked for; more than 1000 is taken as 1000. */
export function limitOf(text: string | undefined): number {
  return text === undefined ? DEFAULT_LIMIT : Math.min(Number(text), MAX_LIMIT)
}

/** Items read with one more than the page holds, as the page; the cursor names the last item of it, or null. */
export function pageOf<Item>(
  items: readonly Item[],
  limit: number,
  position: (last: Item) => readonly (string | number | bigint)[],
): { readonly items: readonly Item[]; readonly next_cursor: string | null } {
  const page = items.slice(0, limit)
  const last = page.at(-1)
  const isLast = items.length <= limit || last === undefined
  return { items: page, next_cursor: isLast ? null : Buffer.from(position(last).join(' ')).toString('base64url') }
}

/** The parts of a cursor that `pageOf` made. Whoever reads them must check each: a caller can make up any. */
export function partsOf(cursor: string): readonly string[] {
  return Buffer.from(cursor, 'base64url').toString('latin1').split(' ')
}
