import type { SettlementStatus } from '../store/store.ts'

/** The trades of a replay that are handed in and not at their end; bounded, since only so many are handed in at once. */
export interface Outstanding {
  /** Before a trade is handed in, so that its end can't come unseen. */
  expect(id: string): void
  /** It ended here and now, `latencyMs` after it was recorded. */
  ended(id: string, status: SettlementStatus, latencyMs: number): void
  /** It had ended before, or somewhere else; PENDING: it goes on. */
  known(id: string, status: SettlementStatus): void
  /** Resolves when fewer than `count` are outstanding. */
  below(count: number): Promise<void>
  ids(): readonly string[]
  tally(): Tally
}

export interface Tally {
  readonly settled: number
  readonly failed: number
  /** Settled here and now. */
  readonly fresh: number
  readonly latencyMs: { readonly p50: number; readonly p99: number }
}

export function createOutstanding(): Outstanding {
  const open = new Set<string>()
  const latencies = createHistogram()
  const counts = { settled: 0, failed: 0, fresh: 0 }
  let waiting: { readonly count: number; readonly resolve: () => void }[] = []

  function end(id: string, status: SettlementStatus): boolean {
    if (status === 'PENDING' || !open.delete(id)) return false
    counts[status === 'SETTLED' ? 'settled' : 'failed']++
    const [reached, others] = [
      waiting.filter(({ count }) => open.size < count),
      waiting.filter(({ count }) => open.size >= count),
    ]
    waiting = others
    for (const { resolve } of reached) resolve()
    return true
  }

  return {
    expect: id => {
      open.add(id)
    },
    ended(id, status, latencyMs) {
      if (!end(id, status) || status !== 'SETTLED') return
      counts.fresh++
      latencies.add(latencyMs)
    },
    known: (id, status) => {
      end(id, status)
    },
    below: count => (open.size < count ? Promise.resolve() : new Promise(resolve => waiting.push({ count, resolve }))),
    ids: () => [...open],
    tally: () => ({ ...counts, latencyMs: { p50: latencies.quantile(0.5), p99: latencies.quantile(0.99) } }),
  }
}

const LONGEST_MS = 60_000

/** Whole milliseconds up to a minute; what took longer counts as a minute. */
function createHistogram(): { add(ms: number): void; quantile(share: number): number } {
  const counts = new Uint32Array(LONGEST_MS + 1)
  let total = 0
  return {
    add(ms) {
      const at = Math.min(Math.max(Math.round(ms), 0), LONGEST_MS)
      counts[at] = (counts[at] ?? 0) + 1
      total++
    },
    quantile(share) {
      let left = Math.ceil(total * share)
      for (const [ms, count] of counts.entries()) {
        left -= count
        if (left <= 0 && total > 0) return ms
      }
      return 0
    },
  }
}
