import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import {
  answerText,
  appliedBody,
  appliedItem,
  openRawServer,
  type RawRequest,
  type RawServer,
} from '../../../test/support/raw-server.ts'
import { ASSETS, BUYER, SELLER } from '../../../test/support/trades.ts'
import { createVirtualClock } from '../../../test/support/virtual-clock.ts'
import { capture, type LogLine } from '../../../test/support/workers.ts'
import { systemClock } from '../../clock.ts'
import type { Operation, Outcome, SettlementCall } from '../wallet.ts'
import { createHttpWallet, type HttpWallet, type HttpWalletOptions } from './http-wallet.ts'
import type { HttpRequest, HttpTransport, Sent } from './transport.ts'

const TRADE = '00000000-0000-4000-9000-00000000aaaa'
const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

let made = 0
function operation(change: Partial<Operation> = {}): Operation {
  made++
  return {
    key: `${TRADE}:0:key-${made}`,
    tradeId: TRADE,
    type: 'debit',
    userId: BUYER,
    currency: 'USDT',
    amount: 5_002_550_000_000n,
    reason: 'TRADE_SETTLEMENT',
    ...change,
  }
}

function capabilities(levels: readonly string[], max = 1000, holds = false): object {
  return {
    protocol: 1,
    levels,
    holds,
    batch: { max },
    settlements: { max },
    currencies: [{ code: 'BTC', scale: 8 }],
  }
}
const BASIC = ['basic']
const REVERSALS = ['basic', 'reversals']
const BATCH = ['basic', 'reversals', 'batch']
const ALL = ['basic', 'reversals', 'batch', 'settlements']

/** Answers everything as it should be at the levels; what a test does to a call comes before. */
function wellBehaved(levels: readonly string[] = ALL, max?: number): (request: RawRequest) => void {
  return request => {
    const { socket, path, body } = request
    if (path === '/v1/capabilities') return void socket.write(answerText(200, capabilities(levels, max)))
    const asked = JSON.parse(body)
    switch (path) {
      case '/v1/batch':
        return void socket.write(answerText(200, { results: asked.operations.map(appliedItem) }))
      case '/v1/settlements': {
        const results = asked.settlements.map(({ key }: { key: string }) => ({
          key,
          status: 'settled',
          replayed: false,
        }))
        return void socket.write(answerText(200, { results }))
      }
      case '/v1/reversals':
        return void socket.write(answerText(200, { key: asked.key, status: 'cancelled', replayed: false }))
      default:
        socket.write(answerText(201, appliedBody(request)))
    }
  }
}

/** The same of a wallet that has holds; each has set aside two and a half. */
function holding(request: RawRequest): void {
  const { socket, path, headers, body } = request
  if (path === '/v1/capabilities') return void socket.write(answerText(200, capabilities(ALL, 1000, true)))
  if (!path.startsWith('/v1/holds')) {
    wellBehaved()(request)
    return
  }
  const asked = JSON.parse(body)
  const isPlaced = path === '/v1/holds'
  const amount = isPlaced ? asked.amount : '2.5'
  const remaining = isPlaced ? amount : asked.amount === undefined ? '0' : '2.4'
  const key = isPlaced ? headers['idempotency-key'] : asked.key
  const said = { key, user_id: BUYER, currency: 'USDT', amount, remaining, replayed: false }
  socket.write(answerText(isPlaced ? 201 : 200, { ...said, status: remaining === '0' ? 'closed' : 'open' }))
}

interface Rig {
  readonly server: RawServer
  readonly wallet: HttpWallet
  readonly lines: readonly LogLine[]
  /** Requests that moved, or would move, money. */
  readonly calls: () => readonly RawRequest[]
}

async function rig(handle: (request: RawRequest) => void, change: Partial<HttpWalletOptions> = {}): Promise<Rig> {
  const server = await openRawServer(handle)
  closing.push(() => server.close())
  const lines: LogLine[] = []
  const wallet = createHttpWallet({
    url: server.url,
    token: 'the-secret-token',
    instruments: { assets: ASSETS },
    timeoutMs: 1000,
    clock: systemClock(),
    log: capture(lines),
    ...change,
  })
  closing.push(() => wallet.close())
  return { server, wallet, lines, calls: () => server.requests.filter(({ method }) => method === 'POST') }
}

