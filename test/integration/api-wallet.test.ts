import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseStored } from '../../src/core/money.ts'
import { type Answer, bearer, createTestApi, type TestApi } from '../support/api.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'

type Body = Record<string, unknown>

let db: TestDatabase
let api: TestApi

beforeAll(async () => {
  db = await createTestDatabase()
  api = await createTestApi(db.database, 'atomic')
})

afterAll(async () => {
  await api?.close()
  await db?.drop()
})

function operation(user: string, change: Body = {}): Body {
  return { user_id: user, currency: 'USDT', amount: '100', reason: 'DEPOSIT', ...change }
}

function send(type: 'debit' | 'credit', body: unknown, key: string = randomUUID()): Promise<Answer> {
  return api.post(`/v1/${type}s`, body, { 'idempotency-key': key })
}

async function funded(amount = '100'): Promise<string> {
  const user = randomUUID()
  expect((await send('credit', operation(user, { amount }))).status).toBe(201)
  return user
}

async function balance(user: string): Promise<string> {
  return (await api.get(`/v1/balances/${user}/USDT`)).body.total
}

const TRADE_REASON = { reason: 'TRADE_SETTLEMENT' }

test('W-1 a credit and a debit are answered to the letter, and again as a replay', async () => {
  const user = randomUUID()
  const key = `key with spaces/and:signs?%~ ${randomUUID()}`
  const first = await send('credit', operation(user.toUpperCase(), { amount: '050025.500' }), key)
  expect(first).toMatchObject({ status: 201, headers: { 'content-type': expect.stringContaining('application/json') } })
  expect(first.body).toEqual({
    key,
    type: 'credit',
    user_id: user,
    currency: 'USDT',
    amount: '50025.5',
    status: 'applied',
    balance_after: '50025.5',
    applied_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    replayed: false,
  })
  const again = await send('credit', operation(user, { amount: '50025.5' }), key)
  expect(again).toMatchObject({ status: 200, headers: { 'idempotent-replayed': 'true' } })
  expect(again.body).toEqual({ ...first.body, replayed: true })
  const trade_id = randomUUID()
  const debit = await send('debit', operation(user, { ...TRADE_REASON, amount: '25.5', trade_id }))
  expect(debit).toMatchObject({ status: 201, body: { type: 'debit', balance_after: '50000' } })
  expect(first.headers['idempotent-replayed']).toBeUndefined()
  expect(await balance(user)).toBe('50000')
})

test('a key with other content is IDEMPOTENCY_KEY_REUSED', async () => {
  const user = randomUUID()
  const key = randomUUID()
  await send('credit', operation(user), key)
  for (const change of [
    { amount: '101' },
    { user_id: randomUUID() },
    { currency: 'BTC' },
    { trade_id: randomUUID() },
  ]) {
    const answer = await send('credit', operation(user, change), key)
    expect(answer).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_KEY_REUSED' } })
  }
  expect(await send('debit', operation(user, { reason: 'WITHDRAWAL' }), key)).toMatchObject({
    body: { code: 'IDEMPOTENCY_KEY_REUSED' },
  })
  expect(await balance(user)).toBe('100')
})

test('W-1 a debit of more than there is says how much there is, and spends its key', async () => {
  const user = await funded('10.5')
  const key = randomUUID()
  const body = operation(user, { ...TRADE_REASON, amount: '10.50000001', trade_id: randomUUID() })
  const refused = {
    status: 422,
    body: {
      status: 422,
      code: 'INSUFFICIENT_BALANCE',
      available: '10.5',
      required: '10.50000001',
      currency: 'USDT',
      type: expect.any(String),
      title: expect.any(String),
      detail: expect.any(String),
    },
  }
  const answer = await send('debit', body, key)
  expect(answer).toMatchObject(refused)
  expect(answer.headers['content-type']).toContain('application/problem+json')
  await send('credit', operation(user))
  expect(await send('debit', body, key)).toMatchObject(refused)
  expect((await send('debit', body)).status).toBe(201)
})

