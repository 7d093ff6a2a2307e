/** Each kind of fault, as whoever calls the wallet sees it: byte by byte, on a real connection. */
import { tmpdir } from 'node:os'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/log.ts'
import { createMemoryWalletService, type WalletService } from '../../src/wallet-service/service.ts'
import { authenticate, bearer } from '../support/api.ts'
import { answersIn, openRaw, type RawConnection, request } from '../support/raw-http.ts'
import { BUYER, SELLER } from '../support/trades.ts'

const TRADE = '00000000-0000-4000-9000-00000000aaaa'
const AUTH = bearer('operator')

let service: WalletService
let url: string
let made = 0
/** A key of its own for each test, of the buyer's debit. */
let key: string
let raw: RawConnection

beforeAll(async () => {
  const { config } = loadConfig({ path: null, env: {}, flags: {}, cwd: tmpdir() })
  const log = createLogger('silent')
  const options = { config, level: 'settlements', authenticate, log, version: '0', faults: null } as const
  service = await createMemoryWalletService(options)
  url = await service.listen({ host: '127.0.0.1', port: 0 })
})
afterAll(() => service.close())
beforeEach(async () => {
  await script([])
  key = `00000000-0000-4000-9000-${String(++made).padStart(12, '0')}:0:buyer-credit`
  raw = await openRaw(url)
})

