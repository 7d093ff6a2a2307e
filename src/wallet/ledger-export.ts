/**
 * Entries to their end, in pages. No transaction lasts from one page to the next, however slowly they are taken: entries are
 * never changed or removed, so pages that go on from one another by key leave out none that was there at the beginning.
 */
import type { Instruments } from '../core/instruments.ts'
import type { Database } from '../db.ts'
import { selectEntries, selectEntryCount, selectEntryTime } from './ledger-entries.ts'
import type { Entry, EntryQuery, EntryRange } from './wallet.ts'

const PAGE = 1000
/**
 * An account's entries are numbered in the order they were made, and timed by the clocks of the processes that made them. As
 * long as those differ by less than this, no entry of a range of times is outside the numbers that are looked at for it.
 */
const CLOCKS_DIFFER_MS = 24 * 60 * 60 * 1000

type Account = Extract<EntryQuery['of'], { readonly userId: string }>

export async function* readEntries(
  database: Database,
  instruments: Instruments,
  range: EntryRange,
): AsyncGenerator<readonly Entry[]> {
  const { of } = range
  const pages =
    of !== null && 'userId' in of
      ? accountPages(database, instruments, of, range)
      : pagesOf(limited => selectEntries(database, instruments, { of, ...limited }))
  for await (const page of pages) {
    const wanted = page.filter(({ atMs }) => isWithin(atMs, range))
    if (wanted.length > 0) yield wanted
  }
}

function isWithin(atMs: number, { fromMs, untilMs }: EntryRange): boolean {
  return (fromMs === null || atMs >= fromMs) && (untilMs === null || atMs < untilMs)
}

async function* pagesOf(
  read: (limited: Pick<EntryQuery, 'after' | 'limit'>) => Promise<readonly Entry[]>,
): AsyncGenerator<readonly Entry[]> {
  let last: Entry | null = null
  while (true) {
    const page: readonly Entry[] = await read({ after: last, limit: PAGE })
    if (page.length > 0) yield page
    last = page.at(-1) ?? null
    if (page.length < PAGE) return
  }
}

/** Up to the entry that was the last at the beginning: what is written meanwhile is behind it. */
async function* accountPages(
  database: Database,
  instruments: Instruments,
  of: Account,
  { fromMs, untilMs }: EntryRange,
): AsyncGenerator<readonly Entry[]> {
  const { userId, currency } = of
  const count = await selectEntryCount(database, userId, currency)
  const timeOf = async (seq: bigint): Promise<number> => {
    const atMs = await selectEntryTime(database, userId, currency, seq)
    if (atMs === null) throw new Error(`entry ${seq} of account ${userId} ${currency} is not there`)
    return atMs
  }
  const first = fromMs === null ? 1n : await firstFrom(fromMs - CLOCKS_DIFFER_MS, count, timeOf)
  const end = untilMs === null ? count + 1n : await firstFrom(untilMs + CLOCKS_DIFFER_MS, count, timeOf)
  for (let next = first; next < end; ) {
    const left = end - next
    const limit = left < PAGE ? Number(left) : PAGE
    const after = { userId, currency, seq: next - 1n, leg: null, atMs: 0 }
    const page = await selectEntries(database, instruments, { of, after, limit })
    for (const { seq } of page) {
      if (seq !== next) throw new Error(`entry ${next} of account ${userId} ${currency} is not there`)
      next++
    }
    if (page.length < limit) throw new Error(`account ${userId} ${currency} has no more than ${next - 1n} entries`)
    yield page
  }
}

/** The number of the first entry that was made at a time or later, found by halving; one more than there are, if none was. */
async function firstFrom(ms: number, count: bigint, timeOf: (seq: bigint) => Promise<number>): Promise<bigint> {
  let low = 1n
  let high = count + 1n
  while (low < high) {
    const middle = (low + high) / 2n
    if ((await timeOf(middle)) >= ms) high = middle
    else low = middle + 1n
  }
  return low
}
