/** `GET /v1/entries/export` over HTTP, of the ledger and of the memory wallet behind its lean server alike. */
import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/log.ts'
import {
  createLedgerWalletService,
  createMemoryWalletService,
  type WalletService,
} from '../../src/wallet-service/service.ts'
import { authenticate, bearer } from '../support/api.ts'
import { createTestDatabase } from '../support/database.ts'
import { openRaw, request } from '../support/raw-http.ts'
import { BUYER, SELLER } from '../support/trades.ts'

type Entry = Readonly<Record<string, string | number | null>>

const { config } = loadConfig({ path: null, env: {}, flags: {}, cwd: tmpdir() })
const service = { config, level: 'settlements', authenticate, log: createLogger('silent'), version: '0' } as const

async function openLedger(): Promise<WalletService> {
  const db = await createTestDatabase()
  const ledger = await createLedgerWalletService({ ...service, database: db.database })
  return { ...ledger, close: () => ledger.close().then(() => db.drop()) }
}

const openMemory = (): Promise<WalletService> => createMemoryWalletService({ ...service, faults: null })

const HEAD = 'id,key,leg,trade_id,user_id,currency,amount,balance_after,reason,at'
const TRADE = randomUUID()
const MANY = 2100
/** Of the one who has many. */
const BUSY = '00000000-0000-4000-8000-0000000000ff'
const KEYS = ['=1+1', 'a,b', 'say "no"', ' spaces ', `+-@;'`, `${TRADE}:0:fee`]

