import { afterEach, expect, test } from 'vitest'
import { ASSETS, BUYER, FEES } from '../../../test/support/trades.ts'
import { systemClock } from '../../clock.ts'
import { createLogger } from '../../log.ts'
import { createMemoryWallet } from '../../wallet/memory-wallet.ts'
import type { App } from '../app.ts'
import type { Authenticate, Found, Principal } from '../auth.ts'
import { callerCheck } from '../hot/hot-routes.ts'
import type { Answer } from '../lean/answer.ts'
import type { Handle } from '../lean/connection.ts'
import type { WireRequest } from '../lean/request-reader.ts'
import { createServer } from '../server.ts'
import { hotHandler } from './hot-routes.ts'

const ADMIN: Principal = { role: 'admin', userId: null, name: 'admin' }
const OPERATOR: Principal = { role: 'operator', userId: null, name: 'operator:1', keyId: '1' }

let app: App | null = null
afterEach(async () => {
  await app?.close()
  app = null
})

/** A connection to the memory wallet; every key that is asked for is noted. */
async function connected(
  answer: (key: string) => Found | Promise<Found>,
): Promise<{ handle: Handle; asked: string[] }> {
  const asked: string[] = []
  const authenticate: Authenticate = key => {
    asked.push(key)
    return answer(key)
  }
  const log = createLogger('silent')
  const wallet = createMemoryWallet({ assets: ASSETS, clock: systemClock(), feeUserId: FEES })
  const notReady = async (): Promise<readonly string[]> => []
  const made = createServer({
    ...{ authenticate, notReady, log, version: '0', trades: null },
    wallet: { wallet, assets: ASSETS },
  })
  app = made
  await made.ready()
  const connect = await hotHandler({ app: made, authenticate, notReady, services: { wallet, assets: ASSETS } })
  return { handle: connect(), asked }
}

function balance(key: string): WireRequest {
  return {
    method: 'GET',
    target: `/v1/balances/${BUYER}/USDT`,
    headers: { authorization: `Bearer ${key}` },
    body: Buffer.alloc(0),
    staysOpen: true,
  }
}

async function statusOf(handle: Handle, request: WireRequest): Promise<number> {
  return ((await handle(request)) as Answer).status
}

test('a key that is good for ever is asked for once a connection', async () => {
  const { handle, asked } = await connected(key => (key === 'first' ? ADMIN : null))
  for (let call = 0; call < 3; call++) expect(await statusOf(handle, balance('first'))).toBe(200)
  expect(asked).toEqual(['first'])
  expect(await statusOf(handle, balance('other'))).toBe(401)
})

test('one that may be revoked is asked for at each call, and refused on the same connection once it is', async () => {
  let found: Found = OPERATOR
  const { handle, asked } = await connected(async () => found)
  expect(await statusOf(handle, balance('made'))).toBe(200)
  expect(await statusOf(handle, balance('made'))).toBe(200)
  expect(asked).toHaveLength(2)
  found = null
  expect(await statusOf(handle, balance('made'))).toBe(401)
  found = 'busy'
  expect(await statusOf(handle, balance('made'))).toBe(429)
})

test('where who it is can’t be found out, the routes say so', async () => {
  const away = Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' })
  const { handle } = await connected(() => Promise.reject(away))
  expect(await statusOf(handle, balance('made'))).toBe(503)
})

test('faults are for those alone who may call', async () => {
  const check = async (found: Found): Promise<boolean> => await callerCheck(() => found)(balance('x'))
  const viewer = { ...OPERATOR, role: 'viewer' } as const
  expect(await Promise.all([ADMIN, OPERATOR, viewer, null].map(check))).toEqual([true, true, false, false])
})