function said(outcome: Outcome): string {
  return outcome.outcome === 'applied' ? 'applied' : `${outcome.outcome} ${outcome.code}`
}

function problem(status: number, code: string): string {
  return answerText(status, { status, code, detail: 'no' }, { 'Content-Type': 'application/problem+json' })
}

describe('what is asked', () => {
  test('a debit is written as the protocol has it, with the token and the key in the head', async () => {
    const { server, wallet } = await rig(wellBehaved())
    const debit = operation({ userId: BUYER.toUpperCase(), key: 'a key: with/signs' })
    expect(await wallet.apply(debit)).toEqual({
      outcome: 'applied',
      replayed: false,
      done: { balanceAfter: 100_000_000n, appliedAtMs: Date.UTC(2026, 10, 22, 12, 0, 0, 123) },
    })
    const [request] = server.requests
    expect(request).toMatchObject({ method: 'POST', path: '/v1/debits' })
    expect(request?.headers).toMatchObject({
      authorization: 'Bearer the-secret-token',
      'idempotency-key': 'a key: with/signs',
      'content-type': 'application/json',
    })
    expect(JSON.parse(request?.body ?? '')).toEqual({
      user_id: BUYER,
      currency: 'USDT',
      amount: '50025.5',
      reason: 'TRADE_SETTLEMENT',
      trade_id: TRADE,
    })
  })

  test('a deposit names no trade; amounts have the places of their asset', async () => {
    const { server, wallet } = await rig(wellBehaved())
    await wallet.apply(operation({ type: 'credit', currency: 'BTC', amount: 1n, reason: 'DEPOSIT', tradeId: null }))
    expect(server.requests[0]?.path).toBe('/v1/credits')
    expect(JSON.parse(server.requests[0]?.body ?? '')).toEqual({
      user_id: BUYER,
      currency: 'BTC',
      amount: '0.00000001',
      reason: 'DEPOSIT',
    })
  })

  test('a reversal names its key in the body', async () => {
    const { server, wallet } = await rig(wellBehaved())
    expect(await wallet.reverse('k')).toEqual({ outcome: 'applied', replayed: false, done: { status: 'cancelled' } })
    expect(server.requests[0]).toMatchObject({ path: '/v1/reversals' })
    expect(JSON.parse(server.requests[0]?.body ?? '')).toEqual({ key: 'k', reason: 'SETTLEMENT_ROLLBACK' })
  })

  test('a hold and its release are written as the protocol has them, each with its key in the head', async () => {
    const { server, wallet } = await rig(holding)
    await wallet.capabilities()
    const hold = { key: 'order 7', userId: BUYER.toUpperCase(), currency: 'USDT', amount: 250_000_000n }
    const done = { userId: BUYER, currency: 'USDT', amount: 250_000_000n, remaining: 250_000_000n }
    expect(await wallet.hold(hold)).toEqual({ outcome: 'applied', replayed: false, done })
    const release = { key: 'r', hold: 'order 7', amountAtto: 10n ** 17n }
    expect(await wallet.release(release)).toMatchObject({ outcome: 'applied', done: { remaining: 240_000_000n } })
    expect(await wallet.release({ ...release, amountAtto: null })).toMatchObject({ done: { remaining: 0n } })
    const sent = server.requests.slice(1).map(({ path, headers, body }) => {
      return [path, headers['idempotency-key'], JSON.parse(body)]
    })
    expect(sent).toEqual([
      ['/v1/holds', 'order 7', { user_id: BUYER, currency: 'USDT', amount: '2.5' }],
      ['/v1/holds/release', 'r', { key: 'order 7', amount: '0.1' }],
      ['/v1/holds/release', 'r', { key: 'order 7' }],
    ])
    for (const key of ['', ' a', 'a\n']) {
      expect(said(await wallet.hold({ ...hold, key }))).toBe('refused INVALID_REQUEST')
      expect(said(await wallet.release({ ...release, key }))).toBe('refused INVALID_REQUEST')
    }
    await expect(wallet.hold({ ...hold, currency: 'DOGE' })).rejects.toThrow('the places of DOGE are not known')
    expect(server.requests).toHaveLength(4)
  })

  test('holds share connections, and each gets its own answer', async () => {
    const { server, wallet } = await rig(holding, { timeoutMs: 10_000 })
    await wallet.capabilities()
    const holds = Array.from({ length: 500 }, (_, at) => {
      return { key: `hold ${at}`, userId: BUYER, currency: 'USDT', amount: BigInt(at + 1) }
    })
    const outcomes = await Promise.all(holds.map(hold => wallet.hold(hold)))
    expect(outcomes.map(each => each.outcome === 'applied' && each.done.amount)).toEqual(holds.map(each => each.amount))
    expect(server.connections().opened).toBeLessThan(50)
  })

  test('a wallet that has no holds, or has not said so, is not asked for any', async () => {
    const { server, wallet } = await rig(wellBehaved())
    const hold = { key: 'h', userId: BUYER, currency: 'USDT', amount: 1n }
    await expect(wallet.hold(hold)).rejects.toThrow('a wallet without holds')
    await wallet.capabilities()
    await expect(wallet.hold(hold)).rejects.toThrow('a wallet without holds')
    await expect(wallet.release({ key: 'r', hold: 'h', amountAtto: null })).rejects.toThrow('a wallet without holds')
    expect(server.requests).toHaveLength(1)
  })

  test.each(['one by one', 'in a batch', 'in a settlement'])('a debit says %s which hold it draws on', async way => {
    const { wallet, calls } = await rig(wellBehaved(way === 'one by one' ? REVERSALS : ALL))
    await wallet.capabilities()
    const debit = operation({ hold: 'order 7' })
    if (way === 'in a settlement') {
      const credit = operation({ type: 'credit', userId: SELLER })
      await wallet.settle({ key: 's', tradeId: TRADE, legs: [debit, credit] })
    } else await wallet.apply(debit)
    const [body] = calls().map(call => JSON.parse(call.body))
    const [said] = body.operations ?? body.settlements?.[0]?.legs ?? [body]
    expect(said).toMatchObject({ amount: '50025.5', hold: 'order 7' })
    expect(body.settlements?.[0]?.legs[1] ?? {}).not.toHaveProperty('hold')
  })

  test('a key that can be no key, or no header, is refused and never sent', async () => {
    const { server, wallet } = await rig(wellBehaved())
    for (const key of ['', 'a\r\nX: y', 'é', 'k'.repeat(129), ' a', 'a ']) {
      expect(said(await wallet.apply(operation({ key })))).toBe('refused INVALID_REQUEST')
    }
    expect(server.requests).toEqual([])
  })

  test('of an asset whose places are not known nothing is written: that would be other money', async () => {
    const { server, wallet } = await rig(wellBehaved())
    await expect(wallet.apply(operation({ currency: 'DOGE' }))).rejects.toThrow('the places of DOGE are not known')
    expect(server.requests).toEqual([])
  })

  test('a balance is read, of an unknown currency none, and anything else is told', async () => {
    const { wallet } = await rig(({ socket, path }) => {
      if (path === `/v1/balances/${BUYER}/USDT`) {
        socket.write(answerText(200, { user_id: BUYER, currency: 'USDT', available: '1.5', held: '0', total: '1.50' }))
      } else if (path.endsWith('/BTC')) socket.write(problem(422, 'UNKNOWN_CURRENCY'))
      else socket.write(answerText(200, { user_id: BUYER, currency: 'USDT', available: '1', held: '0', total: '1' }))
    })
    expect(await wallet.balance(BUYER.toUpperCase(), 'USDT')).toMatchObject({
      available: 150_000_000n,
      held: 0n,
      total: 150_000_000n,
    })
    expect(await wallet.balance(BUYER, 'BTC')).toBeNull()
    await expect(wallet.balance(SELLER, 'USDT')).rejects.toThrow('not the balance')
  })
})

