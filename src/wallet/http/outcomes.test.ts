import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ASSETS, BUYER, SELLER } from '../../../test/support/trades.ts'
import type { Operation, Outcome } from '../wallet.ts'
import { type Asked, readNotTaken, readSingle, readTogether, type Sign } from './outcomes.ts'
import type { HttpAnswer, Sent } from './transport.ts'

const NOW = Date.UTC(2026, 10, 22, 12, 0, 0)
const CONTEXT = { assets: ASSETS, nowMs: NOW }
const KEY = 'trade:0:buyer-debit'
const OPERATION: Operation = {
  key: KEY,
  tradeId: '00000000-0000-4000-9000-00000000aaaa',
  type: 'debit',
  userId: BUYER,
  currency: 'USDT',
  amount: 5_002_550_000_000n,
  reason: 'TRADE_SETTLEMENT',
}
const ASKED: Asked = { kind: 'operation', operation: OPERATION }
const REVERSAL: Asked = { kind: 'reversal', key: KEY }
const SETTLEMENT: Asked = { kind: 'settlement', key: KEY }
const HELD = { key: KEY, user_id: BUYER, currency: 'USDT', amount: '2', remaining: '2', status: 'open' }
const HOLD: Asked = { kind: 'hold', hold: { key: KEY, userId: BUYER, currency: 'USDT', amount: 200_000_000n } }
const RELEASE = releaseOf(null)

const APPLIED = {
  key: KEY,
  type: 'debit',
  user_id: BUYER,
  currency: 'USDT',
  amount: '50025.5',
  status: 'applied',
  balance_after: '49975',
  applied_at: '2026-11-22T12:00:00.123Z',
  replayed: false,
}
const DONE = { balanceAfter: 4_997_500_000_000n, appliedAtMs: NOW + 123 }

function answer(status: number, body: unknown, change: Partial<HttpAnswer> = {}): HttpAnswer {
  const contentType = status < 300 ? 'application/json; charset=utf-8' : 'application/problem+json'
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return { kind: 'answer', status, contentType, retryAfter: null, body: text, ...change }
}

function problem(code: string, more: object = {}): object {
  return { type: `urn:x:${code}`, title: 'No', status: 422, detail: `because of ${code}`, code, ...more }
}

function releaseOf(amountAtto: bigint | null): Asked {
  return { kind: 'release', release: { key: 'release', hold: KEY, amountAtto } }
}

/** `OUTCOME CODE`, with `reached` of what was deferred or lost behind another. */
function said(outcome: Outcome): string {
  if (outcome.outcome === 'applied') return `applied${outcome.replayed ? ' replayed' : ''}`
  const isReached = !('reached' in outcome) || outcome.reached
  const reached = !isReached ? ', not reached' : outcome.outcome === 'deferred' ? ', reached' : ''
  return `${outcome.outcome} ${outcome.code}${reached}`
}

