import { expect, test } from 'vitest'
import { systemClock } from '../clock.ts'
import { createMonitor } from './monitor.ts'

function monitorAt() {
  const time = { nowMs: 1_700_000_000_000 }
  const monitor = createMonitor({ ...systemClock(), now: () => time.nowMs })
  return { time, monitor }
}

test('nothing has been settled: no rate, and no latency', () => {
  expect(monitorAt().monitor.figures()).toEqual({
    perSecond: { settled: 0, failed: 0 },
    latencyMs: { p50: null, p99: null },
  })
})

test('rates are of the last ten whole seconds', () => {
  const { time, monitor } = monitorAt()
  for (let second = 0; second < 30; second++) {
    for (let count = 0; count < 20; count++) monitor.ended(false, 1)
    for (let count = 0; count < 5; count++) monitor.ended(true, 1)
    time.nowMs += 1000
  }
  expect(monitor.figures().perSecond).toEqual({ settled: 20, failed: 5 })
  time.nowMs += 5000
  expect(monitor.figures().perSecond).toEqual({ settled: 10, failed: 2.5 })
  time.nowMs += 60_000
  expect(monitor.figures().perSecond).toEqual({ settled: 0, failed: 0 })
})

test('latency is of the last thousand that were settled at their first going', () => {
  const { monitor } = monitorAt()
  for (let ms = 1; ms <= 5000; ms++) monitor.ended(false, ms)
  monitor.ended(true, 1e9)
  monitor.ended(false, null)
  expect(monitor.figures().latencyMs).toEqual({ p50: 4500, p99: 4990 })
})
