import { randomUUID } from 'node:crypto'
import { createServer } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ADMIN_KEY, openWorkshop, until, type Workshop } from '../support/process.ts'

const TOKEN = { LEGWORK_WALLET_TOKEN: ADMIN_KEY }
let shop: Workshop

beforeEach(async () => {
  shop = await openWorkshop()
})
afterEach(() => shop.close())

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise<void>(resolve => server.close(() => resolve()))
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function statusOf(url: string): Promise<{ readonly status: number; readonly detail: string }> {
  try {
    const answer = await fetch(url)
    const body = (await answer.json()) as { readonly detail?: string }
    return { status: answer.status, detail: body.detail ?? '' }
  } catch {
    return { status: 0, detail: '' }
  }
}

function readyLine(output: string): Readonly<Record<string, unknown>> | null {
  return output.includes('\n') ? JSON.parse(output) : null
}

test('serve needs a wallet elsewhere, worker a database of its own', async () => {
  const [serve, worker] = await Promise.all([shop.run(['serve']), shop.run(['worker'])])
  expect(serve).toMatchObject({ status: 2, stdout: '', stderr: expect.stringContaining('give --wallet-url') })
  expect(worker).toMatchObject({ status: 2, stdout: '', stderr: expect.stringContaining('give --database-url') })
})

test('what is in work on a wallet service is not gone on with on the built-in wallet', async () => {
  const wallet = await shop.wallet(['--memory'])
  const on = (url: string) => ['--data-dir', shop.path('data'), '--wallet-url', url]
  const server = await shop.serverOf('serve', on(wallet.url), { env: TOKEN })
  expect((await server.post('/v1/admin/settlement/pause', {})).status).toBe(200)
  const [buyer, seller, id] = [randomUUID(), randomUUID(), randomUUID()]
  const trade = { id, symbol: 'BTC/USDT', buyer_user_id: buyer, seller_user_id: seller, price: '1', quantity: '1' }
  expect((await server.post('/v1/trades', { trades: [trade] })).status).toBe(202)
  server.signal('SIGTERM')
  await server.ended
  const up = await shop.run(['up', '--port', '0', '--data-dir', shop.path('data')])
  expect(up).toMatchObject({ status: 4, stdout: '', stderr: expect.stringContaining('name it (--wallet-url') })
  const again = await shop.serverOf('serve', on(wallet.url), { env: TOKEN })
  again.signal('SIGTERM')
  expect((await again.ended).status).toBe(0)
})

test('serve waits for its wallet, says what is lacking, settles on it, and offers no wallet of its own', async () => {
  const [port, walletPort] = [await freePort(), await freePort()]
  const url = `http://127.0.0.1:${port}`
  const walletUrl = `http://127.0.0.1:${walletPort}`
  const server = shop.start(['serve', '--json', '--port', String(port), '--wallet-url', walletUrl], { env: TOKEN })
  const lacking = await until('it listens', async () => {
    const said = await statusOf(`${url}/readyz`)
    return said.status === 0 ? null : said
  })
  expect(lacking).toEqual({ status: 503, detail: expect.stringContaining('the wallet has not said what it can do') })
  expect(server.output().stdout).toBe('')
  const wallet = shop.start(['wallet', '--memory', '--level', 'reversals', '--json', '--port', String(walletPort)])
  const ready = await until('it is ready', async () => readyLine(server.output().stdout))
  expect(ready).toEqual({ event: 'ready', url, wallet_url: walletUrl, pid: server.pid })

  const call = async (at: string, body: unknown, key?: string): Promise<Response> =>
    await fetch(at, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${ADMIN_KEY}`,
        'content-type': 'application/json',
        ...(key === undefined ? {} : { 'idempotency-key': key }),
      },
      body: JSON.stringify(body),
    })
  const [buyer, seller, id] = [randomUUID(), randomUUID(), randomUUID()]
  const deposit = { amount: '100000', reason: 'DEPOSIT' }
  await call(`${walletUrl}/v1/credits`, { ...deposit, user_id: buyer, currency: 'USDT' }, 'for the buyer')
  await call(`${walletUrl}/v1/credits`, { ...deposit, user_id: seller, currency: 'BTC' }, 'for the seller')
  const trade = { id, symbol: 'BTC/USDT', buyer_user_id: buyer, seller_user_id: seller, price: '50000', quantity: '1' }
  expect((await call(`${url}/v1/trades`, { trades: [trade] })).status).toBe(202)
  const admin = { headers: { authorization: `Bearer ${ADMIN_KEY}` } }
  await until('the trade is settled', async () => {
    const { trade: shown } = (await (await fetch(`${url}/v1/trades/${id}`, admin)).json()) as {
      readonly trade: { readonly settlement_status: string }
    }
    return shown.settlement_status === 'SETTLED'
  })
  expect((await fetch(`${url}/v1/totals`, admin)).status).toBe(404)
  server.signal('SIGTERM')
  expect((await server.ended).status).toBe(0)
  wallet.signal('SIGTERM')
  await wallet.ended
  expect(shop.transcript()).not.toContain(ADMIN_KEY)
})

test('serve that is stopped while it waits for its wallet ends in order', async () => {
  const port = await freePort()
  const args = ['serve', '--json', '--port', String(port), '--wallet-url', `http://127.0.0.1:${await freePort()}`]
  const server = shop.start(args, { env: TOKEN })
  await until('it listens', async () => (await statusOf(`http://127.0.0.1:${port}/livez`)).status === 200)
  server.signal('SIGTERM')
  expect(await server.ended).toMatchObject({ status: 0, stdout: '' })
})
