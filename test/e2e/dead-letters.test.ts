import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorkshop, type UpServer, until, type Workshop } from '../support/process.ts'
import { BUYER, SELLER } from '../support/trades.ts'

let shop: Workshop
let server: UpServer

beforeAll(async () => {
  shop = await openWorkshop()
  server = await shop.up(['--data-dir', 'data'])
})
afterAll(() => shop?.close())

const MANY = 1000

async function deposit(userId: string, currency: string, amount: string): Promise<void> {
  const body = { user_id: userId, currency, amount, reason: 'DEPOSIT' }
  expect((await server.post('/v1/credits', body, { 'idempotency-key': randomUUID() })).status).toBe(201)
}

async function take(count: number, buyer: string): Promise<readonly string[]> {
  const trades = Array.from({ length: count }, () => ({
    id: randomUUID(),
    symbol: 'BTC/USDT',
    buyer_user_id: buyer,
    seller_user_id: SELLER,
    price: '50000',
    quantity: '0.001',
  }))
  expect((await server.post('/v1/trades', { trades })).status).toBe(202)
  return trades.map(({ id }) => id)
}

const legwork = (...args: readonly string[]) => shop.run([...args, '--url', server.url])

async function json(...args: readonly string[]): Promise<ReturnType<typeof JSON.parse>> {
  const { status, stdout, stderr } = await legwork(...args, '--json')
  expect([status, stderr]).toEqual([0, ''])
  return JSON.parse(stdout)
}

const atRest = (failed: number) =>
  until('all have failed', async () => {
    const status = await json('status')
    return status.pending === 0 && status.failed === failed ? status : null
  })

test('F-4 a thousand settlements dead-lettered by one cause are retried with one command, and all settle', async () => {
  await deposit(SELLER, 'BTC', '10')
  await take(MANY, BUYER)
  expect(await atRest(MANY)).toMatchObject({ settled: 0, dead_letters: MANY })
  const filter = ['dead-letters', 'retry', '--code', 'INSUFFICIENT_BALANCE'] as const
  expect(await json(...filter, '--dry-run')).toMatchObject({ dry_run: true, count: MANY })
  const unreasoned = await legwork(...filter)
  expect([unreasoned.status, unreasoned.stderr]).toEqual([2, expect.stringContaining('--reason')])

  await deposit(BUYER, 'USDT', '1000000')
  const { status, stdout } = await legwork(...filter, '--reason', 'funded again', '--json')
  const lines = stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  expect(lines.pop()).toEqual({ dry_run: false, count: MANY, settled: MANY, collected: 0, failed: 0, retrying: 0 })
  expect(new Set(lines.map(({ trade_id }) => trade_id)).size).toBe(MANY)
  expect(lines.every(({ result }) => result === 'settled')).toBe(true)
  expect(status).toBe(0)
  expect(await json('status')).toMatchObject({ settled: MANY, failed: 0, dead_letters: 0, pending: 0 })
})

test('F-4 one alone: listed, shown, retried in vain, retried with success, and no more', async () => {
  const buyer = randomUUID()
  const [id = ''] = await take(1, buyer)
  await atRest(1)
  const { dead_letters: letters } = await json('dead-letters', 'list')
  expect(letters).toMatchObject([{ trade_id: id, code: 'INSUFFICIENT_BALANCE', status: 'open' }])
  const shown = await legwork('dead-letters', 'show', id)
  expect(shown.stdout).toContain(`legwork dead-letters retry ${id}`)
  expect(shown.stdout).toMatch(/buyer-debit +refused +debit +50 USDT/)

  const vain = await legwork('dead-letters', 'retry', id)
  expect([vain.status, vain.stdout]).toEqual([1, expect.stringMatching(/failed +INSUFFICIENT_BALANCE/)])
  await deposit(buyer, 'USDT', '50')
  const well = await legwork('dead-letters', 'retry', id)
  expect([well.status, well.stdout]).toEqual([0, `${id}  settled\n`])
  const again = await legwork('dead-letters', 'retry', id)
  expect([again.status, again.stderr]).toEqual([5, expect.stringContaining('NOT_RETRYABLE')])
  const unknown = await legwork('dead-letters', 'show', randomUUID())
  expect([unknown.status, unknown.stderr]).toEqual([3, expect.stringContaining('legwork dead-letters list')])
})

test('F-4 resolved by hand, with a note', async () => {
  const [id = ''] = await take(1, randomUUID())
  await atRest(1)
  const how = ['--resolution', 'settled_elsewhere', '--note', 'ticket 7'] as const
  const { dead_letter: letter } = await json('dead-letters', 'resolve', id, ...how)
  expect(letter).toMatchObject({ status: 'resolved', resolution: 'settled_elsewhere', note: 'ticket 7' })
  expect((await legwork('dead-letters', 'list')).stdout).toBe('no dead letters\n')
  expect((await json('dead-letters', 'list', '--status', 'resolved', '--limit', '1')).dead_letters).toEqual([letter])
})

test('some of many: done in part', async () => {
  const [one, other] = [randomUUID(), randomUUID()]
  await take(2, one)
  await take(2, other)
  await atRest(5)
  await deposit(one, 'USDT', '100')
  const { status, stdout } = await legwork('dead-letters', 'retry', '--all', '--rate', '100', '--reason', 'try')
  expect([status, stdout]).toEqual([6, expect.stringContaining('4 dead letters retried: 2 settled, 2 failed again')])
})

test('without a server, and without its key', async () => {
  const away = await shop.run(['status', '--url', 'http://127.0.0.1:1234'])
  expect([away.status, away.stderr]).toEqual([7, expect.stringContaining('legwork up')])
  const keyless = await shop.run(['status', '--url', server.url], { env: { LEGWORK_ADMIN_TOKEN: undefined } })
  expect([keyless.status, keyless.stderr]).toEqual([4, expect.stringContaining('--data-dir')])
  const wrong = await shop.run(['status', '--url', server.url], { env: { LEGWORK_ADMIN_TOKEN: 'not-the-key-of-it' } })
  expect(wrong.status).toBe(4)
})
