import type { Clock } from '../../src/clock.ts'
import type { VirtualClock } from '../support/virtual-clock.ts'
import type { Chance } from './chance.ts'

/** How a message goes there and back, decided when it is sent. */
export interface Trip<Answer> {
  /** When it arrives; null: never. It may arrive after its sender gave up waiting, or died. */
  readonly arrivesAfterMs: number | null
  readonly answersAfterMs: number
  /** What the sender is told, of what came of it; null: it has not arrived by then. */
  answer(done: Promise<Answer> | null): Promise<Answer>
}

/**
 * The machine a process runs on: its clock, its connections, and its death. Of a process that died nothing goes on: its
 * timers do not fire and its answers do not come; what it had sent may still arrive.
 */
export interface Host {
  readonly clock: Clock
  isAlive(): boolean
  die(): void
  /** Nothing happens on it for a while; what falls due meanwhile happens after. `stopsClock`: its clock stood still. */
  sleep(ms: number, stopsClock: boolean): void
  stepClock(ms: number): void
  exchange<Answer>(perform: () => Promise<Answer>, trip: Trip<Answer>): Promise<Answer>
}

export function createHost(world: VirtualClock, chance: Chance, clockOffsetMs: number): Host {
  let isAlive = true
  let offsetMs = clockOffsetMs
  let awakeAtMs = 0

  function deliver(run: () => void): void {
    if (!isAlive) return
    if (world.now() < awakeAtMs) world.after(awakeAtMs - world.now(), () => deliver(run))
    else run()
  }

  return {
    clock: {
      now: () => world.now() + offsetMs,
      after: (delayMs, run) => world.after(delayMs, () => deliver(run)),
    },
    isAlive: () => isAlive,
    die: () => {
      isAlive = false
    },
    sleep: (ms, stopsClock) => {
      awakeAtMs = Math.max(awakeAtMs, world.now() + ms)
      if (stopsClock) offsetMs -= ms
    },
    stepClock: ms => {
      offsetMs += ms
    },
    exchange: <Answer>(perform: () => Promise<Answer>, trip: Trip<Answer>) =>
      new Promise<Answer>((resolve, reject) => {
        if (!isAlive) return
        let done: Promise<Answer> | null = null
        if (trip.arrivesAfterMs !== null) {
          world.after(trip.arrivesAfterMs, () => {
            // A connection may go down with its process, or only after what was under way has passed.
            if (!isAlive && chance.is(0.5)) return
            done = perform()
            done.catch(() => {})
          })
        }
        world.after(trip.answersAfterMs, () => deliver(() => void trip.answer(done).then(resolve, reject)))
      }),
  }
}
