import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  ADMIN_KEY,
  openWorkshop,
  postmasterOf,
  SEED,
  seededRandom,
  tradesCsv,
  type UpServer,
  until,
  type Workshop,
} from '../support/process.ts'
import { BUYER, FEES, SELLER } from '../support/trades.ts'

const TRADE = '00000000-0000-4000-9000-0000000000e2'

let shop: Workshop
let books: string
let server: UpServer

beforeAll(async () => {
  shop = await openWorkshop()
  books = shop.path('books')
  server = await shop.up(['--data-dir', books])
})

afterAll(async () => {
  await shop.close()
})

const deposit = async (userId: string, currency: string, amount: string) => {
  const body = { user_id: userId, currency, amount, reason: 'DEPOSIT' }
  return await server.post('/v1/credits', body, { 'idempotency-key': `deposit ${userId} ${currency}` })
}

test('a server that is ready says so on one line, and on its health routes', async () => {
  expect(JSON.parse(server.output().stdout)).toEqual({
    event: 'ready',
    url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:[0-9]+$/),
    wallet_url: server.url,
    pid: server.pid,
  })
  expect(await server.get('/livez')).toEqual({ status: 200, body: { status: 'live' } })
  expect(await server.get('/readyz')).toEqual({ status: 200, body: { status: 'ready' } })
  const stranger = await fetch(`${server.url}/v1/trades`, { headers: { authorization: 'Bearer somebody' } })
  expect(stranger.status).toBe(401)
})

test('W-1 a trade handed in is settled, and every account has what it should, to the unit', async () => {
  expect(await deposit(BUYER, 'USDT', '3481')).toMatchObject({ status: 201 })
  expect(await deposit(SELLER, 'BTC', '0.2')).toMatchObject({ status: 201 })
  const trade = {
    ...{ id: TRADE, symbol: 'BTC/USDT', buyer_user_id: BUYER, seller_user_id: SELLER },
    ...{ price: '28165.47', quantity: '0.12345', buyer_fee: '3.47702728', seller_fee: '1.73' },
  }
  const taken = await server.post('/v1/trades', { trades: [trade] })
  expect(taken).toEqual({ status: 202, body: { accepted: 1, duplicates: 0 } })
  await until('the trade is settled', async () => {
    const { body } = await server.get(`/v1/trades/${TRADE}`)
    return JSON.stringify(body).includes('"settlement_status":"SETTLED"')
  })
  const again = await server.post('/v1/trades', { trades: [trade] })
  expect(again).toEqual({ status: 202, body: { accepted: 0, duplicates: 1 } })
  // The notional: 28165.47 × 0.12345 = 3477.0272715.
  for (const [userId, currency, total] of [
    [BUYER, 'USDT', '0.49570122'],
    [BUYER, 'BTC', '0.12345'],
    [SELLER, 'BTC', '0.07655'],
    [SELLER, 'USDT', '3475.2972715'],
    [FEES, 'USDT', '5.20702728'],
  ]) {
    const balance = await server.get(`/v1/balances/${userId}/${currency}`)
    expect(balance).toMatchObject({ status: 200, body: { available: total, held: '0', total } })
  }
  const { body } = await server.get(`/v1/entries?trade_id=${TRADE}`)
  const entry = (user_id: string, currency: string, amount: string) =>
    expect.objectContaining({ user_id, currency, amount })
  expect(body).toEqual({
    next_cursor: null,
    entries: [
      entry(BUYER, 'USDT', '-3480.50429878'),
      entry(BUYER, 'BTC', '0.12345'),
      entry(SELLER, 'BTC', '-0.12345'),
      entry(SELLER, 'USDT', '3475.2972715'),
      entry(FEES, 'USDT', '5.20702728'),
    ],
  })
})

test('D-1 the books can be verified while the server runs', async () => {
  const { status, stdout } = await shop.run(['verify', '--json', '--data-dir', books])
  expect(status).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ trades: 1, settled: 1, conserved: true, breaks: 0 })
  expect(await server.get('/readyz')).toMatchObject({ status: 200 })
})