test('an amount may have 38 digits', async () => {
  const user = randomUUID()
  const amount = '9'.repeat(38)
  const credited = await send('credit', operation(user, { ...TRADE_REASON, amount, trade_id: randomUUID() }))
  expect(credited).toMatchObject({ status: 201, body: { amount, balance_after: amount } })
})

test('amounts that are none are INVALID_AMOUNT, and leave no trace', async () => {
  const user = await funded()
  const key = randomUUID()
  const amounts = [
    '0', '0.00', '-1', '-0', '+1', '1e3', '1.', '.5', '', ' 1', '1 ', '1,5', 'abc', '٣', '0x10', 'Infinity', '1\0',
    '0.000000001', '9'.repeat(39), `0.${'0'.repeat(200)}1`, 5, 5.5, true, null, [], {},
  ] // biome-ignore format: a list
  for (const amount of amounts) {
    for (const type of ['debit', 'credit'] as const) {
      const answer = await send(type, operation(user, { ...TRADE_REASON, amount, trade_id: randomUUID() }), key)
      expect(answer, JSON.stringify(amount)).toMatchObject({ status: 400, body: { code: 'INVALID_AMOUNT' } })
    }
  }
  expect((await api.get(`/v1/operations/${key}`)).status).toBe(404)
  expect((await send('credit', operation(user, { amount: `1.${'0'.repeat(50)}` }), key)).status).toBe(201)
})

test('a call without a key, or with one that is none, changes nothing', async () => {
  const user = randomUUID()
  expect(await api.post('/v1/credits', operation(user))).toMatchObject({
    status: 400,
    body: { code: 'IDEMPOTENCY_KEY_MISSING' },
  })
  for (const key of ['', 'x'.repeat(129), 'schlüssel', 'a\tb']) {
    expect(await send('credit', operation(user), key), key).toMatchObject({
      status: 400,
      body: { code: 'INVALID_REQUEST' },
    })
  }
  expect((await send('credit', operation(user), 'x'.repeat(128).replace(/^.{36}/, randomUUID()))).status).toBe(201)
  expect(await balance(user)).toBe('100')
})

test('requests of another form are 400 with a pointer to each fault', async () => {
  const user = randomUUID()
  const faulty = await send('credit', { user_id: 'me', currency: 7, reason: 'GIFT', extra: 1 })
  expect(faulty).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST' } })
  const pointers = faulty.body.errors.map(({ pointer }: { pointer: string }) => pointer)
  expect(pointers.toSorted()).toEqual(['/amount', '/currency', '/extra', '/reason', '/user_id'])
  for (const [type, change] of [
    ['debit', {}],
    ['credit', { reason: 'WITHDRAWAL' }],
    ['credit', { reason: 'TRADE_SETTLEMENT' }],
    ['credit', { trade_id: 'one' }],
    ['credit', { trade_id: null }],
    ['credit', { currency: 'US\0DT' }],
    ['credit', { currency: '💸' }],
    ['credit', { currency: 'usdt' }],
    ['credit', { currency: '__proto__' }],
    ['credit', { hold: 'h1' }],
    ['debit', { reason: 'WITHDRAWAL', hold: '' }],
    ['debit', { reason: 'WITHDRAWAL', hold: null }],
    ['debit', { reason: 'WITHDRAWAL', hold: 'x'.repeat(129) }],
  ] as const) {
    const answer = await send(type, operation(user, change))
    expect(answer, JSON.stringify(change)).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST' } })
  }
})

test('a currency that is not known is UNKNOWN_CURRENCY, remembered, whatever the places of the amount', async () => {
  const user = randomUUID()
  const key = randomUUID()
  const body = operation(user, { currency: 'DOGE', amount: '1.000000000000000001' })
  for (let time = 0; time < 2; time++) {
    expect(await send('credit', body, key)).toMatchObject({ status: 422, body: { code: 'UNKNOWN_CURRENCY' } })
  }
  expect((await api.get(`/v1/operations/${key}`)).body).toMatchObject({
    status: 'refused',
    amount: '1.000000000000000001',
    problem: { code: 'UNKNOWN_CURRENCY' },
  })
  const unknown = await api.get(`/v1/balances/${user}/DOGE`)
  expect(unknown).toMatchObject({ status: 422, body: { code: 'UNKNOWN_CURRENCY' } })
})

