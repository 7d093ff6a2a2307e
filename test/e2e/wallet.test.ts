import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ADMIN_KEY, openWorkshop, type UpServer, until, type Workshop } from '../support/process.ts'
import { answersIn, openRaw, request } from '../support/raw-http.ts'
import { BUYER, SELLER } from '../support/trades.ts'

let shop: Workshop

beforeAll(async () => {
  shop = await openWorkshop()
})
afterAll(async () => {
  await shop.close()
})

const AUTH = { authorization: `Bearer ${ADMIN_KEY}` }
const TRADE = '00000000-0000-4000-9000-0000000000e3'
const CREDIT = { user_id: BUYER, currency: 'USDT', amount: '1', reason: 'DEPOSIT' }

async function credited(server: UpServer, key: string) {
  return await server.post('/v1/credits', CREDIT, { 'idempotency-key': key })
}

async function ends(server: UpServer, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  server.signal(signal)
  expect(await server.ended).toMatchObject({ status: 0 })
}

test('the wallet in memory is ready at once, serves the protocol alone, and leaves nothing', async () => {
  const server = await shop.wallet(['--memory', '--data-dir', shop.path('unused')])
  expect(JSON.parse(server.output().stdout)).toEqual({
    event: 'ready',
    url: server.url,
    wallet_url: server.url,
    pid: server.pid,
  })
  expect(await credited(server, 'first')).toMatchObject({ status: 201, body: { balance_after: '1', replayed: false } })
  expect(await credited(server, 'first')).toMatchObject({ status: 200, body: { replayed: true } })
  expect(await server.get(`/v1/balances/${BUYER}/USDT`)).toMatchObject({ status: 200, body: { total: '1' } })
  expect(await server.get('/v1/trades')).toMatchObject({ status: 404 })
  expect(await server.get('/readyz')).toMatchObject({ status: 200 })
  await ends(server)
  expect(server.output().stderr).toBe('')
  await expect(writeFile(shop.path('unused/x'), '')).rejects.toThrow('ENOENT')
})

const LEVELS = [
  ['basic', [404, 404, 404, 404]],
  ['reversals', [200, 200, 404, 404]],
  ['batch', [200, 200, 200, 404]],
  ['settlements', [200, 200, 200, 200]],
] as const

test('--level offers that level, and no more', async () => {
  await Promise.all(LEVELS.map(([level, statuses]) => expectLevel(level, statuses)))
})

test('--no-holds offers none', async () => {
  for (const [args, holds] of [
    [[], true],
    [['--no-holds'], false],
  ] as const) {
    const server = await shop.wallet(['--memory', ...args])
    expect((await server.get('/v1/capabilities')).body).toMatchObject({ holds })
    expect((await server.post('/v1/holds', {})).status).toBe(holds ? 400 : 404)
    await ends(server, 'SIGINT')
  }
})

async function expectLevel(level: string, statuses: readonly number[]): Promise<void> {
  const server = await shop.wallet(['--memory', '--level', level])
  const got = await Promise.all([
    server.get('/v1/capabilities'),
    server.post('/v1/reversals', { key: 'never' }),
    server.post('/v1/batch', { operations: [] }),
    server.post('/v1/settlements', { settlements: [] }),
  ])
  expect(got.map(({ status }) => status)).toEqual(statuses)
  if (level !== 'basic') expect(JSON.stringify(got[0]?.body)).toMatch(new RegExp(`"${level}"\\],"holds"`))
  // At level 0 a refusal is not remembered: the same call succeeds once there is enough.
  const debit = { user_id: BUYER, currency: 'USDT', amount: '1', reason: 'TRADE_SETTLEMENT', trade_id: TRADE }
  const debited = async () => await server.post('/v1/debits', debit, { 'idempotency-key': 'early' })
  expect(await debited()).toMatchObject({ status: 422 })
  await credited(server, 'funds')
  expect(await debited()).toMatchObject({ status: level === 'basic' ? 201 : 422 })
  await ends(server, 'SIGINT')
}

test('faults: from a file, refused with its place where it is broken', async () => {
  await writeFile(shop.path('broken.yaml'), 'rules:\n  - fault: cut\n    when: sometimes\n')
  const broken = await shop.run(['wallet', '--memory', '--faults', 'broken.yaml'])
  expect(broken).toMatchObject({ status: 4, stdout: '' })
  expect(broken.stderr).toContain('broken.yaml:3:11: faults.rules[0].when: not allowed (got "sometimes")')
  expect(await shop.run(['wallet', '--memory', '--faults', 'nowhere.yaml'])).toMatchObject({ status: 4 })
  expect(await shop.run(['wallet', '--faults', 'broken.yaml'])).toMatchObject({ status: 2 })

  await writeFile(shop.path('cut.yaml'), 'rules:\n  - { attempt: 1, fault: cut, when: after }\n')
  const server = await shop.wallet(['--memory', '--faults', 'cut.yaml'])
  const raw = await openRaw(server.url)
  raw.send(request('POST', '/v1/credits', CREDIT, { ...AUTH, 'idempotency-key': 'cut' }))
  expect(await raw.ended()).toBe(true)
  expect(raw.received()).toBe('')
  expect(await credited(server, 'cut')).toMatchObject({ status: 200, body: { replayed: true } })
  expect(await server.get('/v1/faults/log')).toMatchObject({
    body: { applied: 1, faults: [{ key: 'cut', attempt: 1 }] },
  })
  await ends(server)
})