async function ask(
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; body: ReturnType<typeof JSON.parse> }> {
  const answer = await fetch(`${url}${path}`, {
    method,
    headers: { ...AUTH, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: JSON.parse(await answer.text()) }
}

async function script(rules: readonly object[]): Promise<void> {
  expect((await ask('PUT', '/v1/faults', { rules })).status).toBe(200)
}

const CREDIT = { user_id: BUYER, currency: 'USDT', amount: '5', reason: 'TRADE_SETTLEMENT', trade_id: TRADE }

function credit(of = key): string {
  return request('POST', '/v1/credits', CREDIT, { ...AUTH, 'idempotency-key': of })
}

/** What the wallet knows of the key. */
async function statusOf(of = key): Promise<string> {
  const { status, body } = await ask('GET', `/v1/operations/${of}`)
  return status === 404 ? 'unknown' : body.status
}

/** Calls once, and gives the answer. */
async function answerTo(bytes: string) {
  raw.send(bytes)
  expect(await raw.until(text => answersIn(text).length > 0)).toBe(true)
  const [answer] = answersIn(raw.received())
  raw.close()
  return answer
}

describe('an answer that is another', () => {
  test('refuse: the code with its status, nothing done, nothing remembered', async () => {
    await script([{ attempt: 1, fault: 'refuse', code: 'INSUFFICIENT_BALANCE' }])
    const answer = await answerTo(credit())
    expect(answer).toMatchObject({ status: 422, headers: { 'content-type': expect.stringContaining('problem+json') } })
    expect(JSON.parse(answer?.body ?? '')).toMatchObject({ code: 'INSUFFICIENT_BALANCE', status: 422 })
    expect(await statusOf()).toBe('unknown')
  })

  test.each([
    ['before', 'unknown'],
    ['after', 'applied'],
  ])('status %s the effect', async (when, status) => {
    await script([{ fault: 'status', status: 502, when, body: 'html' }])
    expect(await answerTo(credit())).toMatchObject({
      status: 502,
      headers: { 'content-type': 'text/html; charset=utf-8' },
    })
    expect(await statusOf()).toBe(status)
  })

  test('status: with a problem, and with no body at all', async () => {
    await script([
      { attempt: 1, fault: 'status', status: 418, code: 'TEAPOT' },
      { attempt: 2, fault: 'status', status: 500, body: 'none' },
    ])
    raw.send(credit() + credit())
    await raw.until(text => answersIn(text).length === 2)
    const [first, second] = answersIn(raw.received())
    expect(JSON.parse(first?.body ?? '')).toMatchObject({ code: 'TEAPOT', status: 418 })
    expect(second).toMatchObject({ status: 500, body: '' })
  })

  test.each([
    [{ status: 429, seconds: 3 }, 429, /^3$/],
    [{ as: 'date', seconds: 60 }, 503, / GMT$/],
    [{ as: 'nonsense' }, 503, /cows/],
  ])('retry_after %o', async (rule, status, value) => {
    await script([{ fault: 'retry_after', ...rule }])
    expect(await answerTo(credit())).toMatchObject({ status, headers: { 'retry-after': expect.stringMatching(value) } })
    expect(await statusOf()).toBe('unknown')
  })

  test.each([401, 403])('unauthorized: %i', async status => {
    await script([{ fault: 'unauthorized', status }])
    expect((await answerTo(credit()))?.status).toBe(status)
    expect(await statusOf()).toBe('unknown')
  })

  test.each([
    ['other_key', { key: expect.not.stringContaining('buyer-credit'), user_id: BUYER, amount: '5' }],
    ['other_account', { user_id: expect.not.stringContaining(BUYER), amount: '5' }],
    ['other_amount', { user_id: BUYER, amount: expect.not.stringMatching(/^5$/) }],
  ])('garbage %s: an answer about something else', async (what, expected) => {
    await script([{ fault: 'garbage', what }])
    const answer = await answerTo(credit())
    expect(answer?.status).toBe(201)
    expect(JSON.parse(answer?.body ?? '')).toMatchObject(expected)
    expect(await statusOf()).toBe('applied')
  })

  test('garbage html, and a body that is too large', async () => {
    await script([
      { attempt: 1, fault: 'garbage', what: 'html' },
      { fault: 'garbage', what: 'too_large', when: 'after' },
    ])
    raw.send(credit() + credit())
    expect(await raw.until(text => text.length > 20 * 1024 * 1024, 10_000)).toBe(true)
    expect(raw.received()).toMatch(/^HTTP\/1.1 200 OK\r\ncontent-type: text\/html/)
    raw.close()
  })
})

describe('holds', () => {
  const place = () =>
    request('POST', '/v1/holds', { user_id: BUYER, currency: 'USDT', amount: '1' }, { ...AUTH, 'idempotency-key': key })
  const release = (of: string) => request('POST', '/v1/holds/release', { key }, { ...AUTH, 'idempotency-key': of })

  test('a hold whose answer is lost was placed all the same, and its release goes wrong by a rule of its own', async () => {
    await answerTo(credit(`funds of ${key}`))
    raw = await openRaw(url)
    await script([
      { call: 'hold', attempt: 1, fault: 'cut', when: 'after' },
      { call: 'release', attempt: 1, fault: 'refuse', code: 'HOLD_NOT_FOUND' },
    ])
    raw.send(place())
    expect(await raw.ended()).toBe(true)
    raw = await openRaw(url)
    raw.send(place() + release(`r ${key}`) + release(`r ${key}`))
    await raw.until(text => answersIn(text).length === 3)
    const [again, refused, released] = answersIn(raw.received()).map(({ body }) => JSON.parse(body))
    expect(again).toMatchObject({ key, remaining: '1', replayed: true })
    expect(refused).toMatchObject({ code: 'HOLD_NOT_FOUND' })
    expect(released).toMatchObject({ key, remaining: '0', replayed: false })
    const { faults } = (await ask('GET', '/v1/faults/log')).body
    expect(faults).toMatchObject([
      { call: 'hold', key, leg: 'buyer-credit', fault: 'cut' },
      { call: 'release', key: `r ${key}`, leg: null, attempt: 1 },
    ])
    raw.close()
  })
})

describe('a connection that goes wrong', () => {
  test.each([
    ['before', 'unknown'],
    ['after', 'applied'],
  ])('no_answer %s the effect: the connection stays open and silent', async (when, status) => {
    await script([{ attempt: 1, fault: 'no_answer', when }])
    raw.send(credit())
    expect(await raw.ended(100)).toBe(false)
    expect(raw.received()).toBe('')
    raw.close()
    expect(await statusOf()).toBe(status)
  })

  test.each([
    ['before', 'unknown', /^$/],
    ['after', 'applied', /^$/],
    ['within', 'applied', /^HTTP\/1.1 201 Created\r\n[\s\S]*\r\n\r\n\{"key":"[^}]*$/],
  ])('cut %s the effect', async (when, status, received) => {
    await script([{ attempt: 1, fault: 'cut', when }])
    raw.send(credit())
    expect(await raw.ended()).toBe(true)
    expect(raw.received()).toMatch(received)
    expect(await statusOf()).toBe(status)
  })

  test('garbage bytes: no HTTP, and the end', async () => {
    await script([{ fault: 'garbage', what: 'bytes', when: 'after' }])
    raw.send(credit())
    expect(await raw.ended()).toBe(true)
    expect(raw.received()).toContain('this was never HTTP')
    expect(await statusOf()).toBe('applied')
  })

  test('what was asked before it is answered; what is behind it is not', async () => {
    await script([{ key, fault: 'cut' }])
    raw.send(credit('first') + credit() + credit('behind'))
    expect(await raw.ended()).toBe(true)
    expect(answersIn(raw.received()).map(({ body }) => JSON.parse(body).key)).toEqual(['first'])
    expect(await statusOf('behind')).toBe('applied')
  })

  test.each([
    ['before', 'unknown'],
    ['after', 'applied'],
  ])('slow, %s the effect', async (when, meanwhile) => {
    await script([{ fault: 'slow', ms: 800, when }])
    const started = performance.now()
    const answer = answerTo(credit())
    await vi.waitFor(async () => expect((await ask('GET', '/v1/faults/log')).body.applied).toBe(1))
    expect(await statusOf()).toBe(meanwhile)
    expect((await answer)?.status).toBe(201)
    expect(performance.now() - started).toBeGreaterThan(790)
  })

  test('close_port: connections are cut, new ones refused, and then it is as before', async () => {
    await script([{ fault: 'close_port', ms: 300, times: 1 }])
    const bystander = await openRaw(url)
    raw.send(credit())
    expect(await raw.ended()).toBe(true)
    expect(await bystander.ended()).toBe(true)
    await expect(openRaw(url)).rejects.toThrow('ECONNREFUSED')
    raw = await vi.waitFor(() => openRaw(url), { timeout: 5000 })
    expect((await answerTo(credit()))?.status).toBe(201)
  })
})

describe('late', () => {
  test('the effect comes later; the caller hears of a gateway', async () => {
    await script([{ attempt: 1, fault: 'late', ms: 500, answer: 'gateway_timeout' }])
    expect((await answerTo(credit()))?.status).toBe(504)
    expect(await statusOf()).toBe('unknown')
    await vi.waitFor(async () => expect(await statusOf()).toBe('applied'), { timeout: 5000 })
  })

  test('trap 1: it arrives only after the reversal of its key, and does nothing', async () => {
    await script([{ call: 'apply', fault: 'late', after: 'reversal', answer: 'cut' }])
    raw.send(credit())
    expect(await raw.ended()).toBe(true)
    expect((await ask('POST', '/v1/reversals', { key })).body.status).toBe('cancelled')
    const body = await vi.waitFor(async () => {
      const log = await ask('GET', '/v1/faults/log')
      expect(log.body.faults).toHaveLength(2)
      return log.body
    })
    expect(await statusOf()).toBe('cancelled')
    expect(body.faults).toEqual([
      expect.objectContaining({ call: 'apply', key, attempt: 1, fault: 'late', leg: 'buyer-credit', arrived: false }),
      expect.objectContaining({ key, fault: 'late', arrived: true }),
    ])
  })
})

describe('calls of many', () => {
  const item = (of: string) => ({ ...CREDIT, type: 'credit', key: of })
  const batch = (keys: readonly string[]): string => request('POST', '/v1/batch', { operations: keys.map(item) }, AUTH)

  test('what one item can be told is told it alone, in its place', async () => {
    const keys = Array.from({ length: 6 }, (_, at) => `${key}-${at}`)
    await script([
      { key: keys[1], fault: 'refuse', code: 'REVERSED' },
      { key: keys[2], fault: 'status', status: 503, when: 'after' },
      { key: keys[3], fault: 'late', ms: 50 },
      { key: keys[4], fault: 'garbage', what: 'other_amount' },
    ])
    const answer = await answerTo(batch(keys))
    const { results } = JSON.parse(answer?.body ?? '')
    expect(results).toEqual([
      expect.objectContaining({ key: keys[0], status: 'applied', amount: '5' }),
      expect.objectContaining({ key: keys[1], status: 'refused', problem: expect.objectContaining({ status: 409 }) }),
      expect.objectContaining({ key: keys[2], status: 'refused', problem: expect.objectContaining({ status: 503 }) }),
      expect.objectContaining({ key: keys[3], status: 'refused', problem: expect.objectContaining({ status: 504 }) }),
      expect.objectContaining({ key: keys[4], status: 'applied', amount: expect.not.stringMatching(/^5$/) }),
      expect.objectContaining({ key: keys[5], status: 'applied' }),
    ])
    await vi.waitFor(async () => expect(await statusOf(keys[3])).toBe('applied'))
    const statuses = await Promise.all(keys.map(each => statusOf(each)))
    expect(statuses).toEqual(['applied', 'unknown', 'applied', 'applied', 'applied', 'applied'])
  })

  test('what it can not falls on the whole call', async () => {
    const keys = [`${key}-a`, `${key}-b`]
    await script([{ key: keys[1], fault: 'cut', when: 'after' }])
    raw.send(batch(keys))
    expect(await raw.ended()).toBe(true)
    expect(await Promise.all(keys.map(each => statusOf(each)))).toEqual(['applied', 'applied'])
  })

  test('a rule for whole calls, of operations and of settlements', async () => {
    await script([{ call: 'batch', attempt: '1-2', fault: 'status', status: 413 }])
    const leg = (type: string, user_id: string) => ({ ...CREDIT, type, user_id, trade_id: undefined })
    const legs = [leg('debit', '00000000-0000-0000-0000-000000000001'), leg('credit', SELLER)]
    const settle = request('POST', '/v1/settlements', { settlements: [{ key, trade_id: TRADE, legs }] }, AUTH)
    raw.send(batch([`${key}-c`]) + settle + settle)
    await raw.until(text => answersIn(text).length === 3)
    expect(answersIn(raw.received()).map(({ status }) => status)).toEqual([413, 413, 200])
    expect(JSON.parse(answersIn(raw.received())[2]?.body ?? '').results[0]).toMatchObject({ key, status: 'settled' })
  })
})

describe('the script', () => {
  test('is shown as it was given, with its counts, and replaced whole or not at all', async () => {
    const rules = [{ attempt: '2-', percent: 50, fault: 'cut' }]
    await script(rules)
    await answerTo(credit())
    expect((await ask('GET', '/v1/faults')).body).toEqual({ rules, calls: 1, applied: 0 })
    const refused = await ask('PUT', '/v1/faults', { rules: [{ fault: 'cut' }, { fault: 'cut', attempt: [1, 'x'] }] })
    expect(refused).toMatchObject({
      status: 400,
      body: { code: 'INVALID_REQUEST', errors: [{ pointer: '/rules/1/attempt/1', detail: expect.any(String) }] },
    })
    expect((await ask('GET', '/v1/faults')).body.rules).toEqual(rules)
  })

  test('is for operators, and a call without a key meets no fault', async () => {
    await script([{ fault: 'cut' }])
    expect((await fetch(`${url}/v1/faults`, { headers: bearer('viewer') })).status).toBe(403)
    raw.send(request('POST', '/v1/credits', CREDIT, { 'idempotency-key': key }))
    expect(await raw.until(text => text.startsWith('HTTP/1.1 401'))).toBe(true)
    raw.close()
  })
})
