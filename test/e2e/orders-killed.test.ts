import { expect, test } from 'vitest'
import { ordersKilled } from '../soak/orders-killed.ts'
import { SEED } from '../support/process.ts'
import { workshopOfFile } from '../support/workshop-of-file.ts'

const shop = await workshopOfFile()

test(`an exchange that is killed while orders come in has each that it answered, once (seed ${SEED})`, async () => {
  // Two clients, so that the tests beside it have a processor, too; `npm run soak` has eight, and twenty kills.
  const result = await ordersKilled(shop, { kills: 3, clients: 2, longestMs: 500, seed: SEED })
  process.stdout.write(`${JSON.stringify(result)}\n`)
  // All of it has happened.
  expect(Math.min(result.trades, result.unanswered, result.cancelled)).toBeGreaterThan(0)
})
