import { describe, expect, test } from 'vitest'
import { simulate } from './simulate.ts'

/** One seed to look at, or how many to go through (more than the build has time for). */
const only = process.env['LEGWORK_TEST_SEED']
const count = Number(process.env['LEGWORK_TEST_SEEDS'] ?? 200)
const FIRST = 1

describe('F-6 S-5 whatever goes wrong, the money is where the trades say it is', () => {
  test(`seeds ${only ?? `${FIRST} to ${FIRST + count - 1}`}`, { timeout: 120_000 + count * 1_000 }, async () => {
    const seeds = only === undefined ? Array.from({ length: count }, (_, at) => FIRST + at) : [Number(only)]
    const seen = new Map<string, number>()
    for (const seed of seeds) {
      const { ends } = await simulate(seed)
      for (const [end, times] of ends) seen.set(end, (seen.get(end) ?? 0) + times)
    }
    process.stderr.write(`simulated: ${[...seen].map(([end, times]) => `${end} ${times}`).join('; ')}\n`)
    if (only !== undefined) return
    // Else the storm has become too mild to show anything.
    const ends = [
      'settled',
      'settled, fee parked',
      'failed, rollback complete',
      'failed, rollback not_needed',
      'parked',
    ]
    expect([...seen.keys()].sort()).toEqual(ends.sort())
  })

  test('the same seed is the same story', async () => {
    const [one, two] = [await simulate(7), await simulate(7)]
    expect(two.trace).toEqual(one.trace)
    expect(one.trace.length).toBeGreaterThan(100)
  })
})