describe('capabilities', () => {
  test.each<[unknown, string]>([
    [capabilities(BASIC), 'basic'],
    [capabilities(REVERSALS), 'reversals'],
    [capabilities(BATCH), 'batch'],
    [capabilities(ALL), 'settlements'],
    [capabilities(['basic', 'batch', 'settlements']), 'basic'],
    [capabilities([...ALL, 'of the future']), 'settlements'],
    [{ ...capabilities(ALL), batch: undefined }, 'reversals'],
    [{ ...capabilities(ALL), settlements: { max: 0 } }, 'batch'],
  ])('%j is level %s', async (body, level) => {
    const { wallet } = await rig(({ socket }) => void socket.write(answerText(200, body)))
    expect(await wallet.capabilities()).toMatchObject({ level })
  })

  test('404 is level basic', async () => {
    const { wallet } = await rig(({ socket }) => void socket.write(answerText(404, '<html>')))
    expect(await wallet.capabilities()).toEqual({ level: 'basic', holds: false, batchMax: 1, settlementsMax: 1 })
  })

  test.each<[string, string, string]>([
    ['another protocol', answerText(200, { ...capabilities(ALL), protocol: 2 }), 'ANSWER_MISMATCH'],
    ['HTML', answerText(200, '<html>'), 'ANSWER_MISMATCH'],
    ['500', answerText(500, ''), 'HTTP_500'],
    ['a redirect', answerText(302, '', { Location: '/elsewhere' }), 'HTTP_302'],
    ['401', answerText(401, ''), 'HTTP_401'],
  ])('are not known where the wallet answers with %s', async (_, text, code) => {
    const { wallet } = await rig(({ socket }) => void socket.write(text))
    await expect(wallet.capabilities()).rejects.toMatchObject({ code })
  })

  test('are not known where it does not answer', async () => {
    const { server, wallet } = await rig(() => {})
    await expect(wallet.capabilities()).rejects.toMatchObject({ code: 'TIMEOUT' })
    await server.close()
    closing.splice(0, 1)
    await expect(wallet.capabilities()).rejects.toMatchObject({ code: 'CIRCUIT_OPEN' })
  })

  test('a wallet with fewer places than ours is warned of, once', async () => {
    const { wallet, lines } = await rig(({ socket }) =>
      socket.write(
        answerText(200, {
          ...capabilities(ALL),
          currencies: [
            { code: 'BTC', scale: 6 },
            { code: 'X', scale: 1 },
          ],
        }),
      ),
    )
    await wallet.capabilities()
    await wallet.capabilities()
    expect(lines).toMatchObject([{ level: 'WARN', assets: ['BTC'] }])
  })
})