describe('what came back → the reading', () => {
  const html = '<html><body>Bad gateway</body></html>'
  test.each<[what: string, sent: Sent, reading: string, sign: Sign]>([
    // Nothing was sent
    ['connection refused', { kind: 'not_sent', code: 'ECONNREFUSED' }, 'deferred NOT_SENT, not reached', 'away'],
    ['name not resolved', { kind: 'not_sent', code: 'ENOTFOUND' }, 'deferred NOT_SENT, not reached', 'away'],
    ['never written', { kind: 'not_sent', code: 'TIMEOUT' }, 'deferred NOT_SENT, not reached', 'away'],
    ['too many of our own', { kind: 'not_sent', code: 'TOO_MANY' }, 'deferred NOT_SENT, not reached', 'none'],
    // Something was sent, and no answer came whole
    ['time-out', { kind: 'lost', code: 'TIMEOUT' }, 'unanswered TIMEOUT', 'away'],
    ['connection lost', { kind: 'lost', code: 'CONNECTION_LOST' }, 'unanswered CONNECTION_LOST', 'away'],
    ['lost behind another', { kind: 'lost', code: 'LOST_BEHIND' }, 'unanswered LOST_BEHIND, not reached', 'away'],
    ['cut', { kind: 'lost', code: 'ANSWER_CUT' }, 'unanswered ANSWER_CUT', 'none'],
    ['garbage', { kind: 'lost', code: 'ANSWER_MALFORMED' }, 'unanswered ANSWER_MALFORMED', 'none'],
    ['too large', { kind: 'lost', code: 'ANSWER_TOO_LARGE' }, 'unanswered ANSWER_TOO_LARGE', 'none'],
    // 2xx that names what was asked
    ['201', answer(201, APPLIED), 'applied', 'alive'],
    ['200, replayed', answer(200, { ...APPLIED, replayed: true }), 'applied replayed', 'alive'],
    ['another way to write the amount', answer(201, { ...APPLIED, amount: '050025.500' }), 'applied', 'alive'],
    ['the user in capitals', answer(201, { ...APPLIED, user_id: BUYER.toUpperCase() }), 'applied', 'alive'],
    ['no content type', answer(201, APPLIED, { contentType: null }), 'applied', 'alive'],
    [
      'no more than has to be named',
      answer(201, { key: KEY, user_id: BUYER, currency: 'USDT', amount: '50025.5' }),
      'applied',
      'alive',
    ],
    // 2xx that does not
    ['200 with HTML', answer(200, html, { contentType: 'text/html' }), 'unanswered ANSWER_MISMATCH', 'none'],
    ['204', answer(204, ''), 'unanswered ANSWER_MISMATCH', 'none'],
    ['202, accepted for later', answer(202, { ...APPLIED, status: 'pending' }), 'unanswered ANSWER_MISMATCH', 'none'],
    ['a list', answer(200, [APPLIED]), 'unanswered ANSWER_MISMATCH', 'none'],
    ['cut JSON', answer(200, JSON.stringify(APPLIED).slice(0, -1)), 'unanswered ANSWER_MISMATCH', 'none'],
    ['a wrong key', answer(201, { ...APPLIED, key: 'trade:0:fee' }), 'unanswered ANSWER_MISMATCH', 'none'],
    ['no key', answer(201, { ...APPLIED, key: undefined }), 'unanswered ANSWER_MISMATCH', 'none'],
    ['a wrong user', answer(201, { ...APPLIED, user_id: SELLER }), 'unanswered ANSWER_MISMATCH', 'none'],
    ['a wrong currency', answer(201, { ...APPLIED, currency: 'BTC' }), 'unanswered ANSWER_MISMATCH', 'none'],
    ['a wrong amount', answer(201, { ...APPLIED, amount: '50025.51' }), 'unanswered ANSWER_MISMATCH', 'none'],
    ['an amount as a number', answer(201, { ...APPLIED, amount: 50025.5 }), 'unanswered ANSWER_MISMATCH', 'none'],
    [
      'an amount with an exponent',
      answer(201, { ...APPLIED, amount: '5.00255e4' }),
      'unanswered ANSWER_MISMATCH',
      'none',
    ],
    ['the opposite type', answer(201, { ...APPLIED, type: 'credit' }), 'unanswered ANSWER_MISMATCH', 'none'],
    ['another status', answer(200, { ...APPLIED, status: 'reversed' }), 'unanswered ANSWER_MISMATCH', 'none'],
    ['a problem as 200', answer(200, problem('INSUFFICIENT_BALANCE')), 'unanswered ANSWER_MISMATCH', 'none'],
    // Refusals
    ...['INSUFFICIENT_BALANCE', 'UNKNOWN_CURRENCY', 'HOLD_NOT_FOUND', 'HOLD_EXCEEDED'].map(
      (code): [string, Sent, string, Sign] => [code, answer(422, problem(code)), `refused ${code}`, 'alive'],
    ),
    ...['INVALID_AMOUNT', 'INVALID_REQUEST', 'IDEMPOTENCY_KEY_MISSING'].map((code): [string, Sent, string, Sign] => [
      code,
      answer(400, problem(code)),
      `refused ${code}`,
      'alive',
    ]),
    ['REVERSED', answer(409, problem('REVERSED')), 'refused REVERSED', 'alive'],
    ['NOT_FOUND', answer(404, problem('NOT_FOUND')), 'refused NOT_FOUND', 'alive'],
    ['TOO_LARGE', answer(413, problem('TOO_LARGE')), 'refused TOO_LARGE', 'alive'],
    [
      'a charset of the problem',
      answer(422, problem('INSUFFICIENT_BALANCE'), { contentType: 'Application/Problem+JSON; charset=utf-8' }),
      'refused INSUFFICIENT_BALANCE',
      'alive',
    ],
    ['a fault', answer(422, problem('IDEMPOTENCY_KEY_REUSED')), 'fault IDEMPOTENCY_KEY_REUSED', 'alive'],
    // Not refusals
    ['IN_PROGRESS', answer(409, problem('IN_PROGRESS')), 'unanswered IN_PROGRESS', 'alive'],
    ['409 without a code', answer(409, problem('')), 'unanswered HTTP_409', 'none'],
    ['a code nobody knows', answer(422, problem('NO_MOOD')), 'unanswered HTTP_422', 'none'],
    ['a code that is no refusal', answer(422, problem('INTERNAL')), 'unanswered HTTP_422', 'none'],
    ["a proxy's 404", answer(404, html, { contentType: 'text/html' }), 'unanswered HTTP_404', 'none'],
    ["a proxy's 400", answer(400, html, { contentType: 'text/html' }), 'unanswered HTTP_400', 'none'],
    ["a proxy's 413", answer(413, '', { contentType: null }), 'unanswered HTTP_413', 'none'],
    [
      'a known code in other JSON',
      answer(404, problem('NOT_FOUND'), { contentType: 'application/json' }),
      'unanswered HTTP_404',
      'none',
    ],
    [
      'a known code beside the type',
      answer(422, problem('NOT_FOUND'), { contentType: 'text/plain, application/problem+json' }),
      'unanswered HTTP_422',
      'none',
    ],
    ['a problem that is a list', answer(422, [problem('NOT_FOUND')]), 'unanswered HTTP_422', 'none'],
    ['408', answer(408, problem('INVALID_REQUEST')), 'unanswered HTTP_408', 'none'],
    ['425', answer(425, problem('INVALID_REQUEST')), 'unanswered HTTP_425', 'none'],
    ...[300, 301, 302, 303, 304, 307, 308].map((status): [string, Sent, string, Sign] => [
      String(status),
      answer(status, APPLIED),
      `unanswered HTTP_${status}`,
      'none',
    ]),
    ...[500, 501, 505, 507, 599].map((status): [string, Sent, string, Sign] => [
      String(status),
      answer(status, problem('INSUFFICIENT_BALANCE')),
      `unanswered HTTP_${status}`,
      'none',
    ]),
    ...[502, 503, 504].map((status): [string, Sent, string, Sign] => [
      String(status),
      answer(status, html),
      `unanswered HTTP_${status}`,
      'away',
    ]),
    ['429', answer(429, problem('RATE_LIMITED')), 'deferred RATE_LIMITED, reached', 'alive'],
    ["a proxy's 429", answer(429, html), 'deferred RATE_LIMITED, reached', 'alive'],
    ['401', answer(401, problem('UNAUTHORIZED')), 'deferred UNAUTHORIZED, not reached', 'locked_out'],
    ["a proxy's 403", answer(403, html), 'deferred FORBIDDEN, not reached', 'locked_out'],
  ])('%s', (_, sent, reading, sign) => {
    const read = readSingle(sent, ASKED, CONTEXT)
    expect([said(read.outcome), read.sign]).toEqual([reading, sign])
  })

  test('of an applied operation: the balance after it and when, where the wallet says so', () => {
    expect(readSingle(answer(201, APPLIED), ASKED, CONTEXT).outcome).toEqual({
      outcome: 'applied',
      replayed: false,
      done: DONE,
    })
    const silent = { ...APPLIED, balance_after: 'plenty', applied_at: 'now' }
    expect(readSingle(answer(201, silent), ASKED, CONTEXT).outcome).toMatchObject({
      done: { balanceAfter: null, appliedAtMs: null },
    })
  })

  test.each<[string, bigint | null]>([
    ['0', 0n],
    ['-0.00000001', -1n],
    ['1.500000000000', 150_000_000n],
    ['1.000000001', null],
    [`${'9'.repeat(60)}.1`, BigInt(`${'9'.repeat(60)}10000000`)],
    ['9'.repeat(300), null],
    ['1e3', null],
    ['.5', null],
    ['', null],
  ])('the balance after it: %s', (balance_after, balanceAfter) => {
    const { outcome } = readSingle(answer(201, { ...APPLIED, balance_after }), ASKED, CONTEXT)
    expect(outcome).toMatchObject({ outcome: 'applied', done: { balanceAfter } })
  })

  test.each<[what: string, sent: Sent, reading: string]>([
    ['reversed', answer(200, { key: KEY, status: 'reversed', replayed: false }), 'applied'],
    ['cancelled', answer(200, { key: KEY, status: 'cancelled', replayed: true }), 'applied replayed'],
    ['another key', answer(200, { key: 'k', status: 'reversed', replayed: false }), 'unanswered ANSWER_MISMATCH'],
    ['another status', answer(200, { ...APPLIED }), 'unanswered ANSWER_MISMATCH'],
    ['the money is spent', answer(422, problem('INSUFFICIENT_BALANCE')), 'refused INSUFFICIENT_BALANCE'],
  ])('a reversal: %s', (_, sent, reading) => {
    expect(said(readSingle(sent, REVERSAL, CONTEXT).outcome)).toBe(reading)
  })

  const HALF = 5n * 10n ** 17n
  const UNREAD = 'unanswered ANSWER_MISMATCH'

  test.each<[what: string, sent: Sent, reading: string]>([
    ['placed', answer(201, HELD), 'applied'],
    ['again', answer(200, { ...HELD, replayed: true }), 'applied replayed'],
    ['again, as it stands by now', answer(200, { ...HELD, remaining: '0', status: 'closed' }), 'applied'],
    ['by value', answer(201, { ...HELD, amount: '02.0', user_id: BUYER.toUpperCase() }), 'applied'],
    ['no status', answer(201, { ...HELD, status: undefined }), 'applied'],
    ['another key', answer(201, { ...HELD, key: 'k' }), UNREAD],
    ['another account', answer(201, { ...HELD, user_id: SELLER }), UNREAD],
    ['another currency', answer(201, { ...HELD, currency: 'BTC' }), UNREAD],
    ['another amount', answer(201, { ...HELD, amount: '2.1' }), UNREAD],
    ['an unknown currency', answer(201, { ...HELD, currency: 'DOGE' }), UNREAD],
    ['no remainder', answer(201, { ...HELD, remaining: undefined }), UNREAD],
    ['more left than was held', answer(201, { ...HELD, remaining: '2.1' }), UNREAD],
    ['less than nothing left', answer(201, { ...HELD, remaining: '-1' }), UNREAD],
    ['closed with a rest', answer(201, { ...HELD, status: 'closed' }), UNREAD],
    ['a debit', answer(201, APPLIED), UNREAD],
    ['not enough', answer(422, problem('INSUFFICIENT_BALANCE')), 'refused INSUFFICIENT_BALANCE'],
    ['other content', answer(422, problem('IDEMPOTENCY_KEY_REUSED')), 'fault IDEMPOTENCY_KEY_REUSED'],
    ['still running', answer(409, problem('IN_PROGRESS')), 'unanswered IN_PROGRESS'],
    ['busy', answer(429, problem('RATE_LIMITED')), 'deferred RATE_LIMITED, reached'],
    ['a page that is not there', answer(404, html), 'unanswered HTTP_404'],
  ])('a hold: %s', (_, sent, reading) => {
    expect(said(readSingle(sent, HOLD, CONTEXT).outcome)).toBe(reading)
  })

  test.each<[what: string, amountAtto: bigint | null, sent: Sent, reading: string]>([
    ['a part', HALF, answer(200, { ...HELD, remaining: '1.5' }), 'applied'],
    ['a part of what was left', HALF, answer(200, { ...HELD, remaining: '0', status: 'closed' }), 'applied'],
    ['the rest', null, answer(200, { ...HELD, remaining: '0', status: 'closed', replayed: true }), 'applied replayed'],
    ['too little', HALF, answer(200, { ...HELD, remaining: '1.50000001' }), UNREAD],
    ['not the rest', null, answer(200, { ...HELD, remaining: '0.1' }), UNREAD],
    ['of another hold', null, answer(200, { ...HELD, key: 'k', remaining: '0' }), UNREAD],
    ['under its own key', null, answer(200, { ...HELD, key: 'release', remaining: '0' }), UNREAD],
    ['of an unknown currency', null, answer(200, { ...HELD, currency: 'DOGE', remaining: '0' }), UNREAD],
    ['not there', null, answer(422, problem('HOLD_NOT_FOUND')), 'refused HOLD_NOT_FOUND'],
    ['more than remains', HALF, answer(422, problem('HOLD_EXCEEDED')), 'refused HOLD_EXCEEDED'],
  ])('a release: %s', (_, amountAtto, sent, reading) => {
    expect(said(readSingle(sent, releaseOf(amountAtto), CONTEXT).outcome)).toBe(reading)
  })

  test('of a hold: the account, what was set aside and what remains, also where a release does not name them', () => {
    const done = { userId: BUYER, currency: 'USDT', amount: 200_000_000n, remaining: 150_000_000n }
    const sent = answer(200, { ...HELD, remaining: '1.5' })
    for (const asked of [HOLD, releaseOf(HALF)]) {
      expect(readSingle(sent, asked, CONTEXT).outcome).toEqual({ outcome: 'applied', replayed: false, done })
    }
    const short = problem('HOLD_EXCEEDED', { available: '1', required: '2' })
    expect(readSingle(answer(422, short), HOLD, CONTEXT).outcome).toMatchObject({ amounts: { currency: 'USDT' } })
    expect(readSingle(answer(422, short), releaseOf(HALF), CONTEXT).outcome).not.toHaveProperty('amounts')
    const named = { ...short, currency: 'BTC' }
    expect(readSingle(answer(422, named), releaseOf(HALF), CONTEXT).outcome).toMatchObject({
      amounts: { currency: 'BTC', available: 100_000_000n, required: 200_000_000n },
    })
  })

  test('the answer to a release names a hold that others may release too: it never proves whose it is', () => {
    const own = (key: string): boolean | null =>
      readSingle(answer(200, { ...HELD, key, remaining: '0', status: 'closed' }), releaseOf(null), CONTEXT).isOwn
    expect([own(KEY), own('k')]).toEqual([null, false])
    expect(readSingle(answer(201, HELD), HOLD, CONTEXT).isOwn).toBe(true)
  })

  test('a debit that draws on a hold is not one that draws on another', () => {
    const asked: Asked = { kind: 'operation', operation: { ...OPERATION, hold: 'h' } }
    const read = (hold: unknown, of: Asked): string =>
      said(readSingle(answer(201, { ...APPLIED, hold }), of, CONTEXT).outcome)
    expect([read(undefined, asked), read('h', asked), read(null, ASKED)]).toEqual(['applied', 'applied', 'applied'])
    expect([read('other', asked), read('h', ASKED)]).toEqual([UNREAD, UNREAD])
  })

  test('whether an answer is to its own request', () => {
    const own = (body: unknown): boolean | null => readSingle(answer(200, body), ASKED, CONTEXT).isOwn
    expect([own(APPLIED), own({ ...APPLIED, amount: '1' }), own({ ...APPLIED, key: 'k' }), own({}), own('')]).toEqual([
      true,
      true,
      false,
      null,
      null,
    ])
  })

  test('a shortfall is read in the asset it is of', () => {
    const short = problem('INSUFFICIENT_BALANCE', { available: '1.5', required: '2' })
    expect(readSingle(answer(422, short), ASKED, CONTEXT).outcome).toMatchObject({
      amounts: { currency: 'USDT', available: 150_000_000n, required: 200_000_000n },
    })
    const named = { ...short, currency: 'BTC', available: '-0.00000001' }
    expect(readSingle(answer(422, named), REVERSAL, CONTEXT).outcome).toMatchObject({
      amounts: { currency: 'BTC', available: -1n, required: 200_000_000n },
    })
    for (const strange of [
      { ...named, currency: 'DOGE' },
      { ...short, available: 1.5 },
      problem('INSUFFICIENT_BALANCE'),
    ]) {
      expect(readSingle(answer(422, strange), ASKED, CONTEXT).outcome).not.toHaveProperty('amounts')
    }
  })

  test('what a person is shown is bounded, and has no control characters', () => {
    const detail = `a\r\nb\u0007${'x'.repeat(1000)}`
    const { outcome } = readSingle(answer(422, problem('UNKNOWN_CURRENCY', { detail })), ASKED, CONTEXT)
    expect(outcome).toMatchObject({ detail: `a  b ${'x'.repeat(295)}` })
  })

  test.each([200, 302, 401, 404, 409, 422, 429, 500, 503])('Retry-After is read on any answer: %s', status => {
    const sent = answer(status, problem('NO_MOOD'), { retryAfter: '120' })
    expect(readSingle(sent, ASKED, CONTEXT).outcome).toMatchObject({ retryAfterMs: 120_000 })
    const running = answer(409, problem('IN_PROGRESS'), { retryAfter: '120' })
    expect(readSingle(running, ASKED, CONTEXT).outcome).toMatchObject({ code: 'IN_PROGRESS', retryAfterMs: 120_000 })
  })
})

