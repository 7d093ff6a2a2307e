import { tmpdir } from 'node:os'
import type { InjectOptions } from 'fastify'
import type { App } from '../../src/api/app.ts'
import type { Authenticate, Principal, Role } from '../../src/api/auth.ts'
import { createKeyServices } from '../../src/api/keys/plugin.ts'
import { createServer } from '../../src/api/server.ts'
import { systemClock } from '../../src/clock.ts'
import { type Config, loadConfig } from '../../src/config.ts'
import type { Market } from '../../src/core/market.ts'
import type { Rail } from '../../src/core/settlement.ts'
import type { Database } from '../../src/db.ts'
import { createLogger } from '../../src/log.ts'
import { createSettlement, type SettlementService } from '../../src/main.ts'
import { createAccessStore } from '../../src/store/pg-access-store.ts'
import { BTC_USDT, BUYER, FEES } from './trades.ts'

/** The API on a real database, settling on the built-in ledger; requests go in without a socket. */
export interface TestApi {
  readonly app: App
  readonly settlement: SettlementService
  /** As an operator, unless another role is named. */
  get(path: string, role?: Role): Promise<Answer>
  /** As an operator; as an admin where money comes in or goes out. */
  post(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>
  close(): Promise<void>
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  /** Whatever JSON came, for tests to look into. */
  readonly body: ReturnType<typeof JSON.parse>
}

const PRINCIPALS: ReadonlyMap<string, Principal> = new Map([
  ['viewer-key', { role: 'viewer', userId: null, name: 'viewer' }],
  ['trader-key', { role: 'trader', userId: BUYER, name: 'trader' }],
  ['operator-key', { role: 'operator', userId: null, name: 'operator' }],
  ['admin-key', { role: 'admin', userId: null, name: 'admin' }],
])

/** The key of a role is `ROLE-key`; the trader is `BUYER`. */
export const authenticate: Authenticate = async key => PRINCIPALS.get(key) ?? null

/** A market whose notional has more places than its quote asset, so that it may round to nothing. */
export const TINY_JPY: Market = {
  ...BTC_USDT,
  symbol: 'TINY/JPY',
  base: { code: 'TINY', scale: 8 },
  quote: { code: 'JPY', scale: 0 },
  tickSize: '1',
  rounding: 'half_even',
}

export async function createTestApi(database: Database, rail: Rail): Promise<TestApi> {
  const base = testConfig()
  const settlement = await createSettlement({
    config: { ...base, settlement: { ...base.settlement, rail } },
    opened: { database, server: null, close: async () => {} },
    log: createLogger('silent'),
    waitsForRoom: false,
  })
  const { books, instruments, link } = settlement
  const clock = systemClock()
  settlement.pool.start()
  await settlement.orders.start()
  const app = createServer({
    authenticate,
    keys: createKeyServices(createAccessStore(database), clock),
    notReady: () =>
      database.query('select 1').then(
        () => [],
        () => ['database'],
      ),
    log: createLogger('silent'),
    version: '0.0.0',
    trades: { ...settlement, clock, feeUserId: FEES },
    orders: { ...settlement, clock },
    admin: { ...settlement, clock, walletStatus: () => link.status() },
    wallet: books === null ? null : { wallet: books, assets: instruments.assets },
  })
  return {
    app,
    settlement,
    get: (path, role = 'operator') => call(app, { method: 'GET', url: path, headers: bearer(role) }),
    post: (path, body, headers = {}) =>
      call(app, {
        method: 'POST',
        url: path,
        headers: { ...bearer(movesOutside(body) ? 'admin' : 'operator'), ...headers },
        payload: body as object,
      }),
    close: async () => {
      await app.close()
      await settlement.orders.stop()
      await settlement.pool.stop(10_000)
    },
  }
}

function movesOutside(body: unknown): boolean {
  return /"reason":"(?:DEPOSIT|WITHDRAWAL)"/.test(JSON.stringify(body) ?? '')
}

export function bearer(role: Role): { readonly authorization: string } {
  return { authorization: `Bearer ${role}-key` }
}

export async function call(app: App, request: InjectOptions): Promise<Answer> {
  const { statusCode, headers, payload } = await app.inject(request)
  return { status: statusCode, headers, body: payload === '' ? null : JSON.parse(payload) }
}

function testConfig(): Config {
  const { config } = loadConfig({ path: null, env: {}, flags: {}, cwd: tmpdir() })
  return {
    ...config,
    assets: [BTC_USDT.base, BTC_USDT.quote, TINY_JPY.base, TINY_JPY.quote],
    markets: [BTC_USDT, TINY_JPY],
    // Looked at often, so that no test waits for a second.
    settlement: { ...config.settlement, feeUserId: FEES, pollMs: 20, retryBackoffMs: 1, undoBackoffMs: 1 },
  }
}