test('balances: an account never used has zeros', async () => {
  const user = randomUUID()
  const zeros = { user_id: user, currency: 'BTC', available: '0', held: '0', total: '0' }
  expect((await api.get(`/v1/balances/${user.toUpperCase()}/BTC`)).body).toEqual(zeros)
  expect((await api.get('/v1/balances/me/BTC')).status).toBe(400)
  expect((await api.get(`/v1/balances/${user}/%00`)).status).toBe(400)
})

test('S-3 a reversal undoes what its key has done, once, and refuses the key from then on', async () => {
  const user = await funded()
  const key = `${randomUUID()}:0:buyer-debit`
  const body = operation(user, { ...TRADE_REASON, amount: '40', trade_id: randomUUID() })
  await send('debit', body, key)
  const reversal = { key, reason: 'SETTLEMENT_ROLLBACK' }
  const first = await api.post('/v1/reversals', reversal)
  expect(first).toMatchObject({ status: 200, body: { key, status: 'reversed', replayed: false } })
  const again = await api.post('/v1/reversals', reversal)
  expect(again).toMatchObject({ status: 200, body: { key, status: 'reversed', replayed: true } })
  expect(again.headers['idempotent-replayed']).toBe('true')
  expect(await balance(user)).toBe('100')
  expect(await send('debit', body, key)).toMatchObject({ status: 409, body: { code: 'REVERSED' } })
  expect((await api.get(`/v1/operations/${encodeURIComponent(key)}`)).body).toMatchObject({
    key,
    status: 'reversed',
    balance_after: '60',
  })
})

test('a reversal of a key never seen cancels it, so that a late original does nothing', async () => {
  const user = await funded()
  const key = randomUUID()
  expect((await api.post('/v1/reversals', { key })).body).toEqual({ key, status: 'cancelled', replayed: false })
  expect(await send('credit', operation(user), key)).toMatchObject({ status: 409, body: { code: 'REVERSED' } })
  const shown = await api.get(`/v1/operations/${key}`)
  expect(shown.body).toEqual({ key, type: 'reversal', trade_id: null, status: 'cancelled', replayed: false })
})

test('a reversal that finds the money spent is refused, and succeeds once it is there again', async () => {
  const user = randomUUID()
  const key = randomUUID()
  await send('credit', operation(user), key)
  await send('debit', operation(user, { reason: 'WITHDRAWAL', amount: '1' }))
  expect(await api.post('/v1/reversals', { key }, bearer('admin'))).toMatchObject({
    status: 422,
    body: { code: 'INSUFFICIENT_BALANCE' },
  })
  expect(await balance(user)).toBe('99')
  await send('credit', operation(user, { amount: '1' }))
  expect((await api.post('/v1/reversals', { key }, bearer('admin'))).body).toMatchObject({ status: 'reversed' })
  expect(await balance(user)).toBe('0')
})

test('reversals of another form are 400', async () => {
  for (const body of [
    {},
    { key: '' },
    { key: 'a\0' },
    { key: 7 },
    { key: 'k', reason: 'DEPOSIT' },
    { key: 'k', to: 1 },
  ]) {
    const answer = await api.post('/v1/reversals', body)
    expect(answer, JSON.stringify(body)).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST' } })
  }
})

test('an operation is looked up by its key, as first answered', async () => {
  const user = await funded('5')
  const applied = randomUUID()
  const { body: first } = await send('debit', operation(user, { reason: 'WITHDRAWAL', amount: '2' }), applied)
  expect((await api.get(`/v1/operations/${applied}`)).body).toEqual({ ...first, trade_id: null, reason: 'WITHDRAWAL' })
  const refused = randomUUID()
  const { body: problem } = await send('debit', operation(user, { reason: 'WITHDRAWAL', amount: '4' }), refused)
  expect((await api.get(`/v1/operations/${refused}`)).body).toEqual({
    key: refused,
    type: 'debit',
    trade_id: null,
    user_id: user,
    currency: 'USDT',
    amount: '4',
    reason: 'WITHDRAWAL',
    status: 'refused',
    replayed: false,
    problem,
  })
  expect(problem).toMatchObject({ available: '3', required: '4' })
  expect(await api.get(`/v1/operations/${randomUUID()}`)).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } })
  expect((await api.get('/v1/operations/%00')).status).toBe(400)
  const longest = encodeURIComponent('%'.repeat(128))
  expect((await api.get(`/v1/operations/${longest}`)).status).toBe(404)
})