describe('several in one call', () => {
  const second: Asked = { kind: 'operation', operation: { ...OPERATION, key: 'second', type: 'credit' } }
  const secondApplied = { ...APPLIED, key: 'second', type: 'credit' }
  const refused = (key: unknown, inner: unknown): object => ({ key, status: 'refused', problem: inner })
  const readings = (results: unknown): readonly string[] => {
    const read = readTogether(answer(200, { results }), [ASKED, second], CONTEXT)
    return typeof read === 'string' ? [read] : read.map(({ outcome }) => said(outcome))
  }
  const UNREAD = 'unanswered ANSWER_MISMATCH'

  test.each<[what: string, results: unknown, wanted: readonly string[]]>([
    ['one for one', [APPLIED, { ...secondApplied, replayed: true }], ['applied', 'applied replayed']],
    ['one is missing', [APPLIED], ['applied', UNREAD]],
    ['the first is missing', [secondApplied], [UNREAD, UNREAD]],
    ['one too many', [APPLIED, secondApplied, APPLIED], ['applied', 'applied']],
    ['swapped', [secondApplied, APPLIED], [UNREAD, UNREAD]],
    ['none', [], [UNREAD, UNREAD]],
    ['no list', { 0: APPLIED, 1: secondApplied }, [UNREAD, UNREAD]],
    ['strange ones', [null, 'applied'], [UNREAD, UNREAD]],
    [
      'a refusal',
      [refused(KEY, problem('INSUFFICIENT_BALANCE')), secondApplied],
      ['refused INSUFFICIENT_BALANCE', 'applied'],
    ],
    ['a refusal of another', [refused('second', problem('INSUFFICIENT_BALANCE')), secondApplied], [UNREAD, 'applied']],
    ['a refusal of nothing', [refused(null, problem('INSUFFICIENT_BALANCE')), secondApplied], [UNREAD, 'applied']],
    ['a refusal without a problem', [refused(KEY, null), secondApplied], [UNREAD, 'applied']],
    [
      'a refusal without a status',
      [refused(KEY, problem('REVERSED', { status: '409' })), secondApplied],
      [UNREAD, 'applied'],
    ],
    [
      'still running',
      [refused(KEY, problem('IN_PROGRESS', { status: 409 })), secondApplied],
      ['unanswered IN_PROGRESS', 'applied'],
    ],
    [
      'a fault',
      [refused(KEY, problem('IDEMPOTENCY_KEY_REUSED')), secondApplied],
      ['fault IDEMPOTENCY_KEY_REUSED', 'applied'],
    ],
    [
      'it failed',
      [refused(KEY, problem('INTERNAL', { status: 500 })), secondApplied],
      ['unanswered HTTP_500', 'applied'],
    ],
    [
      'a refusal of 500',
      [refused(KEY, problem('REVERSED', { status: 500 })), secondApplied],
      ['unanswered HTTP_500', 'applied'],
    ],
    ['an unknown code', [refused(KEY, problem('NO_MOOD')), secondApplied], ['unanswered HTTP_422', 'applied']],
    [
      'too many calls',
      [refused(KEY, problem('RATE_LIMITED', { status: 429 })), secondApplied],
      ['deferred RATE_LIMITED, reached', 'applied'],
    ],
    [
      'not let in',
      [refused(KEY, problem('FORBIDDEN', { status: 403 })), secondApplied],
      ['deferred FORBIDDEN, not reached', 'applied'],
    ],
    [
      'a refusal of 200',
      [refused(KEY, problem('REVERSED', { status: 200 })), secondApplied],
      ['refused REVERSED', 'applied'],
    ],
  ])('%s', (_, results, wanted) => {
    expect(readings(results)).toEqual(wanted)
  })

  test.each<[what: string, sent: Sent, wanted: string]>([
    ['413', answer(413, problem('TOO_LARGE')), 'too_large'],
    ["a proxy's 413", answer(413, '<html>'), 'too_large'],
    ['400', answer(400, problem('INVALID_REQUEST')), 'strange'],
    ['422 with a refusal', answer(422, problem('INSUFFICIENT_BALANCE')), 'unanswered HTTP_422'],
    ['a fault', answer(422, problem('IDEMPOTENCY_KEY_REUSED')), 'unanswered HTTP_422'],
    ['404', answer(404, problem('NOT_FOUND')), 'unanswered HTTP_404'],
    ['302', answer(302, ''), 'unanswered HTTP_302'],
    ['429', answer(429, ''), 'deferred RATE_LIMITED, reached'],
    ['401', answer(401, ''), 'deferred UNAUTHORIZED, not reached'],
    ['503', answer(503, ''), 'unanswered HTTP_503'],
    ['time-out', { kind: 'lost', code: 'TIMEOUT' }, 'unanswered TIMEOUT'],
    ['not sent', { kind: 'not_sent', code: 'ECONNREFUSED' }, 'deferred NOT_SENT, not reached'],
  ])('the whole call: %s is never a refusal of one in it', (_, sent, wanted) => {
    const read = readTogether(sent, [ASKED, second], CONTEXT)
    expect(typeof read === 'string' ? read : read.map(({ outcome }) => said(outcome))).toEqual(
      wanted.includes(' ') ? [wanted, wanted] : wanted,
    )
  })

  test('settlements: settled, refused, and what is neither', () => {
    const read = (result: object): string => {
      const [only] = readTogether(answer(200, { results: [result] }), [SETTLEMENT], CONTEXT) as ReturnType<
        typeof readSingle
      >[]
      return only === undefined ? 'nothing' : said(only.outcome)
    }
    expect(read({ key: KEY, status: 'settled', replayed: true })).toBe('applied replayed')
    expect(read({ key: KEY, status: 'refused', replayed: false, problem: problem('INSUFFICIENT_BALANCE') })).toBe(
      'refused INSUFFICIENT_BALANCE',
    )
    expect(read({ key: KEY, status: 'applied' })).toBe(UNREAD)
    expect(read({ key: 'k', status: 'settled' })).toBe(UNREAD)
  })

  test('what is not taken even alone is no refusal', () => {
    expect(said(readNotTaken().outcome)).toBe('unanswered CALL_NOT_TAKEN')
  })
})