test('a data folder and a port have one owner', async () => {
  await writeFile(shop.path('trades.csv'), tradesCsv(10, seededRandom(SEED)))
  const port = new URL(server.url).port
  const neighbour = shop.path('neighbour')
  const keyless = { env: { LEGWORK_ADMIN_TOKEN: undefined } }
  const [up, replay, sharing] = await Promise.all([
    shop.run(['up', '--port', '0', '--data-dir', books]),
    shop.run(['replay', 'trades.csv', '--market', 'BTC/USDT', '--data-dir', books]),
    shop.run(['up', '--port', port, '--data-dir', neighbour], keyless),
  ])
  const inUse = `The data folder ${books} is in use by the process ${server.pid}: stop it, or choose another data folder`
  for (const second of [up, replay]) expect(second).toEqual({ status: 5, stdout: '', stderr: `legwork: ${inUse}\n` })
  const taken = `listen EADDRINUSE: address already in use 127.0.0.1:${port}: choose another --port`
  // Its key was made, and only this once could it be told.
  const key = await readFile(join(neighbour, 'admin.key'), 'utf8')
  expect(sharing).toEqual({ status: 5, stdout: '', stderr: expect.stringContaining(`legwork: ${taken}\n`) })
  expect(sharing.stderr).toContain(`${join(neighbour, 'admin.key')}:\n${key}`)
  expect(await postmasterOf(neighbour)).toBe(null)
})

test('the first start makes an admin key and tells it once; the next ones keep it', async () => {
  const dataDir = shop.path('keyed')
  const withoutToken = { env: { LEGWORK_ADMIN_TOKEN: undefined } }
  const first = await shop.up(['--data-dir', dataDir], withoutToken)
  const file = join(dataDir, 'admin.key')
  const key = (await readFile(file, 'utf8')).trim()
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  expect(first.output().stderr).toContain(`The admin key, shown this once and kept in ${file}:\n${key}\n`)
  const allowed = async ({ url }: UpServer, bearer: string) =>
    (await fetch(`${url}/v1/trades`, { headers: { authorization: `Bearer ${bearer}` } })).status
  expect(await allowed(first, key)).toBe(200)
  first.signal('SIGTERM')
  expect(await first.ended).toMatchObject({ status: 0 })

  const second = await shop.up(['--data-dir', dataDir], withoutToken)
  expect(await allowed(second, key)).toBe(200)
  second.signal('SIGINT')
  const said = await second.ended
  expect(said.stdout + said.stderr).not.toContain(key)
})

test('a server for people says where everything is, and no secret', async () => {
  const dataDir = shop.path('keyed')
  const started = shop.start(['up', '--port', '0', '--data-dir', dataDir])
  await until('the server is ready', async () => started.output().stdout.includes('Ctrl-C'))
  expect(started.output().stdout).toMatch(/^Legwork is ready: http:\/\/127\.0\.0\.1:[0-9]+$/m)
  expect(started.output().stdout).toContain(`legwork verify --data-dir ${dataDir}`)
  expect(started.output().stdout).toContain('The admin key is that of LEGWORK_ADMIN_TOKEN')
  started.signal('SIGTERM')
  expect(await started.ended).toMatchObject({ status: 0 })
})

test('F-3 no secret is in anything that was said', async () => {
  server.signal('SIGTERM')
  expect(await server.ended).toMatchObject({ status: 0 })
  const transcript = shop.transcript()
  expect(transcript).not.toContain(ADMIN_KEY)
  for (const folder of ['books', 'keyed', 'neighbour']) {
    expect(transcript).not.toContain((await readFile(shop.path(`${folder}/postgres.secret`), 'utf8')).trim())
  }
  for (const folder of ['keyed', 'neighbour']) {
    const key = (await readFile(shop.path(`${folder}/admin.key`), 'utf8')).trim()
    expect(transcript.split(key)).toHaveLength(2)
  }
  expect(transcript).not.toMatch(/^\s+at .*[(:]/m)
})