test('a batch answers one for one and in order; each operation stands alone', async () => {
  const user = randomUUID()
  const [one, two, three, four] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()] as const
  const debit = { ...operation(user, { ...TRADE_REASON, trade_id: randomUUID() }), type: 'debit' }
  const answer = await api.post('/v1/batch', {
    operations: [
      { ...debit, key: one, amount: '1' },
      { ...operation(user), type: 'credit', key: two },
      { ...debit, key: three, amount: '60' },
      { type: 'reversal', key: three, reason: 'SETTLEMENT_ROLLBACK' },
      { ...debit, key: four, amount: '70' },
      { ...operation(user), type: 'credit', key: two },
      { ...operation(user), type: 'credit', key: two, amount: '1' },
      { ...debit, key: three, amount: '60' },
      { ...debit, amount: '1' },
      { ...debit, key: 'x'.repeat(129), amount: '1' },
      { ...debit, key: randomUUID(), amount: '-1' },
      { ...debit, key: randomUUID(), amount: 1 },
      { ...debit, key: randomUUID(), amount: '0.000000001' },
      { ...debit, key: randomUUID(), type: 'gift' },
      { ...debit, key: randomUUID(), user_id: 'me' },
      { type: 'reversal' },
      null,
      7,
      [],
      { ...operation(user), type: 'credit', key: randomUUID(), currency: 'DOGE' },
    ],
  })
  expect(answer.status).toBe(200)
  const said = answer.body.results.map((result: Body) => [
    result['status'],
    (result['problem'] as Body | undefined)?.['code'] ?? result['replayed'],
  ])
  expect(said).toEqual([
    ['refused', 'INSUFFICIENT_BALANCE'],
    ['applied', false],
    ['applied', false],
    ['reversed', false],
    ['applied', false],
    ['applied', true],
    ['refused', 'IDEMPOTENCY_KEY_REUSED'],
    ['refused', 'REVERSED'],
    ['refused', 'IDEMPOTENCY_KEY_MISSING'],
    ['refused', 'INVALID_REQUEST'],
    ['refused', 'INVALID_AMOUNT'],
    ['refused', 'INVALID_AMOUNT'],
    ['refused', 'INVALID_AMOUNT'],
    ['refused', 'INVALID_REQUEST'],
    ['refused', 'INVALID_REQUEST'],
    ['refused', 'INVALID_REQUEST'],
    ['refused', 'INVALID_REQUEST'],
    ['refused', 'INVALID_REQUEST'],
    ['refused', 'INVALID_REQUEST'],
    ['refused', 'UNKNOWN_CURRENCY'],
  ])
  const { results } = answer.body
  expect(results[0]).toEqual({
    key: one,
    status: 'refused',
    problem: expect.objectContaining({ status: 422, available: '0', required: '1' }),
  })
  expect(results[1]).toMatchObject({ key: two, type: 'credit', user_id: user, amount: '100', balance_after: '100' })
  expect(results[3]).toEqual({ key: three, status: 'reversed', replayed: false })
  expect(results[4]).toMatchObject({ key: four, balance_after: '30' })
  expect(results[8].key).toBeNull()
  expect(await balance(user)).toBe('30')
})

test('a batch that is no batch is refused whole', async () => {
  expect((await api.post('/v1/batch', { operations: [] })).body).toEqual({ results: [] })
  for (const body of [{}, { operations: {} }, { operations: [], atomic: true }, [], null]) {
    expect((await api.post('/v1/batch', body)).status, JSON.stringify(body)).toBe(400)
  }
  const { max } = (await api.get('/v1/capabilities')).body.batch
  const operations = Array.from({ length: max + 1 }, () => ({}))
  expect(await api.post('/v1/batch', { operations })).toMatchObject({ status: 413, body: { code: 'TOO_LARGE' } })
})