test('F-5 on PostgreSQL, killed under load and started again: what was answered is there, once', async () => {
  const args = ['--data-dir', shop.path('ledger')]
  const first = await shop.wallet(args)
  await first.post('/v1/credits', { ...CREDIT, amount: '1000000' }, { 'idempotency-key': 'funds' })
  const acknowledged = await loadUntilKilled(first)
  expect(acknowledged.size).toBeGreaterThan(20)

  const second = await shop.wallet(args)
  const { body } = await second.get('/v1/totals')
  expect(conservedIn(body)).toBe(true)
  const keys = [...acknowledged]
  const again = await Promise.all(keys.map(key => settle(second, key)))
  expect(again.every(({ body: said }) => JSON.stringify(said).includes('"settled","replayed":true'))).toBe(true)
  // Once each, and besides them at most what was under way when it was killed.
  const { body: paid } = await second.get(`/v1/balances/${SELLER}/USDT`)
  const moved = Number((paid as { readonly total: string }).total)
  expect(moved).toBeGreaterThanOrEqual(acknowledged.size)
  expect(moved).toBeLessThanOrEqual(acknowledged.size + LANES)
  const { body: left } = await second.get(`/v1/balances/${BUYER}/USDT`)
  expect(Number((left as { readonly total: string }).total) + moved).toBe(1_000_000)
  expect(conservedIn((await second.get('/v1/totals')).body)).toBe(true)
  await ends(second)
})

const LANES = 8

async function settle(server: UpServer, key: string) {
  const leg = (type: string, user_id: string) => ({
    type,
    user_id,
    currency: 'USDT',
    amount: '1',
    reason: 'TRADE_SETTLEMENT',
  })
  const settlements = [{ key, trade_id: TRADE, legs: [leg('debit', BUYER), leg('credit', SELLER)] }]
  return await server.post('/v1/settlements', { settlements })
}

/** Calls on some lanes until the process is killed in the middle of it; gives the keys whose calls were answered. */
async function loadUntilKilled(server: UpServer): Promise<ReadonlySet<string>> {
  const acknowledged = new Set<string>()
  let made = 0
  const lane = async (): Promise<void> => {
    while (!server.hasEnded()) {
      const key = `load-${made++}`
      const answer = await settle(server, key).catch(() => null)
      if (answer?.status === 200) acknowledged.add(key)
    }
  }
  const lanes = Array.from({ length: LANES }, lane)
  await until('there is load', async () => acknowledged.size > 200)
  server.signal('SIGKILL')
  await Promise.all(lanes)
  return acknowledged
}

function conservedIn(body: unknown): boolean {
  const { totals } = body as { readonly totals: readonly Readonly<Record<string, string>>[] }
  return totals.every(({ balances, clearing, deposits, withdrawals }) => {
    return Number(balances) + Number(clearing) === Number(deposits) - Number(withdrawals)
  })
}

test('SIGTERM answers what is under way, and waits for nothing that a script has put off', async () => {
  await writeFile(
    shop.path('slow.yaml'),
    `rules:
  - { key: slow, fault: slow, ms: 700 }
  - { key: late, fault: late, ms: 3600000, answer: cut }
  - { key: silent, fault: no_answer }
`,
  )
  const server = await shop.wallet(['--memory', '--faults', 'slow.yaml'])
  const [slow, late, silent] = await Promise.all(['slow', 'late', 'silent'].map(() => openRaw(server.url)))
  const credit = (key: string) => request('POST', '/v1/credits', CREDIT, { ...AUTH, 'idempotency-key': key })
  late?.send(credit('late'))
  silent?.send(credit('silent'))
  slow?.send(credit('slow'))
  await until('all faults are applied', async () => {
    const { body } = await server.get('/v1/faults/log')
    return JSON.stringify(body).startsWith('{"applied":3,')
  })
  await ends(server)
  expect(answersIn(slow?.received() ?? '')).toMatchObject([{ status: 201, headers: { connection: 'close' } }])
  expect(await silent?.ended()).toBe(true)
})
