/** Level 0, what is common to all calls: who may call, what a request looks like, and how errors are told. */
import type { Answer } from './caller.ts'
import { isAsset, isWhole } from './claims.ts'
import { expectApplied, expectRefused, expectThat, isText, read } from './expect.ts'
import { LEVELS, type WalletPromise } from './promise.ts'
import type { Trial } from './trial.ts'

const COMMON = { part: 'basic', section: 'Common to all calls' } as const

/** What is no amount, whatever the currency. */
const NO_AMOUNTS: readonly unknown[] = [
  ...[
    '1e3',
    '1E-3',
    '-1',
    '+1',
    '0',
    '0.0',
    '',
    ' 1',
    '1 ',
    '1,5',
    '1.',
    '.5',
    '1.2.3',
    '0x10',
    'NaN',
    'Infinity',
    '١',
  ],
  ...['9'.repeat(39), 1, 0.5],
]

const SIGNS = ` !"#$%&'()*+,-./:;<=>?@[\\]^_\`{|}~ %7E`
const REFUSED_KEYS = ['k'.repeat(129), 'schl\u00fcssel', 'a\ttab']

export const REQUESTS: readonly WalletPromise[] = [
  {
    ...COMMON,
    name: 'the capabilities name the levels without a gap, the limits and the currencies; or there are none (404)',
    section: 'Reading back',
    run: async ({ claims: { answer } }) => {
      if (answer.status === 404) return
      const levels = read(answer, 'levels')
      const count = Array.isArray(levels) ? levels.length : 0
      const isGapless = count > 0 && JSON.stringify(levels) === JSON.stringify(LEVELS.slice(0, count))
      expectThat(isGapless, `"levels" to be the first of ${JSON.stringify(LEVELS)}`, answer)
      expectThat(read(answer, 'protocol') === 1, '"protocol": 1', answer)
      expectThat(typeof read(answer, 'holds') === 'boolean', '"holds" to be true or false', answer)
      const isLimited = (name: string, at: number): boolean => count <= at || isWhole(read(answer, name, 'max'), 1)
      expectThat(isLimited('batch', 2), '"batch": { "max": a whole number of at least 1 }', answer)
      expectThat(isLimited('settlements', 3), '"settlements": { "max": a whole number of at least 1 }', answer)
      const currencies = read(answer, 'currencies')
      const areAssets = Array.isArray(currencies) && currencies.length > 0 && currencies.every(isAsset)
      expectThat(areAssets, '"currencies": [ { "code", "scale" } ], each with a scale from 0 to 18', answer)
    },
  },
  {
    ...COMMON,
    name: 'without a token nobody gets in (401), and nothing moves',
    run: trial => expectLockedOut(trial, null),
  },
  {
    ...COMMON,
    name: 'with a wrong token nobody gets in (401), and nothing moves',
    run: trial => expectLockedOut(trial, 'this-is-not-the-token'),
  },
  {
    ...COMMON,
    name: 'an error is application/problem+json with type, title, status, detail and code',
    run: async trial => {
      const item = trial.debit(trial.user(), 1)
      expectProblem(await trial.send(item))
      expectProblem(await trial.send({ ...item, amount: 'much' }))
      expectProblem(await trial.post('/v1/credits', {}, trial.key()))
      expectProblem(await trial.get(`/v1/balances/${item.user_id}/${trial.unknownCurrency}`))
      expectProblem(await trial.call({ method: 'GET', path: `/v1/balances/${item.user_id}/BTC`, token: null }))
    },
  },
  {
    ...COMMON,
    name: 'what is not a decimal text above zero is no amount: INVALID_AMOUNT',
    run: async trial => {
      const { key: _key, type, ...body } = trial.credit(trial.user(), 1)
      for (const amount of NO_AMOUNTS) {
        const answer = await trial.post(`/v1/${type}s`, { ...body, amount }, trial.key())
        expectRefused(answer, 400, 'INVALID_AMOUNT')
      }
      await trial.expectTotal(body.user_id, 0)
    },
  },
  {
    ...COMMON,
    name: 'an amount has no more places than its currency: INVALID_AMOUNT',
    run: async trial => {
      // The places are not known of a wallet that does not name its currencies; none has more than 18.
      const { scale } = trial.claims.answer.status === 404 ? { scale: 18 } : trial.asset
      const item = trial.credit(trial.user(), 1, { amount: `0.${'0'.repeat(scale)}1` })
      expectRefused(await trial.send(item), 400, 'INVALID_AMOUNT')
      await trial.expectTotal(item.user_id, 0)
    },
  },
  {
    ...COMMON,
    name: 'amounts count by value: zeros in front and behind change nothing',
    run: async trial => {
      const item = trial.credit(trial.user(), 7)
      const padded = `00${item.amount}${item.amount.includes('.') ? '' : '.'}00`
      expectApplied(await trial.send({ ...item, amount: padded }), item, { replayed: false })
      expectApplied(await trial.send(item), item, { replayed: true })
      await trial.expectTotal(item.user_id, 7)
    },
  },
  {
    ...COMMON,
    name: 'a call that moves money names a key: IDEMPOTENCY_KEY_MISSING',
    run: async trial => {
      const { key: _key, type, ...body } = trial.credit(trial.user(), 1)
      expectRefused(await trial.post(`/v1/${type}s`, body), 400, 'IDEMPOTENCY_KEY_MISSING')
      await trial.expectTotal(body.user_id, 0)
    },
  },
  {
    ...COMMON,
    name: 'a key is 1 to 128 printable ASCII characters, every one of which counts; others: INVALID_REQUEST',
    run: async trial => {
      const user = trial.user()
      const long = `${trial.key()}${SIGNS}`.padEnd(127, 'k')
      for (const last of ['1', '2']) {
        const item = trial.credit(user, 1, { key: long + last })
        expectApplied(await trial.send(item), item, { replayed: false })
      }
      for (const key of REFUSED_KEYS) {
        expectRefused(await trial.send(trial.credit(user, 1, { key })), 400, 'INVALID_REQUEST')
      }
      await trial.expectTotal(user, 2)
    },
  },
  {
    ...COMMON,
    name: 'a request that is no JSON, misses a field, or has one that makes no sense: INVALID_REQUEST',
    run: async trial => {
      const { key: _key, type, ...body } = trial.credit(trial.user(), 1)
      const { reason: _reason, ...withoutReason } = body
      const { user_id, ...withoutUser } = body
      const { currency: _currency, ...withoutCurrency } = body
      const wrong: readonly unknown[] = [
        ...['{', '[]', withoutReason, withoutUser, withoutCurrency],
        ...[
          { ...body, user_id: 'me' },
          { ...body, reason: 'GIFT' },
          { ...body, currency: 7 },
        ],
        { ...body, trade_id: 'a trade' },
      ]
      for (const each of wrong) {
        expectRefused(await trial.post(`/v1/${type}s`, each, trial.key()), 400, 'INVALID_REQUEST')
      }
      await trial.expectTotal(user_id, 0)
    },
  },
  {
    ...COMMON,
    section: 'Level 0',
    name: 'all reasons are taken; trade_id may be left out for DEPOSIT and WITHDRAWAL only',
    run: async trial => {
      const user = await trial.funded(100)
      const { trade_id: _trade, ...credit } = trial.credit(user, 1)
      const reasons = ['TRADE_SETTLEMENT', 'FEE_COLLECTION', 'SETTLEMENT_ROLLBACK']
      for (const reason of reasons) {
        expectRefused(await trial.send({ ...credit, key: trial.key(), reason }), 400, 'INVALID_REQUEST')
        const [plus, minus] = [trial.credit(user, 1, { reason }), trial.debit(user, 1, { reason })]
        expectApplied(await trial.send(plus), plus)
        expectApplied(await trial.send(minus), minus)
      }
      const { trade_id: _none, ...withdrawal } = trial.debit(user, 100, { reason: 'WITHDRAWAL' })
      expectApplied(await trial.send(withdrawal), withdrawal)
      await trial.expectTotal(user, 0)
    },
  },
  {
    ...COMMON,
    name: 'a request that is refused for itself spends no key',
    run: async trial => {
      const item = trial.credit(trial.user(), 5)
      expectRefused(await trial.send({ ...item, amount: '-5' }), 400, 'INVALID_AMOUNT')
      expectRefused(await trial.send({ ...item, user_id: 'me' }), 400, 'INVALID_REQUEST')
      const { key, type, ...body } = item
      const locked = await trial.call({ method: 'POST', path: `/v1/${type}s`, body, key, token: null })
      expectThat(locked.status === 401, '401', locked)
      expectApplied(await trial.send(item), item, { replayed: false })
    },
  },
]

async function expectLockedOut(trial: Trial, token: string | null): Promise<void> {
  const user = trial.user()
  const { key, type, ...body } = trial.credit(user, 1)
  const calls = [
    { method: 'POST', path: `/v1/${type}s`, body, key, token },
    { method: 'GET', path: `/v1/balances/${user}/${trial.asset.code}`, token },
  ] as const
  for (const call of calls) {
    const answer = await trial.call(call)
    expectThat(answer.status === 401, '401', answer)
  }
  await trial.expectTotal(user, 0)
}

function expectProblem(answer: Answer): void {
  const { status, contentType } = answer
  expectThat(status >= 400, 'a refusal', answer)
  expectThat(
    /^application\/problem\+json\b/.test(contentType),
    `Content-Type: application/problem+json, not "${contentType}"`,
    answer,
  )
  const hasTexts = ['type', 'title', 'detail', 'code'].every(name => isText(read(answer, name)))
  expectThat(hasTexts, 'type, title, detail and code, each a text', answer)
  expectThat(read(answer, 'status') === status, `"status": ${status}, as in the status line`, answer)
}