test('W-7 settlements: all legs or none, in order, each alone; funds are checked on the sum', async () => {
  const buyer = await funded('100')
  const seller = randomUUID()
  await send('credit', operation(seller, { currency: 'BTC', amount: '1' }))
  const leg = (type: string, user_id: string, currency: string, amount: string): Body => ({
    ...{ type, user_id, currency, amount },
    ...TRADE_REASON,
  })
  const legs = (cost: string): Body[] => [
    leg('debit', buyer, 'USDT', cost),
    leg('credit', buyer, 'BTC', '0.5'),
    leg('debit', seller, 'BTC', '0.5'),
    leg('credit', seller, 'USDT', cost),
  ]
  const settlement = (change: Body = {}): Body => ({
    key: randomUUID(),
    trade_id: randomUUID(),
    legs: legs('60'),
    ...change,
  })
  const good = settlement()
  const poor = settlement()
  const answer = await api.post('/v1/settlements', {
    settlements: [
      good,
      poor,
      good,
      { ...good, legs: legs('61') },
      settlement({ legs: legs('1').slice(1) }),
      settlement({ legs: [] }),
      settlement({ key: undefined }),
      settlement({ legs: [{ ...leg('debit', buyer, 'USDT', '1'), amount: 1 }] }),
      settlement({ legs: [leg('debit', buyer, 'USDT', '0.000000001'), leg('credit', seller, 'USDT', '0.000000001')] }),
      settlement({ legs: [leg('debit', buyer, 'DOGE', '1'), leg('credit', seller, 'DOGE', '1')] }),
      settlement({ trade_id: undefined }),
      null,
      settlement({ legs: [leg('debit', buyer, 'USDT', '100'), leg('credit', buyer, 'USDT', '100')] }),
    ],
  })
  expect(answer.status).toBe(200)
  expect(
    answer.body.results.map((result: Body) => [
      result['status'],
      result['replayed'],
      (result['problem'] as Body)?.['code'],
    ]),
  ).toEqual([
    ['settled', false, undefined],
    ['refused', false, 'INSUFFICIENT_BALANCE'],
    ['settled', true, undefined],
    ['refused', false, 'IDEMPOTENCY_KEY_REUSED'],
    ['refused', false, 'INVALID_REQUEST'],
    ['refused', false, 'INVALID_REQUEST'],
    ['refused', false, 'IDEMPOTENCY_KEY_MISSING'],
    ['refused', false, 'INVALID_AMOUNT'],
    ['refused', false, 'INVALID_AMOUNT'],
    ['refused', false, 'UNKNOWN_CURRENCY'],
    ['refused', false, 'INVALID_REQUEST'],
    ['refused', false, 'INVALID_REQUEST'],
    ['settled', false, undefined],
  ])
  expect([await balance(buyer), await balance(seller)]).toEqual(['40', '60'])
  const shown = await api.get(`/v1/operations/${String(good['key'])}`)
  expect(shown.body).toMatchObject({
    key: good['key'],
    type: 'settlement',
    trade_id: good['trade_id'],
    status: 'applied',
  })

  const reversed = await api.post('/v1/reversals', { key: good['key'] })
  expect(reversed.body).toEqual({ key: good['key'], status: 'reversed', replayed: false })
  expect([await balance(buyer), await balance(seller)]).toEqual(['100', '0'])
  const after = await api.post('/v1/settlements', { settlements: [good] })
  expect(after.body.results[0].problem.code).toBe('REVERSED')

  const { max } = (await api.get('/v1/capabilities')).body.settlements
  const tooMany = Array.from({ length: max + 1 }, () => ({}))
  expect((await api.post('/v1/settlements', { settlements: tooMany })).status).toBe(413)
})

