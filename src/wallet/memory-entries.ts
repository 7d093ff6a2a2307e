/** Reading back the entries of the memory wallet, which has them in the order they were made. */
import type { Entry, EntryPosition, EntryQuery, EntryRange } from './wallet.ts'

export function entriesPage(entries: readonly Entry[], { of, after, limit }: EntryQuery): readonly Entry[] {
  const wanted = entries.filter(entry => isOf(entry, of))
  const from = after === null ? 0 : wanted.findIndex(entry => isAt(entry, after)) + 1
  return wanted.slice(from, from + limit)
}

const PART = 1000

export async function* readEntries(
  entries: readonly Entry[],
  { of, fromMs, untilMs }: EntryRange,
): AsyncGenerator<readonly Entry[]> {
  const all = of === null ? entries.toSorted(byAccount) : entries.filter(entry => isOf(entry, of))
  const wanted = all.filter(({ atMs }) => (fromMs === null || atMs >= fromMs) && (untilMs === null || atMs < untilMs))
  for (let at = 0; at < wanted.length; at += PART) yield wanted.slice(at, at + PART)
}

function isOf(entry: Entry, of: EntryQuery['of']): boolean {
  return 'tradeId' in of ? entry.tradeId === of.tradeId : entry.userId === of.userId && entry.currency === of.currency
}

function isAt(entry: Entry, { userId, currency, seq }: EntryPosition): boolean {
  return entry.userId === userId && entry.currency === currency && entry.seq === seq
}

function byAccount(one: Entry, other: Entry): number {
  if (one.userId !== other.userId) return one.userId < other.userId ? -1 : 1
  if (one.currency !== other.currency) return one.currency < other.currency ? -1 : 1
  return Number(one.seq - other.seq)
}