describe('nasty servers: a debit, and what is known after it', () => {
  const huge = answerText(200, 'x').replace('Content-Length: 1', 'Content-Length: 99999999')
  test.each<[what: string, act: (request: RawRequest) => unknown, reading: string]>([
    ['hangs', () => {}, 'unanswered TIMEOUT'],
    [
      'cuts in the body',
      request => request.socket.end(answerText(201, appliedBody(request)).slice(0, -5)),
      'unanswered ANSWER_CUT',
    ],
    ['ends early', ({ socket }) => socket.end(), 'unanswered CONNECTION_LOST'],
    ['resets', ({ socket }) => socket.resetAndDestroy(), 'unanswered CONNECTION_LOST'],
    [
      'another key',
      request => request.socket.write(answerText(201, { ...appliedBody(request), key: 'other' })),
      'unanswered ANSWER_MISMATCH',
    ],
    [
      'another amount',
      request => request.socket.write(answerText(201, { ...appliedBody(request), amount: '1' })),
      'unanswered ANSWER_MISMATCH',
    ],
    [
      'another account',
      request => request.socket.write(answerText(201, { ...appliedBody(request), user_id: SELLER })),
      'unanswered ANSWER_MISMATCH',
    ],
    ['a huge body', ({ socket }) => socket.write(huge), 'unanswered ANSWER_TOO_LARGE'],
    ['an endless body', ({ socket }) => flood(socket), 'unanswered ANSWER_TOO_LARGE'],
    ['a drip', request => drip(request), 'unanswered TIMEOUT'],
    [
      '200 with HTML',
      ({ socket }) => socket.write(answerText(200, '<html>', { 'Content-Type': 'text/html' })),
      'unanswered ANSWER_MISMATCH',
    ],
    [
      'a redirect',
      ({ socket }) => socket.write(answerText(307, '', { Location: '/v1/credits' })),
      'unanswered HTTP_307',
    ],
    ['garbage', ({ socket }) => socket.write(Buffer.from([0, 1, 2, 255])), 'unanswered ANSWER_MALFORMED'],
    ['503', ({ socket }) => socket.write(answerText(503, '')), 'unanswered HTTP_503'],
    ['429', ({ socket }) => socket.write(answerText(429, '')), 'deferred RATE_LIMITED'],
    ['a refusal', ({ socket }) => socket.write(problem(422, 'INSUFFICIENT_BALANCE')), 'refused INSUFFICIENT_BALANCE'],
  ])('%s', async (_, act, reading) => {
    const { wallet, calls } = await rig(
      request => void (request.method === 'GET' ? wellBehaved()(request) : act(request)),
    )
    expect(said(await wallet.apply(operation()))).toBe(reading)
    await delay(20)
    expect(calls()).toHaveLength(1)
  })

  test('answers to requests on one connection that are swapped are believed by nobody, and it is not asked so again', async () => {
    let held: RawRequest | null = null
    const { wallet, lines } = await rig(request => {
      if (held === null) held = request
      else {
        for (const each of [request, held]) request.socket.write(answerText(201, appliedBody(each)))
        held = null
      }
    })
    const swapped = await Promise.all(Array.from({ length: 16 }, () => wallet.apply(operation())))
    expect(swapped.filter(({ outcome }) => outcome === 'applied')).toEqual([])
    expect(lines.filter(({ why }) => why === 'misordered')).toHaveLength(1)
  })
})

