/** Time from outside, so that a simulation or a test can drive it. */
export interface Clock {
  /** Milliseconds since the epoch; never goes backward and does not jump with the machine's wall clock. */
  now(): number
  /** Calls back once after at least `delayMs`; the returned function calls it off. */
  after(delayMs: number, run: () => void): () => void
}

/** Randomness from outside: a number from 0 to below 1. */
export type Random = () => number

/**
 * The real time: the wall clock as it stood when the process began, carried on by the monotonic clock, so that an
 * adjusted wall clock neither loses nor hurries a wait (design.md, "The core is a pure function").
 */
export function systemClock(): Clock {
  return {
    now: () => Math.floor(performance.timeOrigin + performance.now()),
    after: (delayMs, run) => {
      const timer = setTimeout(run, delayMs)
      return () => clearTimeout(timer)
    },
  }
}
