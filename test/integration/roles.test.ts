/** Who may call what: every route of every server, with a key of every role, over HTTP. */
import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKeyOnly } from '../../src/api/auth.ts'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/log.ts'
import { createLedgerWalletService, createMemoryWalletService } from '../../src/wallet-service/service.ts'
import { createTestApi } from '../support/api.ts'
import { createTestDatabase } from '../support/database.ts'
import { answersIn, openRaw, request } from '../support/raw-http.ts'

const ADMIN = 'admin-key'
const USER = randomUUID()
const ROLES = ['viewer', 'trader', 'operator', 'admin'] as const
type Role = (typeof ROLES)[number]

/** The roles that may call it; where a trader's own things are meant, its routes say so. */
const READ: readonly Role[] = ['viewer', 'operator', 'admin']
const READ_OWN: readonly Role[] = [...READ, 'trader']
const ANYBODY: readonly Role[] = [...READ, 'trader']
const OPERATE: readonly Role[] = ['operator', 'admin']
const OPERATE_OWN: readonly Role[] = [...OPERATE, 'trader']
const ADMINISTER: readonly Role[] = ['admin']

/** What every route may be called by, said here once more, and how to call it so that nothing but the role is in the way. */
const ROUTES: Readonly<Record<string, readonly [may: readonly Role[], query?: string]>> = {
  'GET /v1/trades': [READ_OWN],
  'GET /v1/trades/{id}': [READ_OWN],
  'POST /v1/trades': [OPERATE],
  'GET /v1/orders': [READ_OWN],
  'POST /v1/orders': [OPERATE_OWN],
  'DELETE /v1/orders': [OPERATE_OWN],
  'POST /v1/orders/batch': [OPERATE_OWN],
  'GET /v1/orders/stream': [READ_OWN, '?user_id=me'],
  'GET /v1/orders/{id}': [READ_OWN],
  'PATCH /v1/orders/{id}': [OPERATE_OWN],
  'DELETE /v1/orders/{id}': [OPERATE_OWN],
  'GET /v1/orders/by-client-id/{user_id}/{client_order_id}': [READ_OWN],
  'DELETE /v1/orders/by-client-id/{user_id}/{client_order_id}': [OPERATE_OWN],
  'GET /v1/markets': [ANYBODY],
  'GET /v1/markets/{market}/book': [ANYBODY],
  'GET /v1/markets/{market}/trades': [ANYBODY],
  'GET /v1/markets/{market}/stream': [ANYBODY],
  'POST /v1/admin/markets/{market}/halt': [OPERATE],
  'POST /v1/admin/markets/{market}/resume': [OPERATE],
  'GET /v1/balances/{user_id}/{currency}': [READ_OWN],
  'GET /v1/entries': [READ_OWN, `?user_id=${USER}&currency=BTC`],
  'GET /v1/entries/export': [READ_OWN, `?format=ndjson&user_id=${USER}&currency=BTC`],
  'GET /v1/totals': [READ],
  'GET /v1/capabilities': [READ],
  'GET /v1/operations/{key}': [READ],
  'POST /v1/debits': [OPERATE],
  'POST /v1/credits': [OPERATE],
  'POST /v1/reversals': [OPERATE],
  'POST /v1/holds': [OPERATE],
  'POST /v1/holds/release': [OPERATE],
  'POST /v1/batch': [OPERATE],
  'POST /v1/settlements': [OPERATE],
  'GET /v1/admin/status': [READ],
  'GET /v1/admin/audit-log': [READ],
  'GET /v1/admin/dead-letters': [READ],
  'GET /v1/admin/dead-letters/{trade_id}': [READ],
  'POST /v1/admin/dead-letters/{trade_id}/retry': [OPERATE],
  'POST /v1/admin/dead-letters/{trade_id}/resolve': [OPERATE],
  'POST /v1/admin/dead-letters/retry': [OPERATE],
  'GET /v1/admin/bulk-retries/{id}': [READ],
  'GET /v1/admin/bulk-retries/{id}/items': [READ],
  'POST /v1/admin/settlement/pause': [OPERATE],
  'POST /v1/admin/settlement/resume': [OPERATE],
  'POST /v1/admin/keys': [ADMINISTER],
  'GET /v1/admin/keys': [ADMINISTER],
  'POST /v1/admin/keys/{id}/revoke': [ADMINISTER],
  'GET /v1/faults': [OPERATE],
  'PUT /v1/faults': [OPERATE],
  'GET /v1/faults/log': [OPERATE],
}
const KEYLESS = ['GET /livez', 'GET /readyz']

