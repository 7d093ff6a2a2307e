import type { Clock } from '../clock.ts'

/** A clock whose calls can all be called off: what a script of faults has put off must not outlive the service. */
export interface StoppableClock extends Clock {
  stop(): void
}

export function stoppableClock(clock: Clock): StoppableClock {
  const pending = new Set<() => void>()
  return {
    now: () => clock.now(),
    after: (delayMs, run) => {
      const callOff = clock.after(delayMs, () => {
        pending.delete(callOff)
        run()
      })
      pending.add(callOff)
      return () => {
        pending.delete(callOff)
        callOff()
      }
    },
    stop: () => {
      for (const callOff of pending) callOff()
      pending.clear()
    },
  }
}