describe('calls that travel together', () => {
  test('operations and reversals under way at the same time share a request, and each gets its own answer', async () => {
    const { wallet, calls } = await rig(request => {
      if (request.path !== '/v1/batch') return wellBehaved()(request)
      const results = JSON.parse(request.body).operations.map((each: { key: string; amount?: string }) =>
        each.amount === '7'
          ? { key: each.key, status: 'refused', problem: { status: 422, code: 'INSUFFICIENT_BALANCE', detail: 'no' } }
          : appliedItem(each),
      )
      request.socket.write(answerText(200, { results }))
    })
    await wallet.capabilities()
    const outcomes = await Promise.all([
      ...Array.from({ length: 100 }, () => wallet.apply(operation())),
      wallet.apply(operation({ amount: 700_000_000n })),
      wallet.reverse('gone'),
    ])
    expect(outcomes.slice(0, 100).map(said)).toEqual(Array(100).fill('applied'))
    expect(outcomes.slice(100)).toMatchObject([{ code: 'INSUFFICIENT_BALANCE' }, { done: { status: 'reversed' } }])
    expect(calls().length).toBe(1)
    expect(JSON.parse(calls()[0]?.body ?? '').operations[0]).toMatchObject({
      type: 'debit',
      amount: '50025.5',
      trade_id: TRADE,
    })
  })

  test('two calls of one key never share a request; their order is kept', async () => {
    const { wallet, calls } = await rig(wellBehaved())
    await wallet.capabilities()
    const same = operation()
    await Promise.all([wallet.apply(same), wallet.reverse(same.key), wallet.apply(same)])
    const types = calls().map(({ body }) => JSON.parse(body).operations.map(({ type }: { type: string }) => type))
    expect(types).toEqual([['debit'], ['reversal'], ['debit']])
  })

  test('never more than the wallet takes', async () => {
    const { wallet, calls } = await rig(wellBehaved(BATCH, 7))
    await wallet.capabilities()
    await Promise.all(Array.from({ length: 50 }, () => wallet.apply(operation())))
    expect(Math.max(...calls().map(({ body }) => JSON.parse(body).operations.length))).toBe(7)
  })

  test('a call that is too large is split, down to calls that go alone; what was learnt is kept', async () => {
    const { wallet, calls } = await rig(request => {
      if (request.path === '/v1/batch' && JSON.parse(request.body).operations.length > 3) {
        request.socket.write(answerText(413, '<html>'))
      } else wellBehaved()(request)
    })
    await wallet.capabilities()
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => wallet.apply(operation())))
    expect(outcomes.map(said)).toEqual(Array(20).fill('applied'))
    const before = calls().length
    await Promise.all(Array.from({ length: 6 }, () => wallet.apply(operation())))
    expect(calls().length - before).toBe(3)
  })

  test('what was too large once is tried again after a while', async () => {
    let most = 3
    const { wallet, calls } = await rig(
      request => {
        if (request.path === '/v1/batch' && JSON.parse(request.body).operations.length > most) {
          request.socket.write(answerText(413, '<html>'))
        } else wellBehaved()(request)
      },
      { timeoutMs: 10_000 },
    )
    await wallet.capabilities()
    const many = async (count: number): Promise<number> => {
      const before = calls().length
      const outcomes = await Promise.all(Array.from({ length: count }, () => wallet.apply(operation())))
      expect(outcomes.map(said)).toEqual(Array(count).fill('applied'))
      return calls().length - before
    }
    expect(await many(20)).toBeGreaterThan(7)
    most = 1000
    for (let round = 0; round < 6; round++) await many(400)
    expect(await many(20)).toBeLessThan(4)
  })

  test('one that spoils every call it is in is refused alone, and nothing else with it', async () => {
    const spoilt = operation({ key: 'spoilt' })
    const { wallet } = await rig(request => {
      if (!request.body.includes('spoilt') && request.headers['idempotency-key'] !== 'spoilt')
        return wellBehaved()(request)
      request.socket.write(problem(400, 'INVALID_REQUEST'))
    })
    await wallet.capabilities()
    const outcomes = await Promise.all(
      [operation(), operation(), spoilt, operation(), operation()].map(each => wallet.apply(each)),
    )
    expect(outcomes.map(said)).toEqual(['applied', 'applied', 'refused INVALID_REQUEST', 'applied', 'applied'])
  })

  test('a result too few, too many or in another place is no answer for those concerned', async () => {
    const change: ((results: unknown[]) => unknown[])[] = [
      results => results.slice(0, -1),
      results => [...results, results[0]],
      ([first, second, ...rest]) => [second, first, ...rest],
    ]
    const wanted = [
      ['applied', 'applied', 'unanswered ANSWER_MISMATCH'],
      ['applied', 'applied', 'applied'],
      ['unanswered ANSWER_MISMATCH', 'unanswered ANSWER_MISMATCH', 'applied'],
    ]
    for (const [at, spoil] of change.entries()) {
      const { wallet } = await rig(request => {
        if (request.path !== '/v1/batch') return wellBehaved()(request)
        const results = JSON.parse(request.body).operations.map(appliedItem)
        request.socket.write(answerText(200, { results: spoil(results) }))
      })
      await wallet.capabilities()
      const outcomes = await Promise.all([operation(), operation(), operation()].map(each => wallet.apply(each)))
      expect(outcomes.map(said)).toEqual(wanted[at])
    }
  })

  test('settlements share a call as well; one that is not taken even alone is not refused by that', async () => {
    const settlement = (key: string): SettlementCall => ({ key, tradeId: TRADE, legs: [operation()] })
    const { wallet, calls } = await rig(request => {
      if (request.body.includes('"spoilt"')) request.socket.write(problem(400, 'INVALID_REQUEST'))
      else wellBehaved()(request)
    })
    await wallet.capabilities()
    const outcomes = await Promise.all(['a', 'b', 'c'].map(key => wallet.settle(settlement(key))))
    expect(outcomes).toEqual(Array(3).fill({ outcome: 'applied', replayed: false, done: null }))
    expect(calls()).toHaveLength(1)
    expect(JSON.parse(calls()[0]?.body ?? '')).toMatchObject({
      settlements: [
        { key: 'a', trade_id: TRADE, legs: [{ type: 'debit', amount: '50025.5' }] },
        { key: 'b' },
        { key: 'c' },
      ],
    })
    expect((await Promise.all(['d', 'spoilt'].map(key => wallet.settle(settlement(key))))).map(said)).toEqual([
      'applied',
      'unanswered CALL_NOT_TAKEN',
    ])
  })

  test('a wallet of a lower level takes no settlements: to ask is a bug', async () => {
    const { wallet } = await rig(wellBehaved(BATCH))
    await wallet.capabilities()
    await expect(wallet.settle({ key: 'k', tradeId: TRADE, legs: [] })).rejects.toThrow('level batch')
  })

  test('where keys are not recognised every call is alone, in its request and on its connection', async () => {
    let underWay = 0
    let most = 0
    const sockets = new Set<unknown>()
    const { wallet, calls } = await rig(
      request => {
        if (request.method === 'GET') return wellBehaved()(request)
        most = Math.max(most, ++underWay)
        expect(sockets.has(request.socket)).toBe(false)
        sockets.add(request.socket)
        setTimeout(() => {
          underWay--
          sockets.delete(request.socket)
          wellBehaved()(request)
        }, 2)
      },
      { idempotent: false },
    )
    await wallet.capabilities()
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => wallet.apply(operation())))
    expect(outcomes.map(said)).toEqual(Array(50).fill('applied'))
    expect(calls().every(({ path }) => path === '/v1/debits')).toBe(true)
    expect(most).toBeGreaterThan(1)
  })

  test('idempotent: false, a kept connection that is gone loses the call, and it is not made again', async () => {
    const { wallet, calls } = await rig(
      request => {
        if (request.index === 0) wellBehaved()(request)
        else request.socket.resetAndDestroy()
      },
      { idempotent: false },
    )
    await wallet.apply(operation())
    expect(said(await wallet.apply(operation()))).toBe('unanswered CONNECTION_LOST')
    await delay(50)
    expect(calls()).toHaveLength(2)
  })
})

