/** An exchange as a process: orders in over HTTP, trades settled, and the same books after it was stopped or killed. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorkshop, type UpServer, until, type Workshop } from '../support/process.ts'
import { BUYER, SELLER } from '../support/trades.ts'

type Json = ReturnType<typeof JSON.parse>

let shop: Workshop
let server: UpServer

beforeAll(async () => {
  shop = await openWorkshop()
  server = await shop.up(['--data-dir', 'books'])
})
afterAll(async () => {
  await shop.close()
})

async function deposit(userId: string, currency: string, amount: string): Promise<void> {
  const body = { user_id: userId, currency, amount, reason: 'DEPOSIT' }
  const { status } = await server.post('/v1/credits', body, { 'idempotency-key': `${userId} ${currency}` })
  expect(status).toBe(201)
}

async function place(
  userId: string,
  side: 'buy' | 'sell',
  price: string,
  quantity: string,
  id?: string,
): Promise<Json> {
  const order = { user_id: userId, symbol: 'BTC/USDT', side, type: 'limit', price, quantity, client_order_id: id }
  return await server.post('/v1/orders', order)
}

const read = async (path: string): Promise<Json> => (await server.get(path)).body
const book = () => read('/v1/markets/BTC-USDT/book')

async function verify(dataDir: string): Promise<Json> {
  const { status, stdout } = await shop.run(['verify', '--json', '--data-dir', dataDir])
  expect(status).toBe(0)
  return JSON.parse(stdout)
}

test('orders are matched, their trades settle, and money is conserved', async () => {
  await deposit(BUYER, 'USDT', '100000')
  await deposit(SELLER, 'BTC', '2')
  expect(await place(SELLER, 'sell', '50000', '0.5', 'sale')).toMatchObject({ status: 201, body: { trades: [] } })
  expect(await place(SELLER, 'sell', '50010', '1')).toMatchObject({ status: 201 })
  const bought = await place(BUYER, 'buy', '50005', '0.8', 'purchase')
  expect(bought).toMatchObject({
    status: 201,
    body: { order: { status: 'partially_filled', filled_quantity: '0.5' }, trades: [{ price: '50000' }] },
  })
  const [trade] = bought.body.trades
  await until('the trade is settled', async () => {
    return (await read(`/v1/trades/${trade.id}`)).trade.settlement_status === 'SETTLED'
  })
  expect(await read(`/v1/balances/${BUYER}/BTC`)).toMatchObject({ available: '0.5' })
  // 0.3 × 50005 and its highest fee are held; 0.5 × 50000 and the taker's fee are paid.
  await until('what was saved is free', async () => {
    return (await read(`/v1/balances/${BUYER}/USDT`)).held === '15016.5015'
  })
  expect(await read(`/v1/balances/${BUYER}/USDT`)).toMatchObject({ total: '74975' })
  expect(await book()).toEqual({
    ...{ symbol: 'BTC/USDT', sequence: 4, bids: [['50005', '0.3', 1]], asks: [['50010', '1', 1]] },
  })
  expect(await verify('books')).toMatchObject({ trades: 1, settled: 1, conserved: true, breaks: 0 })
})

test.each(['SIGTERM', 'SIGKILL'] as const)('after %s the books are as they were, and go on', async signal => {
  const before = await book()
  server.signal(signal)
  await server.ended
  server = await shop.up(['--data-dir', 'books'])
  expect(await book()).toEqual(before)
  const again = await place(BUYER, 'buy', '50005', '0.8', 'purchase')
  expect(again).toMatchObject({
    status: 200,
    body: { order: { status: 'partially_filled' }, trades: [{ price: '50000' }] },
  })
  const { body } = await place(SELLER, 'sell', '50005', '0.1')
  expect(body.trades).toMatchObject([{ maker_order_id: again.body.order.id, quantity: '0.1' }])
  await until('it is settled', async () => {
    return (await read(`/v1/trades/${body.trades[0].id}`)).trade.settlement_status === 'SETTLED'
  })
  expect(await verify('books')).toMatchObject({ conserved: true, breaks: 0 })
})

test('all orders of the users are cancelled, and nothing stays on hold', async () => {
  for (const userId of [BUYER, SELLER]) {
    const answer: Json = await server.delete(`/v1/orders?user_id=${userId}`)
    expect(answer).toMatchObject({ status: 200, body: { orders: [{ status: 'cancelled' }] } })
  }
  expect(await book()).toMatchObject({ bids: [], asks: [] })
  await until('nothing is held', async () => {
    const balances = await Promise.all([`${BUYER}/USDT`, `${SELLER}/BTC`].map(each => read(`/v1/balances/${each}`)))
    return balances.every(({ held }) => held === '0')
  })
  expect(await verify('books')).toMatchObject({ settled: 3, conserved: true, breaks: 0 })
})

test('the README’s commands do as it says', async () => {
  const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8')
  const commandsUnder = (title: string): string =>
    readme.split(`\n## ${title}\n`)[1]?.split('```sh\n')[1]?.split('\n```')[0] ?? ''
  const keyless = { env: { LEGWORK_ADMIN_TOKEN: undefined } }
  const { url } = await shop.up(['--data-dir', 'legwork-data'], keyless)
  const script = [commandsUnder('Settle a trade'), commandsUnder('An exchange in one process')].join('\n')
  expect(script).toContain('API=http://127.0.0.1:8080\n')
  const local = script.replace('http://127.0.0.1:8080', url)
  const { stdout } = await promisify(execFile)('sh', ['-c', local], { cwd: shop.folder })
  expect(stdout).not.toContain('urn:legwork:problem')
  const answers = stdout.split('\n').filter(line => line.startsWith('{'))
  const [sold, bought, depth, open, cancelled] = answers.slice(-5).map(line => JSON.parse(line))
  expect(sold).toMatchObject({ order: { status: 'open', client_order_id: 'sale-1' }, trades: [] })
  expect(bought).toMatchObject({ order: { status: 'filled' }, trades: [{ price: '50000', quantity: '0.2' }] })
  expect(depth).toMatchObject({ bids: [], asks: [['50000', '0.3', 1]] })
  expect(open.orders).toMatchObject([{ client_order_id: 'sale-1', filled_quantity: '0.2' }])
  expect(cancelled).toMatchObject({ order: { status: 'cancelled' } })
  expect(stdout).toContain('event: snapshot\nid: 3\ndata: {"symbol":"BTC/USDT","sequence":3,"bids":[],"asks":[]}\n')
})
