import { expect, test } from 'vitest'
import { simulateMatching } from './matching.ts'

/** One seed to look at. */
const seed = Number(process.env['LEGWORK_TEST_SEED'] ?? 1)
const COMMANDS = 40_000

test(`O-1 the engine does what the oracle says, also where it is restored (seed ${seed})`, () => {
  const { events, restores, seen } = simulateMatching(seed, COMMANDS)
  expect(events).toBeGreaterThan(COMMANDS / 2)
  expect(restores).toBeGreaterThan(50)
  // Else the commands have become too mild to show anything.
  const names = ['opened', 'fill', 'reduced', 'cancelled']
  const reasons = ['immediate', 'fill_or_kill', 'self_trade', 'budget_spent'].map(reason => `expired ${reason}`)
  const codes = ['POST_ONLY_WOULD_CROSS', 'ORDER_NOT_OPEN', 'ORDER_ID_REUSED', 'NOT_A_REDUCTION']
  expect(Object.keys(seen).sort()).toEqual([...names, ...reasons, ...codes.map(code => `rejected ${code}`)].sort())
  expect(Math.min(...Object.values(seen))).toBeGreaterThan(50)
})