describe('a wallet that does not let us in', () => {
  test('is told of once, no trade fails, and work goes on by itself when it does', async () => {
    const clock = createVirtualClock()
    let isLockedOut = true
    const asked: string[] = []
    const transport = scripted(request => {
      asked.push(request.path)
      if (isLockedOut) return { status: 401, body: '' }
      return request.path === '/v1/capabilities'
        ? { status: 200, body: capabilities(REVERSALS) }
        : { status: 201, body: bodyOf(request) }
    })
    const { wallet, lines } = scriptedWallet(transport, clock)
    const outcomes = await Promise.all([wallet.apply(operation()), wallet.reverse('k'), wallet.apply(operation())])
    expect(outcomes.map(said)).toEqual(Array(3).fill('deferred UNAUTHORIZED'))
    expect(outcomes).toMatchObject(Array(3).fill({ reached: false }))
    expect(said(await wallet.apply(operation()))).toBe('deferred LOCKED_OUT')
    await clock.advance(12_000)
    expect(asked.slice(3)).toEqual(['/v1/capabilities', '/v1/capabilities'])
    expect(lines.filter(({ level }) => level === 'ERROR')).toHaveLength(1)
    isLockedOut = false
    await clock.advance(3000)
    expect(wallet.circuit()).toBe('closed')
    expect(said(await wallet.apply(operation()))).toBe('applied')
    expect(JSON.stringify(lines)).not.toContain('the-secret-token')
  })
})

