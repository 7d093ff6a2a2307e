import { randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorkshop, type UpServer, until, type Workshop } from '../support/process.ts'

let shop: Workshop
let server: UpServer

beforeAll(async () => {
  shop = await openWorkshop()
  server = await shop.up(['--data-dir', 'data'])
})
afterAll(() => shop?.close())

const keys = (...args: readonly string[]) => shop.run(['keys', ...args, '--url', server.url])

async function made(role: string, url = server.url, ...more: readonly string[]) {
  const { status, stdout } = await shop.run(['keys', 'create', '--role', role, '--json', '--url', url, ...more])
  expect(status).toBe(0)
  return JSON.parse(stdout) as { readonly key: string; readonly id: string }
}

async function statusWith(key: string, path: string, url = server.url): Promise<number> {
  const answer = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${key}` } })
  await answer.text()
  return answer.status
}

test('made, used, listed, revoked and refused', async () => {
  const created = await keys('create', '--role', 'operator', '--reason', 'for the night shift')
  const key = created.stdout.trim()
  expect([created.status, key]).toEqual([0, expect.stringMatching(/^lw_[\w-]{43}$/)])
  const id = /its id is ([0-9a-f-]{36}):/.exec(created.stderr)?.[1] ?? ''
  expect(id).not.toBe('')
  expect(created.stderr).not.toContain(key)

  // Whoever has it works with it, and can't make keys.
  const env = { LEGWORK_ADMIN_TOKEN: key }
  expect(await shop.run(['status', '--url', server.url], { env })).toMatchObject({ status: 0 })
  const forbidden = await shop.run(['keys', 'list', '--url', server.url], { env })
  expect(forbidden).toMatchObject({ status: 4, stderr: expect.stringContaining('this needs the role admin') })

  const listed = await keys('list')
  expect(listed.stdout).toMatch(new RegExp(`${id} +operator +…${key.slice(-4)} +20.* by admin`))
  expect(listed.stdout).not.toContain(key)
  const revoked = await keys('revoke', id, '--reason', 'the shift is over')
  expect(revoked).toMatchObject({ status: 0, stdout: expect.stringContaining(`that ends in ${key.slice(-4)}`) })
  expect(await statusWith(key, '/v1/admin/status')).toBe(401)
  expect(await shop.run(['status', '--url', server.url], { env })).toMatchObject({ status: 4 })
  expect((await keys('list')).stdout).toBe('no keys besides the admin key\n')
  expect((await keys('list', '--status', 'revoked')).stdout).toContain(id)
  expect(await server.get('/v1/admin/audit-log?limit=2')).toMatchObject({
    body: {
      entries: [
        { action: 'key-revoke', reason: 'the shift is over' },
        { action: 'key-create', actor: 'admin' },
      ],
    },
  })
})

test('a trader has a user, and no other role has one', async () => {
  const user = randomUUID()
  const { key } = await made('trader', server.url, '--user-id', user)
  expect(await statusWith(key, `/v1/balances/${user}/BTC`)).toBe(200)
  expect(await statusWith(key, `/v1/balances/${randomUUID()}/BTC`)).toBe(404)
  expect(await statusWith(key, '/v1/admin/status')).toBe(403)
  expect(await keys('create', '--role', 'trader')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('user_id'),
  })
  expect(await keys('create', '--role', 'root')).toMatchObject({ status: 2 })
  expect(await keys('create')).toMatchObject({ status: 2, stderr: expect.stringContaining('--role') })
  const unknown = await keys('revoke', randomUUID())
  expect(unknown).toMatchObject({ status: 3, stderr: expect.stringContaining('legwork keys list') })
})

test('keys outlive the process, and stand nowhere but with whoever has them', async () => {
  const { key } = await made('viewer')
  expect(await statusWith(key, '/v1/admin/status')).toBe(200)
  expect(await statusWith(`${key.slice(0, -1)}!`, '/v1/admin/status')).toBe(401)
  server.signal('SIGKILL')
  await server.ended
  const { stdout, stderr } = server.output()
  expect(`${stdout}${stderr}`).not.toContain(key.slice(3))
  server = await shop.up(['--data-dir', 'data'])
  expect(await statusWith(key, '/v1/admin/status')).toBe(200)
  const logs = await textsIn(shop.path('data'))
  expect(logs.length).toBeGreaterThan(0)
  for (const text of logs) expect(text).not.toContain(key.slice(3))
})

/** Whatever is kept in the data folder as a file of its own: the log of PostgreSQL, the admin key. */
async function textsIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true })
  const files = entries.filter(entry => entry.isFile() && /\.(?:log|key|conf|txt)$/.test(entry.name))
  return await Promise.all(files.map(entry => readFile(join(entry.parentPath, entry.name), 'latin1')))
}

test('a wallet on PostgreSQL has keys of its own, with which others settle on it', async () => {
  const wallet = await shop.wallet(['--data-dir', 'wallet'])
  const { key, id } = await made('operator', wallet.url)
  expect(await statusWith(key, '/v1/totals', server.url)).toBe(401)
  const serve = shop.start(['serve', '--json', '--port', '0', '--data-dir', 'serve', '--wallet-url', wallet.url], {
    env: { LEGWORK_WALLET_TOKEN: key },
  })
  const settling = await shop.ready(serve)
  const [buyer, seller] = [randomUUID(), randomUUID()]
  const deposit = { user_id: buyer, currency: 'USDT', amount: '1000', reason: 'DEPOSIT' }
  const credit = { user_id: seller, currency: 'BTC', amount: '1', reason: 'DEPOSIT' }
  for (const body of [deposit, credit]) {
    expect((await wallet.post('/v1/credits', body, { 'idempotency-key': randomUUID() })).status).toBe(201)
  }
  const trade = { id: randomUUID(), symbol: 'BTC/USDT', buyer_user_id: buyer, seller_user_id: seller }
  await settling.post('/v1/trades', { trades: [{ ...trade, price: '1000', quantity: '1' }] })
  await until('it is settled', async () => {
    const { body } = await settling.get(`/v1/trades/${trade.id}`)
    return JSON.stringify(body).includes('"SETTLED"')
  })
  expect(await wallet.get('/v1/admin/audit-log')).toMatchObject({
    body: { entries: [{ action: 'key-create', detail: { key_id: id, role: 'operator' } }] },
  })
  for (const each of [settling, wallet]) {
    each.signal('SIGTERM')
    expect(await each.ended).toMatchObject({ status: 0 })
    expect(JSON.stringify(each.output())).not.toContain(key.slice(3))
  }
})

test('a wallet in memory says why it has none', async () => {
  const wallet = await shop.wallet(['--memory'])
  const none = await shop.run(['keys', 'create', '--role', 'viewer', '--url', wallet.url])
  expect(none).toMatchObject({ status: 3, stderr: expect.stringContaining('no database to keep keys in') })
  wallet.signal('SIGTERM')
  await wallet.ended
})
