import { expect, test } from 'vitest'
import { walletChaos } from '../soak/wallet-chaos.ts'
import { SEED } from '../support/process.ts'
import { workshopOfFile } from '../support/workshop-of-file.ts'

const shop = await workshopOfFile()

test(`the wallet's books are what the reference model has, whatever 32 clients and two restarts do (seed ${SEED})`, async () => {
  const result = await walletChaos(shop, { operations: 2500, seed: SEED, holds: true })
  process.stdout.write(`${JSON.stringify(result)}\n`)
  // All of it has happened, and often.
  expect(result.cuts).toBeGreaterThan(50)
  expect(result.database_cuts).toBeGreaterThan(1)
  expect(result.unanswered).toBeGreaterThan(10)
  expect(
    Math.min(result.applied, result.refused * 5, result.reversed * 20, result.answered_again * 10),
  ).toBeGreaterThan(500)
})