describe('F-6 an outage of 30 s', () => {
  test('calls under way are honest, calls meanwhile wait without being sent, and work resumes within two seconds', async () => {
    const clock = createVirtualClock()
    let isDead = false
    const asked: string[] = []
    const transport = scripted(async request => {
      asked.push(request.path)
      if (isDead) {
        await new Promise<void>(resolve => clock.after(request.deadlineMs, resolve))
        return 'TIMEOUT'
      }
      return request.path === '/v1/capabilities'
        ? { status: 200, body: capabilities(BASIC) }
        : { status: 201, body: bodyOf(request) }
    })
    const { wallet, lines, told } = scriptedWallet(transport, clock)
    expect(said(await wallet.apply(operation()))).toBe('applied')
    isDead = true
    const underWay = wallet.apply(operation())
    await clock.advance(5000)
    expect(said(await underWay)).toBe('unanswered TIMEOUT')
    const before = asked.length
    for (let second = 0; second < 25; second++) {
      expect(await wallet.apply(operation())).toMatchObject({
        outcome: 'deferred',
        code: 'CIRCUIT_OPEN',
        reached: false,
      })
      await clock.advance(1000)
    }
    expect(asked.slice(before).every(path => path === '/v1/capabilities')).toBe(true)
    isDead = false
    await clock.advance(2000)
    expect(said(await wallet.apply(operation()))).toBe('applied')
    expect(lines.map(({ level }) => level)).toEqual(['WARN', 'INFO'])
    expect(told).toEqual(['away', 'back'])
  })

  test('over a real connection: killed and started again on its port', async () => {
    const { server, wallet } = await rig(wellBehaved())
    const port = Number(new URL(server.url).port)
    expect(said(await wallet.apply(operation()))).toBe('applied')
    await server.close()
    closing.splice(0, 1)
    // Until the end of the kept connection has arrived: what is written in between is perhaps read.
    await delay(50)
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => wallet.apply(operation())))
    expect(new Set(outcomes.map(said))).toEqual(new Set(['deferred NOT_SENT']))
    expect(said(await wallet.apply(operation()))).toBe('deferred CIRCUIT_OPEN')
    const again = await openRawServer(wellBehaved(), port)
    closing.unshift(() => again.close())
    await delay(1300)
    expect(said(await wallet.apply(operation()))).toBe('applied')
  })
})

