import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorkshop, type Workshop } from '../support/process.ts'

let shop: Workshop

beforeAll(async () => {
  shop = await openWorkshop()
})

afterAll(async () => {
  await shop.close()
})

async function runExample(name: string): Promise<readonly string[]> {
  const file = fileURLToPath(new URL(`../../examples/${name}.ts`, import.meta.url))
  const program = process.execPath
  const { status, stdout, stderr } = await shop.run([file, shop.path(name)], { program })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout.trimEnd().split('\n')
}

test('O-4 the trades of a matching engine of one’s own are settled by a call', async () => {
  expect(await runExample('own-matching-engine')).toEqual([
    '1 trade accepted, 1 known before',
    '01927a3e-0000-7000-8000-000000000001 is SETTLED',
    '00000000-0000-4000-8000-00000000000a has 4995000000000 of the smallest unit of USDT',
    '00000000-0000-4000-8000-00000000000b has 100000000 of the smallest unit of BTC',
    'breaks: 0, money is conserved: true',
  ])
})

test('O-1 the matching engine hands its trades to settlement', async () => {
  expect(await runExample('matching-engine')).toEqual([
    '0.4 at 50000: the buyer pays a fee of 20, the seller 10',
    '0.6 at 50100: the buyer pays a fee of 30.06, the seller 15.03',
    `Bob's order is filled; on offer: [["50100","0.4",1]]`,
    'SETTLED, SETTLED',
  ])
})
