import type { Clock } from '../../src/clock.ts'

/** A clock that stands still until a test moves it. */
export interface VirtualClock extends Clock {
  /**
   * Moves on by `ms`. What falls due on the way runs in its own moment, in order of time and then of asking, and all
   * that follows from it without waiting is done before the next.
   */
  advance(ms: number): Promise<void>
  /** Lets everything happen that waits for no time. */
  quiet(): Promise<void>
  /** The moment of the next call back; null: none is asked for. */
  nextMs(): number | null
}

interface Timer {
  readonly atMs: number
  readonly run: () => void
}

/** A batch leaves at the next turn of the event loop, and its end may start another: no chain without a timer is longer. */
const TURNS = 4

export function createVirtualClock(startMs = 1_700_000_000_000): VirtualClock {
  let nowMs = startMs
  const timers = new Set<Timer>()

  function earliest(): Timer | null {
    let first: Timer | null = null
    for (const timer of timers) if (first === null || timer.atMs < first.atMs) first = timer
    return first
  }

  async function quiet(): Promise<void> {
    for (let turn = 0; turn < TURNS; turn++) await new Promise(resolve => setImmediate(resolve))
  }

  return {
    now: () => nowMs,
    after: (delayMs, run) => {
      const timer: Timer = { atMs: nowMs + Math.max(delayMs, 0), run }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    advance: async ms => {
      const targetMs = nowMs + ms
      await quiet()
      for (let timer = earliest(); timer !== null && timer.atMs <= targetMs; timer = earliest()) {
        timers.delete(timer)
        nowMs = timer.atMs
        timer.run()
        await quiet()
      }
      nowMs = targetMs
    },
    quiet,
    nextMs: () => earliest()?.atMs ?? null,
  }
}