test('entries of a trade and of an account, oldest first, in pages', async () => {
  const buyer = await funded('100')
  const seller = await funded('100')
  const trade_id = randomUUID()
  const key = randomUUID()
  const leg = (type: string, user_id: string): Body => ({
    type,
    user_id,
    currency: 'USDT',
    amount: '7',
    ...TRADE_REASON,
  })
  await api.post('/v1/settlements', {
    settlements: [{ key, trade_id, legs: [leg('debit', buyer), leg('credit', seller)] }],
  })
  await api.post('/v1/reversals', { key })
  const { body } = await api.get(`/v1/entries?trade_id=${trade_id.toUpperCase()}`)
  expect(body.next_cursor).toBeNull()
  const entry = (user_id: string, index: number, amount: string, after: string, reason: string): Body => ({
    id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
    ...{ key, leg: index, trade_id, user_id, currency: 'USDT', amount, balance_after: after, reason },
    at: expect.stringMatching(/Z$/),
  })
  expect(body.entries).toEqual([
    entry(buyer, 0, '-7', '93', 'TRADE_SETTLEMENT'),
    entry(seller, 1, '7', '107', 'TRADE_SETTLEMENT'),
    entry(buyer, 0, '7', '100', 'SETTLEMENT_ROLLBACK'),
    entry(seller, 1, '-7', '100', 'SETTLEMENT_ROLLBACK'),
  ])
  const paged: unknown[] = []
  for (let cursor = ''; cursor !== 'null'; ) {
    const page = await api.get(`/v1/entries?trade_id=${trade_id}&limit=1${cursor && `&cursor=${cursor}`}`)
    paged.push(...page.body.entries)
    cursor = String(page.body.next_cursor)
  }
  expect(paged).toEqual(body.entries)
  const own = await api.get(`/v1/entries?user_id=${buyer}&currency=USDT&limit=2`)
  expect(own.body.entries.map((each: Body) => [each['amount'], each['leg'], each['reason']])).toEqual([
    ['100', null, 'DEPOSIT'],
    ['-7', 0, 'TRADE_SETTLEMENT'],
  ])
  const rest = await api.get(`/v1/entries?user_id=${buyer}&currency=USDT&cursor=${own.body.next_cursor}`)
  expect(rest.body.entries).toEqual([body.entries[2]])
  expect(new Set([...body.entries, ...own.body.entries].map(({ id }) => id)).size).toBe(5)
})

test('entries of nobody in particular, and made-up cursors, are 400', async () => {
  const user = randomUUID()
  const forged = (text: string): string => Buffer.from(text).toString('base64url')
  for (const query of [
    '',
    `user_id=${user}`,
    'currency=USDT',
    `trade_id=${user}&user_id=${user}`,
    'trade_id=x',
    `user_id=${user}&currency=%00`,
    `trade_id=${user}&cursor=garbage`,
    `trade_id=${user}&cursor=${forged(`1 1 ${user} 9999999999999999999999 USDT`)}`,
    `trade_id=${user}&cursor=${forged(`1 99999 ${user} 1 USDT`)}`,
    `trade_id=${user}&cursor=${forged(`1 1 ${user} 1 US\0DT`)}`,
    `trade_id=${user}&limit=0`,
  ]) {
    expect(await api.get(`/v1/entries?${query}`), query).toMatchObject({
      status: 400,
      body: { code: 'INVALID_REQUEST' },
    })
  }
  const whole = forged(`999999999999999 9999 ${user} 999999999999999999 USDT`)
  expect((await api.get(`/v1/entries?trade_id=${user}&cursor=${whole}`)).body).toEqual({
    entries: [],
    next_cursor: null,
  })
})

test('totals: balances + clearing = deposits − withdrawals, for each currency', async () => {
  const { body, status } = await api.get('/v1/totals')
  expect(status).toBe(200)
  expect(body.totals.map(({ currency }: { currency: string }) => currency)).toEqual(['BTC', 'JPY', 'TINY', 'USDT'])
  const units = (text: string): bigint => parseStored(text, 8)
  for (const { balances, clearing, deposits, withdrawals } of body.totals) {
    expect(units(balances) + units(clearing)).toBe(units(deposits) - units(withdrawals))
  }
})