interface Server {
  readonly name: string
  readonly url: string
  /** A key of each role; the memory wallet has none. */
  readonly keys: ReadonlyMap<Role, string>
}

const closing: (() => Promise<unknown>)[] = []
let servers: readonly Server[] = []

beforeAll(async () => {
  servers = await Promise.all([settlementServer(), walletServer(), memoryServer()])
})
afterAll(async () => {
  for (const close of closing.toReversed()) await close()
})

async function settlementServer(): Promise<Server> {
  const db = await createTestDatabase()
  closing.push(() => db.drop())
  const api = await createTestApi(db.database, 'atomic')
  closing.push(() => api.close())
  const url = await api.app.listen({ host: '127.0.0.1', port: 0 })
  return { name: 'up', url, keys: await keysOf(url) }
}

const { config } = loadConfig({ path: null, env: {}, flags: {}, cwd: tmpdir() })
const authenticate = adminKeyOnly(key => key === ADMIN)
const service = { config, level: 'settlements', authenticate, log: createLogger('silent'), version: '0' } as const
const ANYWHERE = { host: '127.0.0.1', port: 0 } as const

async function walletServer(): Promise<Server> {
  const db = await createTestDatabase()
  closing.push(() => db.drop())
  const wallet = await createLedgerWalletService({ ...service, database: db.database })
  closing.push(() => wallet.close())
  const url = await wallet.listen(ANYWHERE)
  return { name: 'wallet', url, keys: await keysOf(url) }
}

async function memoryServer(): Promise<Server> {
  const wallet = await createMemoryWalletService({ ...service, faults: null })
  closing.push(() => wallet.close())
  return { name: 'wallet --memory', url: await wallet.listen(ANYWHERE), keys: new Map() }
}

async function keysOf(url: string): Promise<ReadonlyMap<Role, string>> {
  const keys = new Map<Role, string>()
  for (const role of ROLES) {
    const body = role === 'trader' ? { role, user_id: USER } : { role }
    const made = await ask(url, 'POST', '/v1/admin/keys', ADMIN, body)
    expect(made.status).toBe(201)
    keys.set(role, made.body.key)
  }
  return keys
}