describe.each([
  ['the ledger', openLedger],
  ['the wallet in memory', openMemory],
])('of %s', (_name, open) => {
  let wallet: WalletService
  let url = ''

  beforeAll(async () => {
    wallet = await open()
    url = await wallet.listen({ host: '127.0.0.1', port: 0 })
    for (const key of KEYS) {
      await post('/v1/batch', { operations: [credit(key, BUYER, 'USDT'), credit(`${key} `, SELLER, 'BTC')] })
    }
    const leg = (type: string, user_id: string, currency: string, amount: string): object => ({
      ...{ type, user_id, currency, amount, reason: 'TRADE_SETTLEMENT' },
    })
    const legs = [
      leg('debit', BUYER, 'USDT', '0.5'),
      leg('credit', SELLER, 'USDT', '0.5'),
      leg('debit', SELLER, 'BTC', '0.00000001'),
      leg('credit', BUYER, 'BTC', '0.00000001'),
    ]
    await post('/v1/settlements', { settlements: [{ key: `${TRADE}:0`, trade_id: TRADE, legs }] })
    for (let at = 0; at < MANY; at += 1000) {
      const keys = Array.from({ length: Math.min(1000, MANY - at) }, (_, index) => `busy ${at + index}`)
      await post('/v1/batch', { operations: keys.map(key => credit(key, BUSY, 'USDT')) })
    }
  })
  afterAll(async () => {
    await wallet?.close()
  })

  function credit(key: string, user_id: string, currency: string): object {
    return { type: 'credit', key, user_id, currency, amount: '1.50', reason: 'DEPOSIT' }
  }

  async function post(path: string, body: object): Promise<void> {
    const headers = { ...bearer('admin'), 'content-type': 'application/json' }
    const answer = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
    const { results } = (await answer.json()) as { readonly results: readonly { readonly status: string }[] }
    expect(results.every(({ status }) => status === 'applied' || status === 'settled')).toBe(true)
  }

  const get = (path: string, role: Parameters<typeof bearer>[0] = 'viewer'): Promise<Response> =>
    fetch(`${url}${path}`, { headers: bearer(role) })

  async function ndjson(query: string): Promise<readonly Entry[]> {
    const answer = await get(`/v1/entries/export?format=ndjson${query}`)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('application/x-ndjson')
    const text = await answer.text()
    expect(text === '' || text.endsWith('\n')).toBe(true)
    return text
      .split('\n')
      .slice(0, -1)
      .map(line => JSON.parse(line))
  }

  async function listed(query: string): Promise<readonly Entry[]> {
    const entries: Entry[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const answer = await get(`/v1/entries?limit=1000${query}${cursor === '' ? '' : `&cursor=${cursor}`}`)
      const page = (await answer.json()) as { readonly entries: readonly Entry[]; readonly next_cursor: string | null }
      entries.push(...page.entries)
      cursor = page.next_cursor
    }
    return entries
  }

  test('an account, and a trade, are what the list has of them, whatever their length', async () => {
    const busy = `&user_id=${BUSY}&currency=USDT`
    const exported = await ndjson(busy)
    expect(exported).toHaveLength(MANY)
    expect(exported).toEqual(await listed(busy))
    for (const query of [
      `&trade_id=${TRADE}`,
      `&trade_id=${TRADE.toUpperCase()}`,
      `&user_id=${BUYER.toUpperCase()}&currency=USDT`,
      `&user_id=${SELLER}&currency=BTC`,
      `&user_id=${randomUUID()}&currency=BTC`,
      `&user_id=${BUYER}&currency=DOGE`,
      `&trade_id=${randomUUID()}`,
    ]) {
      expect(await ndjson(query), query).toEqual(await listed(query))
    }
    expect(await ndjson(`&trade_id=${TRADE}`)).toHaveLength(4)
  })

  test('all entries come account by account, each once', async () => {
    const all = await ndjson('')
    const accounts: readonly (readonly [string, string])[] = [
      [SELLER, 'BTC'],
      [SELLER, 'USDT'],
      [BUYER, 'BTC'],
      [BUYER, 'USDT'],
      [BUSY, 'USDT'],
    ]
    const lists = await Promise.all(accounts.map(([user, code]) => listed(`&user_id=${user}&currency=${code}`)))
    expect(all).toEqual(lists.flat())
  })

  test('CSV has a header, an empty field for null, and keys as they are', async () => {
    const answer = await get(`/v1/entries/export?user_id=${BUYER}&currency=USDT`)
    expect(answer.headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present')
    expect(answer.headers.get('content-disposition')).toBe('attachment; filename="entries.csv"')
    const text = await answer.text()
    const entries = await ndjson(`&user_id=${BUYER}&currency=USDT`)
    expect(text.endsWith('\r\n')).toBe(true)
    expect(recordsOf(text)).toEqual([
      HEAD.split(','),
      ...entries.map(entry => Object.values(entry).map(value => (value === null ? '' : String(value)))),
    ])
    expect(Object.keys(entries[0] ?? {}).join(',')).toBe(HEAD)
    expect(entries.map(({ key }) => key)).toEqual([...KEYS, `${TRADE}:0`])
    expect(text).toContain(`,"say ""no""",,,${BUYER},USDT,1.5,`)
    expect(text).toContain(`,${TRADE}:0,0,${TRADE},${BUYER},USDT,-0.5,`)
    const nothing = await get(`/v1/entries/export?format=csv&trade_id=${randomUUID()}`)
    expect(await nothing.text()).toBe(`${HEAD}\r\n`)
  })

  test('from and until bound the time, the first included and the second not', async () => {
    const account = `&user_id=${BUSY}&currency=USDT`
    for (const query of [account, '', `&trade_id=${TRADE}`]) {
      const all = await ndjson(query)
      const times = all.map(({ at }) => String(at)).toSorted()
      const [from = '', until = ''] = [times[Math.floor(times.length / 3)], times.at(-1)]
      const bounded = await ndjson(`${query}&from=${from}&until=${encodeURIComponent(until.replace('Z', '+00:00'))}`)
      expect(bounded).toEqual(all.filter(({ at }) => String(at) >= from && String(at) < until))
      expect(await ndjson(`${query}&from=${from}`)).toEqual(all.filter(({ at }) => String(at) >= from))
      expect(await ndjson(`${query}&until=${from}`)).toEqual(all.filter(({ at }) => String(at) < from))
      expect(await ndjson(`${query}&until=2000-01-01T00:00:00Z`)).toEqual([])
      expect(await ndjson(`${query}&from=9999-01-01T00:00:00Z`)).toEqual([])
    }
  })

  test.each([
    ['format=xml', '/format'],
    ['format=CSV', '/format'],
    ['user_id=me&currency=BTC', '/user_id'],
    ['trade_id=1', '/trade_id'],
    [`user_id=${BUYER}&currency=btc`, '/currency'],
    [`user_id=${BUYER}`, ''],
    ['currency=BTC', ''],
    [`trade_id=${TRADE}&user_id=${BUYER}&currency=BTC`, ''],
    [`trade_id=${TRADE}&currency=BTC`, ''],
    ['from=yesterday', '/from'],
    ['until=2026-02-30T00:00:00Z', '/until'],
    ['from=2026-01-01T00:00:00', '/from'],
    ['limit=5', '/limit'],
  ])('%s is refused, with a pointer', async (query, pointer) => {
    const answer = await get(`/v1/entries/export?${query}`)
    expect(answer.headers.get('content-type')).toContain('application/problem+json')
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      { code: 'INVALID_REQUEST', errors: [{ pointer }] },
    ])
  })

  test('a trader has what is its own alone, and who has no key nothing', async () => {
    const own = await get(`/v1/entries/export?format=ndjson&user_id=${BUYER}&currency=USDT`, 'trader')
    expect((await own.text()).split('\n')).toHaveLength(KEYS.length + 2)
    const others = await get(`/v1/entries/export?format=ndjson&user_id=${SELLER}&currency=BTC`, 'trader')
    expect([others.status, await others.text()]).toEqual([200, ''])
    for (const query of ['', `?trade_id=${TRADE}`]) {
      const answer = await get(`/v1/entries/export${query}`, 'trader')
      expect([answer.status, await answer.json()]).toMatchObject([403, { code: 'FORBIDDEN' }])
    }
    expect((await fetch(`${url}/v1/entries/export`)).status).toBe(401)
  })

  test('HTTP/1.0, which has no end but that of the connection, gets none', async () => {
    const raw = await openRaw(url)
    raw.send(request('GET', '/v1/entries/export', undefined, bearer('viewer')).replace('HTTP/1.1', 'HTTP/1.0'))
    expect(await raw.ended()).toBe(true)
    expect(raw.received()).toMatch(/^HTTP\/1\.1 505 /)
  })

  test('other requests follow an export on its connection', async () => {
    const raw = await openRaw(url)
    const trade = request('GET', `/v1/entries/export?trade_id=${TRADE}`, undefined, bearer('viewer'))
    const balance = request('GET', `/v1/balances/${BUYER}/BTC`, undefined, bearer('admin'))
    raw.send(balance + trade + balance)
    expect(await raw.until(received => (received.match(/"total":"0.00000001"\}/g) ?? []).length === 2)).toBe(true)
    expect(raw.received()).toContain(HEAD)
    raw.close()
  })
})

/** The records of a CSV text, read by RFC 4180 and nothing else. */
function recordsOf(text: string): readonly (readonly string[])[] {
  const fields = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/y
  const records: string[][] = [[]]
  for (let field = fields.exec(text); field !== null; field = fields.exec(text)) {
    records.at(-1)?.push(field[1]?.replaceAll('""', '"') ?? field[2] ?? '')
    if (field[3] === '\r\n') records.push([])
    if (fields.lastIndex === text.length) break
  }
  return records.slice(0, -1)
}