test('capabilities', async () => {
  const { body } = await api.get('/v1/capabilities')
  expect(body).toEqual({
    protocol: 1,
    levels: ['basic', 'reversals', 'batch', 'settlements'],
    holds: true,
    batch: { max: expect.any(Number) },
    settlements: { max: expect.any(Number) },
    currencies: expect.arrayContaining([
      { code: 'BTC', scale: 8 },
      { code: 'JPY', scale: 0 },
    ]),
  })
})

test('the same credit sent twenty times at once moves money once', async () => {
  const user = randomUUID()
  const key = randomUUID()
  const answers = await Promise.all(Array.from({ length: 20 }, () => send('credit', operation(user), key)))
  expect(answers.filter(({ status }) => status === 201).length).toBe(1)
  expect(answers.filter(({ body }) => body.replayed).length).toBe(19)
  expect(await balance(user)).toBe('100')
})

describe('roles', () => {
  const forbidden = { status: 403, body: { code: 'FORBIDDEN', detail: expect.stringContaining('role admin') } }
  const asOperator = bearer('operator')
  const keyed = (key: string) => ({ ...asOperator, 'idempotency-key': key })

  test('a deposit or withdrawal takes an admin; an operator is refused, and the key is not spent', async () => {
    const user = await funded()
    for (const [type, reason] of [
      ['credit', 'DEPOSIT'],
      ['debit', 'WITHDRAWAL'],
    ] as const) {
      const key = randomUUID()
      const body = operation(user, { reason, amount: '1' })
      expect(await api.post(`/v1/${type}s`, body, keyed(key))).toMatchObject(forbidden)
      expect((await api.get(`/v1/operations/${key}`)).status).toBe(404)
      expect((await send(type, body, key)).status).toBe(201)
      expect(await api.post(`/v1/${type}s`, body, keyed(key))).toMatchObject(forbidden)
    }
    expect(await balance(user)).toBe('100')
  })

  test('in a batch it refuses only itself, and a settlement has none for anybody', async () => {
    const user = await funded()
    const trade_id = randomUUID()
    const item = (change: Body) => ({ ...operation(user, { ...change, amount: '1' }), key: randomUUID() })
    const operations = [
      item({ type: 'credit', reason: 'TRADE_SETTLEMENT', trade_id }),
      item({ type: 'credit', reason: 'DEPOSIT' }),
      item({ type: 'debit', reason: 'WITHDRAWAL' }),
      item({ type: 'debit', reason: 'FEE_COLLECTION', trade_id }),
    ]
    const { status, body } = await api.post('/v1/batch', { operations }, asOperator)
    expect([status, body.results.map(({ status: said }: Body) => said)]).toEqual([
      200,
      ['applied', 'refused', 'refused', 'applied'],
    ])
    expect(body.results[1]).toMatchObject({
      key: operations[1]?.key,
      problem: { status: 403, code: 'FORBIDDEN', detail: expect.stringContaining('role admin') },
    })
    const settlement = { key: randomUUID(), trade_id, legs: [{ ...operation(user), type: 'credit' }] }
    for (const role of ['operator', 'admin'] as const) {
      const answer = await api.post('/v1/settlements', { settlements: [settlement] }, bearer(role))
      expect(answer.body.results).toMatchObject([{ status: 'refused', problem: { code: 'INVALID_REQUEST' } }])
    }
    expect(await balance(user)).toBe('100')
  })

  test('nor does an operator take a deposit back, which would be a way to withdraw', async () => {
    const [user, key] = [randomUUID(), randomUUID()]
    await send('credit', operation(user), key)
    expect(await api.post('/v1/reversals', { key }, asOperator)).toMatchObject(forbidden)
    const operations = [{ type: 'reversal', key }]
    const { body } = await api.post('/v1/batch', { operations }, asOperator)
    expect(body.results).toMatchObject([{ key, status: 'refused', problem: { code: 'FORBIDDEN' } }])
    expect(await balance(user)).toBe('100')
    expect((await api.post('/v1/reversals', { key }, bearer('admin'))).body).toMatchObject({ status: 'reversed' })
    expect((await api.post('/v1/reversals', { key }, asOperator)).body).toMatchObject({ replayed: true })
  })
})