async function ask(url: string, method: string, path: string, key: string | null, body?: object) {
  const answer = await fetch(`${url}${path}`, {
    method,
    headers: {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  const type = answer.headers.get('content-type') ?? ''
  return { status: answer.status, type, body: (text === '' ? null : JSON.parse(text)) as ReturnType<typeof JSON.parse> }
}

async function routesOf({ url }: Server): Promise<readonly string[]> {
  const { body } = await ask(url, 'GET', '/openapi.json', null)
  const paths = Object.entries(body.paths as Record<string, object>)
  return paths
    .flatMap(([path, methods]) => Object.keys(methods).map(method => `${method.toUpperCase()} ${path}`))
    .filter(route => !KEYLESS.includes(route))
}

/** A call that the route finds something wrong with, or nothing to do for; never that it may not be made. */
async function callRoute(server: Server, route: string, key: string | null) {
  const [method = '', path = ''] = route.split(' ')
  const target = path
    .replace('{user_id}', USER)
    .replace('{currency}', 'BTC')
    .replace(/\{[^}]+\}/, randomUUID())
  return await ask(server.url, method, `${target}${ROUTES[route]?.[1] ?? ''}`, key, method === 'GET' ? undefined : {})
}

test('every route of every server is in the table, and says so in the API’s description', async () => {
  const seen = new Set<string>()
  for (const server of servers) {
    for (const route of await routesOf(server)) {
      expect(Object.keys(ROUTES), `${server.name}: who may call ${route} is said nowhere`).toContain(route)
      seen.add(route)
    }
    const { body } = await ask(server.url, 'GET', '/openapi.json', null)
    for (const route of await routesOf(server)) {
      const [method = '', path = ''] = route.split(' ')
      const described = body.paths[path][method.toLowerCase()]
      const may = ROUTES[route]?.[0] ?? []
      const least = may.find(role => role !== 'trader')
      const traders = may === ANYBODY ? 'all' : may.includes('trader') ? 'own' : undefined
      expect([route, described['x-least-role'], described['x-traders']]).toEqual([route, least, traders])
    }
  }
  expect([...seen].toSorted()).toEqual(Object.keys(ROUTES).toSorted())
})

test('a key of each role, on each route of a server with a database', async () => {
  for (const server of servers.filter(({ keys }) => keys.size > 0)) {
    for (const route of await routesOf(server)) {
      for (const role of ROLES) {
        const [may] = ROUTES[route] ?? [[]]
        const { status, type, body } = await callRoute(server, route, server.keys.get(role) ?? '')
        const what = `${server.name}: ${route} with a key of the role ${role} is ${status}`
        if (may.includes(role)) {
          expect([401, 403, 429, 500, 503], what).not.toContain(status)
          continue
        }
        expect([status, body.code], what).toEqual([403, 'FORBIDDEN'])
        expect(type).toContain('application/problem+json')
        const least = may.find(each => each !== 'trader')
        expect(body.detail, what).toBe(`this needs the role ${least}; the key has ${role}`)
      }
    }
  }
})

test('no key and a wrong key are 401 on each route', async () => {
  for (const server of servers) {
    for (const route of await routesOf(server)) {
      for (const key of [null, 'nobody', `lw_${'x'.repeat(43)}`]) {
        const { status, type, body } = await callRoute(server, route, key)
        expect([status, body.code], `${server.name}: ${route}`).toEqual([401, 'UNAUTHORIZED'])
        expect(type).toContain('application/problem+json')
      }
    }
  }
})

test('a key that is revoked is refused on the connection on which it was good', async () => {
  for (const { name, url } of servers.filter(({ keys }) => keys.size > 0)) {
    const { body: made } = await ask(url, 'POST', '/v1/admin/keys', ADMIN, { role: 'operator' })
    const raw = await openRaw(url)
    const statuses = async (count: number) => {
      raw.send(request('GET', `/v1/balances/${USER}/BTC`, undefined, { authorization: `Bearer ${made.key}` }))
      expect(await raw.until(text => answersIn(text).length === count)).toBe(true)
      return answersIn(raw.received()).map(({ status }) => status)
    }
    expect(await statuses(1)).toEqual([200])
    expect(await statuses(2), name).toEqual([200, 200])
    expect((await ask(url, 'POST', `/v1/admin/keys/${made.id}/revoke`, ADMIN, {})).status).toBe(200)
    expect(await statuses(3), name).toEqual([200, 200, 401])
    raw.close()
  }
})

describe('the wallet in memory', () => {
  test('takes the admin key on each route, and says why it takes no other', async () => {
    const [server, up] = [servers[2], servers[0]]
    if (server === undefined || up === undefined) throw new Error('there are three servers')
    for (const route of await routesOf(server)) {
      expect([401, 403], route).not.toContain((await callRoute(server, route, ADMIN)).status)
      const other = await callRoute(server, route, up.keys.get('admin') ?? '')
      expect(other).toMatchObject({ status: 401, body: { detail: expect.stringContaining('the admin key alone') } })
    }
    const made = await ask(server.url, 'POST', '/v1/admin/keys', ADMIN, { role: 'viewer' })
    expect(made).toMatchObject({
      status: 404,
      body: { detail: expect.stringContaining('no database to keep keys in') },
    })
  })
})
