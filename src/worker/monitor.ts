import type { Clock } from '../clock.ts'

/** What this process has settled lately. */
export interface Monitor {
  /** A pending trade has come to its end; `latencyMs` null where it says nothing, since an operator's retry lies between. */
  ended(hasFailed: boolean, latencyMs: number | null): void
  figures(): Figures
}

/** Rates over the last ten whole seconds; latency of the last thousand settled trades, null before there is one. */
export interface Figures {
  readonly perSecond: { readonly settled: number; readonly failed: number }
  readonly latencyMs: { readonly p50: number | null; readonly p99: number | null }
}

const SECONDS = 10
const LATENCIES = 1000

interface Second {
  at: number
  settled: number
  failed: number
}

export function createMonitor(clock: Clock): Monitor {
  const seconds: Second[] = Array.from({ length: SECONDS + 1 }, () => ({ at: 0, settled: 0, failed: 0 }))
  const latencies: number[] = []
  let nextLatency = 0

  /** The counts of the second that is running, begun anew when the ring comes round. */
  function current(): Second {
    const at = Math.floor(clock.now() / 1000)
    const second = seconds[at % seconds.length] as Second
    if (second.at !== at) Object.assign(second, { at, settled: 0, failed: 0 })
    return second
  }

  return {
    ended(hasFailed, latencyMs) {
      const second = current()
      if (hasFailed) second.failed++
      else {
        second.settled++
        if (latencyMs === null) return
        latencies[nextLatency] = latencyMs
        nextLatency = (nextLatency + 1) % LATENCIES
      }
    },
    figures() {
      const { at: now } = current()
      const whole = seconds.filter(({ at }) => at < now && at >= now - SECONDS)
      const sum = (of: 'settled' | 'failed') => whole.reduce((total, second) => total + second[of], 0) / SECONDS
      const sorted = latencies.toSorted((a, b) => a - b)
      const quantile = (share: number) => sorted[Math.ceil(sorted.length * share) - 1] ?? null
      return {
        perSecond: { settled: sum('settled'), failed: sum('failed') },
        latencyMs: { p50: quantile(0.5), p99: quantile(0.99) },
      }
    },
  }
}
