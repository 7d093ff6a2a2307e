import { expect, test, vi } from 'vitest'
import { systemClock } from './clock.ts'

test('the system clock tells whole milliseconds since the epoch, close to the wall clock', () => {
  const clock = systemClock()
  expect(Number.isInteger(clock.now())).toBe(true)
  expect(Math.abs(clock.now() - Date.now())).toBeLessThan(1000)
})

test('a wall clock that jumps takes the system clock nowhere', () => {
  const clock = systemClock()
  const before = clock.now()
  vi.useFakeTimers({ toFake: ['Date'] })
  try {
    vi.setSystemTime(0)
    expect(clock.now() - before).toBeGreaterThanOrEqual(0)
    vi.setSystemTime(before + 3_600_000)
    expect(clock.now() - before).toBeLessThan(1000)
  } finally {
    vi.useRealTimers()
  }
})

test('it calls back once, after at least the delay, unless it is called off', () => {
  vi.useFakeTimers()
  try {
    const clock = systemClock()
    const called: string[] = []
    clock.after(100, () => called.push('first'))
    const callOff = clock.after(100, () => called.push('second'))
    callOff()
    vi.advanceTimersByTime(99)
    expect(called).toEqual([])
    vi.advanceTimersByTime(1000)
    expect(called).toEqual(['first'])
    callOff()
  } finally {
    vi.useRealTimers()
  }
})