describe('whatever comes', () => {
  const text = fc.oneof(
    fc.string(),
    fc.json(),
    fc
      .constantFrom(APPLIED, problem('INSUFFICIENT_BALANCE'), problem('IN_PROGRESS'), { results: [APPLIED] })
      .map(value => JSON.stringify(value)),
    fc
      .record(
        {
          key: fc.oneof(fc.constant(KEY), fc.string(), fc.integer()),
          user_id: fc.oneof(fc.constant(BUYER), fc.constant(SELLER), fc.anything()),
          currency: fc.constantFrom('USDT', 'BTC', 7, null),
          amount: fc.oneof(fc.constant('50025.5'), fc.string(), fc.double(), fc.constant('50025.50000000001')),
          remaining: fc.constantFrom('0', '2', '50025.5', null),
          status: fc.constantFrom('applied', 'refused', 'settled', 'reversed', 'open', 'closed', undefined),
          problem: fc.oneof(fc.anything(), fc.record({ code: fc.string(), status: fc.integer() })),
          code: fc.constantFrom('INSUFFICIENT_BALANCE', 'constructor', '__proto__'),
        },
        { requiredKeys: [] },
      )
      .map(value => {
        try {
          return JSON.stringify(value)
        } catch {
          return ''
        }
      }),
  )
  const anything = fc.record({
    kind: fc.constant('answer' as const),
    status: fc.oneof(fc.integer({ min: 100, max: 599 }), fc.constantFrom(200, 201, 409, 422)),
    contentType: fc.oneof(fc.constantFrom('application/problem+json', 'application/json', null), fc.string()),
    retryAfter: fc.option(fc.string()),
    body: text,
  })

  test('reading never throws, and `applied` is believed only where the body names key, account and amount', () => {
    fc.assert(
      fc.property(anything, sent => {
        for (const read of [readSingle(sent, ASKED, CONTEXT), ...listOf(readTogether(sent, [ASKED], CONTEXT))]) {
          if (read.outcome.outcome !== 'applied') continue
          for (const part of [`"${KEY}"`, `"${BUYER}"`, '"USDT"', '"50025.5"']) expect(sent.body).toContain(part)
          expect(sent.status).toBeGreaterThanOrEqual(200)
          expect(sent.status).toBeLessThan(300)
        }
        for (const asked of [REVERSAL, SETTLEMENT, HOLD, RELEASE]) {
          for (const read of [readSingle(sent, asked, CONTEXT), ...listOf(readTogether(sent, [asked], CONTEXT))]) {
            if (read.outcome.outcome === 'applied') expect(sent.body).toContain(`"${KEY}"`)
          }
        }
      }),
      { numRuns: 3000 },
    )
  })

  test('`refused` is read only from a problem with a code of the protocol', () => {
    fc.assert(
      fc.property(anything, sent => {
        const { outcome } = readSingle(sent, ASKED, CONTEXT)
        if (outcome.outcome !== 'refused' && outcome.outcome !== 'fault') return
        expect(sent.body).toContain(`"${outcome.code}"`)
        expect([400, 404, 409, 413, 422].includes(sent.status) || (sent.status > 400 && sent.status < 500)).toBe(true)
      }),
      { numRuns: 3000 },
    )
  })
})

function listOf<Item>(items: readonly Item[] | string): readonly Item[] {
  return typeof items === 'string' ? [] : items
}