type Scripted = { readonly status: number; readonly body: unknown } | 'TIMEOUT'

/** A transport that answers what a test says, for what takes time. */
function scripted(answer: (request: HttpRequest) => Scripted | Promise<Scripted>): HttpTransport {
  return {
    async send(request): Promise<Sent> {
      const said = await answer(request)
      if (said === 'TIMEOUT') return { kind: 'lost', code: 'TIMEOUT' }
      const body = typeof said.body === 'string' ? said.body : JSON.stringify(said.body)
      return { kind: 'answer', status: said.status, contentType: 'application/json', retryAfter: null, body }
    },
    confirm() {},
    close() {},
  }
}

function bodyOf({ path, headers, body }: HttpRequest): object {
  return appliedBody({ path, headers: { 'idempotency-key': headers['Idempotency-Key'] ?? '' }, body: body ?? '{}' })
}

function scriptedWallet(transport: HttpTransport, clock: ReturnType<typeof createVirtualClock>) {
  const lines: LogLine[] = []
  const told: string[] = []
  const wallet = createHttpWallet({
    url: 'http://wallet.example',
    token: 'the-secret-token',
    instruments: { assets: ASSETS },
    timeoutMs: 5000,
    clock,
    log: capture(lines),
    onAway: isAway => told.push(isAway ? 'away' : 'back'),
    transport,
  })
  return { wallet, lines, told }
}

function flood(socket: RawRequest['socket']): void {
  socket.write('HTTP/1.1 200 OK\r\n\r\n')
  const piece = Buffer.alloc(1024 * 1024, 'x')
  const more = (): void => {
    if (!socket.destroyed) socket.write(piece, more)
  }
  more()
}

function drip({ socket }: RawRequest): void {
  socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n')
  const timer = setInterval(() => socket.write('{'), 20)
  socket.on('close', () => clearInterval(timer))
}
