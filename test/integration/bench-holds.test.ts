import { expect, test } from 'vitest'
import { bench } from '../../bench/holds.bench.ts'

test('the benchmark of holds settles everything, with holds and without', { timeout: 60_000 }, async () => {
  const { plain, held, held_to_plain } = await bench({ settlements: 20, lanes: 2, rounds: 2, turns: 1 })
  for (const { per_second, cpu_us } of [plain, held]) {
    expect(per_second).toBeGreaterThan(0)
    expect(cpu_us).toBeGreaterThan(0)
  }
  expect(held_to_plain).toBeGreaterThan(0)
})
