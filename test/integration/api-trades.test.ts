import { randomUUID } from 'node:crypto'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, bearer, call, createTestApi, type TestApi } from '../support/api.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { BUYER, FEES, SELLER } from '../support/trades.ts'

type Body = Record<string, unknown>

type Given = Body & { readonly id: string }

function trade(change: Body = {}): Given {
  return {
    id: randomUUID(),
    symbol: 'BTC/USDT',
    buyer_user_id: BUYER,
    seller_user_id: SELLER,
    price: '50000',
    quantity: '1',
    buyer_fee: '25',
    seller_fee: '50',
    ...change,
  }
}

const DEADLINE_MS = 20_000

/** Asks until the trade is no longer pending. */
async function settled(api: TestApi, id: string): Promise<Body> {
  const untilMs = Date.now() + DEADLINE_MS
  for (;;) {
    const { status, body } = await api.get(`/v1/trades/${id}`)
    expect(status).toBe(200)
    if (body.trade.settlement_status !== 'PENDING') return body.trade
    if (Date.now() > untilMs) throw new Error(`trade ${id} is still pending: ${JSON.stringify(body.trade)}`)
    await sleep(5)
  }
}

async function deposit(api: TestApi, userId: string, currency: string, amount: string): Promise<void> {
  const body = { user_id: userId, currency, amount, reason: 'DEPOSIT' }
  const { status } = await api.post('/v1/credits', body, { 'idempotency-key': randomUUID() })
  expect(status).toBe(201)
}

async function total(api: TestApi, userId: string, currency: string): Promise<string> {
  return (await api.get(`/v1/balances/${userId}/${currency}`)).body.total
}

const pointers = ({ body }: Answer): string[] => body.errors.map((fault: { pointer: string }) => fault.pointer)

describe.each(['atomic', 'saga'] as const)('trades over HTTP on the %s rail', rail => {
  let db: TestDatabase
  let api: TestApi

  beforeAll(async () => {
    db = await createTestDatabase()
    api = await createTestApi(db.database, rail)
    await deposit(api, BUYER, 'USDT', '1000000000')
    await deposit(api, SELLER, 'BTC', '100000')
  })

  afterAll(async () => {
    await api?.close()
    await db?.drop()
  })

  test('O-4 S-2 a trade is taken, settled, and shown with its legs', async () => {
    const buyer = randomUUID()
    const seller = randomUUID()
    await deposit(api, buyer, 'USDT', '60000')
    await deposit(api, seller, 'BTC', '2')
    const orders = { buyer_order_id: randomUUID(), seller_order_id: randomUUID() }
    const given = trade({
      ...orders,
      buyer_user_id: buyer,
      seller_user_id: seller,
      price: '50000.00',
      quantity: '1.000',
      is_buyer_maker: true,
      executed_at: '2026-11-22T14:00:00.123456+02:00',
    })
    const taken = await api.post('/v1/trades', { trades: [given] })
    expect(taken).toMatchObject({ status: 202, body: { accepted: 1, duplicates: 0 } })

    const shown = await settled(api, given.id)
    expect(shown).toMatchObject({
      id: given.id,
      symbol: 'BTC/USDT',
      price: '50000',
      quantity: '1',
      notional: '50000',
      buyer_fee: '25',
      seller_fee: '50',
      is_buyer_maker: true,
      maker_order_id: orders.buyer_order_id,
      taker_order_id: orders.seller_order_id,
      executed_at: '2026-11-22T12:00:00.123Z',
      settlement_status: 'SETTLED',
      settlement_retry_count: 0,
      failure_reason: null,
      rollback: 'not_needed',
      epoch: 0,
      rail,
    })
    expect(shown['settled_at']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    const key = (leg: string): string => (rail === 'atomic' ? `${given.id}:0` : `${given.id}:0:${leg}`)
    const leg = (name: string, userId: string, currency: string, type: string, amount: string): Body => ({
      leg: name,
      user_id: userId,
      currency,
      type,
      amount,
      state: 'applied',
      key: key(name),
      attempts: 1,
      last_error: null,
    })
    expect(shown['legs']).toEqual([
      leg('buyer-debit', buyer, 'USDT', 'debit', '50025'),
      leg('buyer-credit', buyer, 'BTC', 'credit', '1'),
      leg('seller-debit', seller, 'BTC', 'debit', '1'),
      leg('seller-credit', seller, 'USDT', 'credit', '49950'),
      leg('fee', FEES, 'USDT', 'credit', '75'),
    ])
    expect(await total(api, buyer, 'USDT')).toBe('9975')
    expect(await total(api, seller, 'USDT')).toBe('49950')
    expect(await total(api, seller, 'BTC')).toBe('1')
  })

  test('F-2 F-3 a trade without funds fails, and shows which leg was refused and what was undone', async () => {
    const poor = randomUUID()
    const given = trade({ seller_user_id: poor })
    const before = await total(api, BUYER, 'USDT')
    await api.post('/v1/trades', { trades: [given] })
    const shown = await settled(api, given.id)
    expect(shown).toMatchObject({ settlement_status: 'SETTLEMENT_FAILED', settled_at: null })
    expect(shown['failure_reason']).toContain('INSUFFICIENT_BALANCE')
    const states = (shown['legs'] as Body[]).map(({ state }) => state)
    if (rail === 'atomic') {
      expect(shown['rollback']).toBe('not_needed')
      expect(states).toEqual(['refused', 'refused', 'refused', 'refused', 'refused'])
    } else {
      expect(shown['rollback']).toBe('complete')
      expect(states).toEqual(['reversed', 'reversed', 'refused', 'waiting', 'waiting'])
      expect((shown['legs'] as Body[])[2]?.['last_error']).toContain('INSUFFICIENT_BALANCE')
    }
    expect(await total(api, BUYER, 'USDT')).toBe(before)
  })

  test('W-5 rebates: fees below zero are paid out of the fee account, which may go below zero', async () => {
    const given = trade({ quantity: '0.1', buyer_fee: '-3', seller_fee: '-0.5' })
    const before = Number(await total(api, FEES, 'USDT'))
    expect((await api.post('/v1/trades', { trades: [given] })).status).toBe(202)
    const shown = await settled(api, given.id)
    expect(shown).toMatchObject({ settlement_status: 'SETTLED', buyer_fee: '-3', seller_fee: '-0.5' })
    expect(shown['legs']).toContainEqual(expect.objectContaining({ leg: 'fee', type: 'debit', amount: '3.5' }))
    expect(Number(await total(api, FEES, 'USDT'))).toBe(before - 3.5)
  })

  test('a notional that rounds to nothing settles without payment legs', async () => {
    await deposit(api, SELLER, 'TINY', '1')
    const given = trade({ symbol: 'TINY/JPY', price: '1', quantity: '0.00000001', buyer_fee: '0', seller_fee: '0' })
    expect((await api.post('/v1/trades', { trades: [given] })).status).toBe(202)
    const shown = await settled(api, given.id)
    expect(shown).toMatchObject({ settlement_status: 'SETTLED', notional: '0' })
    expect((shown['legs'] as Body[]).map(({ leg }) => leg)).toEqual(['buyer-credit', 'seller-debit'])
  })

  test('a trade whose buyer is its seller settles to its fees', async () => {
    const given = trade({ seller_user_id: BUYER })
    await api.post('/v1/trades', { trades: [given] })
    const shown = await settled(api, given.id)
    expect(shown['settlement_status']).toBe('SETTLED')
    expect((shown['legs'] as Body[]).map(({ leg, amount }) => [leg, amount])).toEqual([
      ['buyer-debit', '75'],
      ['fee', '75'],
    ])
  })

  test('the same trade again is a duplicate, by value and whatever the case of its ids', async () => {
    const given = trade({ executed_at: '2026-01-01T00:00:00Z' })
    expect((await api.post('/v1/trades', { trades: [given, { ...given }] })).body).toEqual({
      accepted: 1,
      duplicates: 1,
    })
    const again = {
      ...given,
      id: given.id.toUpperCase(),
      buyer_user_id: BUYER.toUpperCase(),
      price: '050000.000',
      quantity: '1.0',
      executed_at: '2026-01-01T01:00:00+01:00',
    }
    expect((await api.post('/v1/trades', { trades: [again] })).body).toEqual({ accepted: 0, duplicates: 1 })
    await settled(api, given.id)
    expect((await api.post('/v1/trades', { trades: [again] })).body).toEqual({ accepted: 0, duplicates: 1 })
    // Without its time nothing is said about it.
    const timeless = { ...again, executed_at: undefined }
    expect((await api.post('/v1/trades', { trades: [timeless] })).body).toEqual({ accepted: 0, duplicates: 1 })
    const upper = await api.get(`/v1/trades/${given.id.toUpperCase()}`)
    expect(upper.body.trade.id).toBe(given.id)
  })

  test('a repetition without a time is a duplicate, also when the first had none', async () => {
    const given = trade()
    expect((await api.post('/v1/trades', { trades: [given] })).body).toEqual({ accepted: 1, duplicates: 0 })
    const takenMs = Date.now()
    while (Date.now() === takenMs) await setImmediate()
    expect((await api.post('/v1/trades', { trades: [given] })).body).toEqual({ accepted: 0, duplicates: 1 })
  })

  test('T-3 the same batch posted ten times at once is accepted once, and settled once', async () => {
    const buyer = randomUUID()
    await deposit(api, buyer, 'USDT', '10000')
    const each = { buyer_user_id: buyer, quantity: '0.01', buyer_fee: '0', seller_fee: '0' }
    const trades = Array.from({ length: 20 }, () => trade(each))
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        api.post('/v1/trades', { trades: index % 2 === 0 ? trades : trades.toReversed() }),
      ),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 202))
    const sum = (field: string): number => answers.reduce((count, { body }) => count + body[field], 0)
    expect([sum('accepted'), sum('duplicates')]).toEqual([20, 180])
    for (const { id } of trades) expect((await settled(api, id))['settlement_status']).toBe('SETTLED')
    expect([await total(api, buyer, 'BTC'), await total(api, buyer, 'USDT')]).toEqual(['0.2', '0'])
  })

  test('an id reused with other content is 409, names the ids, and nothing of the call is taken', async () => {
    const known = trade()
    await api.post('/v1/trades', { trades: [known] })
    const fresh = trade()
    for (const other of [
      { price: '50001' },
      { buyer_fee: '26' },
      { is_buyer_maker: true },
      { buyer_order_id: BUYER },
    ]) {
      const answer = await api.post('/v1/trades', { trades: [fresh, { ...known, ...other }] })
      expect(answer).toMatchObject({ status: 409, body: { code: 'TRADE_ID_REUSED', trade_ids: [known.id] } })
      expect(answer.body.detail).toContain(known.id)
      expect(pointers(answer)).toEqual(['/trades/1/id'])
    }
    const twice = await api.post('/v1/trades', { trades: [fresh, { ...fresh, quantity: '2' }] })
    expect(twice).toMatchObject({ status: 409, body: { code: 'TRADE_ID_REUSED' } })
    expect((await api.get(`/v1/trades/${fresh.id}`)).status).toBe(404)
  })

  test('a call at fault among calls at the same moment costs only itself', async () => {
    const known = trade()
    await api.post('/v1/trades', { trades: [known] })
    const good = Array.from({ length: 5 }, () => trade({ quantity: '0.001' }))
    const calls = [...good.map(each => [each]), [{ ...known, price: '49999' }]]
    const answers = await Promise.all(calls.map(trades => api.post('/v1/trades', { trades })))
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202, 202, 409])
  })

  test('what is not acceptable is 422 with a pointer to each, and nothing of the call is taken', async () => {
    const good = trade()
    const answer = await api.post('/v1/trades', {
      trades: [
        good,
        trade({ symbol: 'NOPE/USDT' }),
        trade({ price: '0', quantity: '-1' }),
        trade({ price: '1.000000001' }),
        trade({ quantity: '0.00000001', price: '0.00000001' }),
        trade({ seller_fee: '50000.00000001' }),
        trade({ buyer_fee: '-50001' }),
        trade({ price: '9'.repeat(39) }),
        trade({ price: '9'.repeat(30), quantity: '9'.repeat(30) }),
      ],
    })
    expect(answer.status).toBe(422)
    expect(answer.headers['content-type']).toContain('application/problem+json')
    expect(answer.body.code).toBe('UNKNOWN_SYMBOL')
    expect(answer.body.errors.map((fault: Body) => [fault['pointer'], fault['code']])).toEqual([
      ['/trades/1/symbol', 'UNKNOWN_SYMBOL'],
      ['/trades/2/price', 'INVALID_PRICE'],
      ['/trades/2/quantity', 'INVALID_QUANTITY'],
      ['/trades/3/price', 'TOO_MANY_PLACES'],
      ['/trades/4/quantity', 'TOO_MANY_PLACES'],
      ['/trades/5/seller_fee', 'FEE_EXCEEDS_NOTIONAL'],
      ['/trades/6/buyer_fee', 'REBATE_EXCEEDS_NOTIONAL'],
      ['/trades/7/price', 'INVALID_PRICE'],
      ['/trades/8/price', 'INVALID_PRICE'],
    ])
    expect((await api.get(`/v1/trades/${good.id}`)).status).toBe(404)
  })

  test('places count by value', async () => {
    const answer = await api.post('/v1/trades', { trades: [trade({ price: `28165.47${'0'.repeat(20)}` })] })
    expect(answer.status).toBe(202)
  })

  test('a thousand trades are taken in one call, one more is 413', async () => {
    const trades = Array.from({ length: 1000 }, () => trade({ quantity: '0.00001', buyer_fee: '0', seller_fee: '0' }))
    const answer = await api.post('/v1/trades', { trades: [...trades, trade()] })
    expect(answer).toMatchObject({ status: 413, body: { code: 'TOO_LARGE' } })
    expect((await api.post('/v1/trades', { trades })).body).toEqual({ accepted: 1000, duplicates: 0 })
    for (const { id } of trades) expect((await settled(api, id))['settlement_status']).toBe('SETTLED')
  })

  test('lists are newest first, in pages without gap or overlap, and filtered', async () => {
    const user = randomUUID()
    await deposit(api, user, 'USDT', '1000')
    const ids: unknown[] = []
    for (let index = 0; index < 7; index++) {
      const given = trade({ buyer_user_id: user, price: '1', buyer_fee: '0', seller_fee: '0', quantity: '0.1' })
      ids.unshift(given.id)
      await api.post('/v1/trades', { trades: [given] })
      await settled(api, given.id)
    }
    const seen: unknown[] = []
    let cursor = ''
    for (let page = 0; page < 4 && cursor !== 'null'; page++) {
      const { status, body } = await api.get(`/v1/trades?user_id=${user}&limit=3${cursor && `&cursor=${cursor}`}`)
      expect(status).toBe(200)
      expect(body.trades.length).toBeLessThanOrEqual(3)
      seen.push(...body.trades.map((each: Body) => each['id']))
      cursor = String(body.next_cursor)
    }
    expect(cursor).toBe('null')
    expect(seen).toEqual(ids)
    const count = async (query: string): Promise<number> => (await api.get(`/v1/trades?${query}`)).body.trades.length
    expect(await count(`user_id=${user.toUpperCase()}&symbol=BTC-USDT`)).toBe(7)
    expect(await count(`user_id=${user}&symbol=BTC%2FUSDT,TINY/JPY`)).toBe(7)
    expect(await count(`user_id=${user}&symbol=TINY-JPY`)).toBe(0)
    expect(await count(`user_id=${user},${randomUUID()}&settlement_status=SETTLED,PENDING`)).toBe(7)
    expect(await count(`user_id=${user}&settlement_status=SETTLEMENT_FAILED`)).toBe(0)
    expect(await count(`user_id=${user}&limit=999999999999999999999`)).toBe(7)
    expect(await count('limit=50')).toBe(await count(''))
  })

  test("a trader sees the own user's trades alone, others' are 404", async () => {
    const own = trade({ quantity: '0.001', buyer_fee: '0', seller_fee: '0' })
    const foreign = trade({ buyer_user_id: randomUUID(), seller_user_id: randomUUID() })
    await api.post('/v1/trades', { trades: [own, foreign] })
    expect((await api.get(`/v1/trades/${own.id}`, 'trader')).status).toBe(200)
    expect((await api.get(`/v1/trades/${foreign.id}`, 'trader')).status).toBe(404)
    expect((await api.get(`/v1/trades/${foreign.id}`, 'viewer')).status).toBe(200)
    const mine = await api.get('/v1/trades?limit=1000', 'trader')
    const isMine = (each: Body): boolean => each['buyer_user_id'] === BUYER || each['seller_user_id'] === BUYER
    expect(mine.body.trades.every(isMine)).toBe(true)
    const theirs = await api.get(`/v1/trades?user_id=${String(foreign['buyer_user_id'])}`, 'trader')
    expect(theirs.body).toEqual({ trades: [], next_cursor: null })
  })

  test('W-6 money is conserved, and at rest nothing is half done', async () => {
    const { body } = await api.get('/v1/trades?settlement_status=PENDING&limit=1000')
    for (const { id } of body.trades) await settled(api, id)
    const { totals } = (await api.get('/v1/totals')).body
    for (const each of totals) expect(each.clearing, each.currency).toBe('0')
  })
})

describe('requests that are no use', () => {
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

  test('times that the database could not hold are refused as malformed', async () => {
    for (const executed_at of [
      '0000-01-01T00:00:00Z',
      '0001-01-01T00:00:00+14:00',
      '9999-12-31T23:59:59-14:00',
      '2026-02-30T00:00:00Z',
      '2026-01-01T24:00:00Z',
      '2026-01-01T23:59:60Z',
      '2026-01-01T00:00:00+99:99',
      '2026-01-01 00:00:00Z',
      '2026-01-01T00:00:00',
      '2026-01-01',
      '1767225600000',
      '',
      `2026-01-01T00:00:00.${'1'.repeat(100)}Z`,
    ]) {
      const answer = await api.post('/v1/trades', { trades: [trade({ executed_at })] })
      expect(answer, executed_at).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST' } })
      expect(pointers(answer)).toEqual(['/trades/0/executed_at'])
    }
  })

  test('garbage never is a 500: texts of all kinds in every field', async () => {
    const garbage = [
      '\0',
      'a\0b',
      '\ud800',
      '💸',
      '\u202e',
      "'; drop table trades; --",
      '__proto__',
      ' ',
      '1e5',
      '+1',
      '.5',
      '5.',
      'NaN',
      '٣',
      '0x10',
      'x'.repeat(10_000),
    ]
    for (const field of [
      'id',
      'symbol',
      'buyer_user_id',
      'price',
      'quantity',
      'buyer_fee',
      'buyer_order_id',
      'executed_at',
    ]) {
      for (const value of garbage) {
        const answer = await api.post('/v1/trades', { trades: [trade({ [field]: value })] })
        expect([400, 422], `${field}=${JSON.stringify(value).slice(0, 50)}: ${JSON.stringify(answer.body)}`).toContain(
          answer.status,
        )
        expect(pointers(answer)).toEqual([`/trades/0/${field}`])
      }
    }
  })

  test('filters and cursors that are made up are 400', async () => {
    const forged = (text: string): string => Buffer.from(text).toString('base64url')
    for (const query of [
      'limit=0',
      'limit=-1',
      'limit=abc',
      'limit=1.5',
      'limit=',
      'limit=1&limit=2',
      'settlement_status=DONE',
      'settlement_status=SETTLED,',
      'settlement_status=settled',
      'user_id=me',
      'user_id=%00',
      'symbol=%00',
      'symbol=BTCUSDT',
      'unknown=1',
      '__proto__=1',
      'cursor=%00',
      'cursor=garbage',
      `cursor=${forged('1 2')}`,
      `cursor=${forged(`99999999999999999999 ${BUYER}`)}`,
      `cursor=${forged(`-1 ${BUYER}`)}`,
      `cursor=${forged(`1 ${BUYER} 3`)}`,
      `user_id=${Array.from({ length: 200 }, () => BUYER).join(',')}`,
    ]) {
      const answer = await api.get(`/v1/trades?${query}`)
      expect(answer, query).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST' } })
      expect(pointers(answer).length, query).toBeGreaterThan(0)
    }
    expect((await api.get(`/v1/trades?cursor=${forged(`999999999999999 ${BUYER}`)}`)).status).toBe(200)
  })

  test('an id that is none is 404', async () => {
    for (const id of [randomUUID(), 'nope', '%00', '%F0%9F%92%B8', "'", '..%2f', 'x'.repeat(300)]) {
      expect(await api.get(`/v1/trades/${id}`), id).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } })
    }
    expect((await api.get(`/v1/trades/${'x'.repeat(1000)}`)).status).toBe(404)
    expect((await api.get('/v1/trades/%zz')).status).toBe(400)
  })

  test('a database that went away is 503 with Retry-After, and no word of the inside', async () => {
    const lost = await createTestDatabase()
    const other = await createTestApi(lost.database, 'atomic')
    await other.settlement.pool.stop(1000)
    await db.database.query(`drop database ${new URL(lost.url.replace('@/', '@host/')).pathname.slice(1)} with (force)`)
    const answers = await Promise.all([
      other.get('/v1/trades'),
      other.get(`/v1/trades/${randomUUID()}`),
      other.post('/v1/trades', { trades: [trade()] }),
      other.get('/v1/totals'),
    ])
    for (const { status, headers, body } of answers) {
      expect([status, body.code]).toEqual([503, 'UNAVAILABLE'])
      expect(headers['retry-after']).toBeDefined()
      expect(JSON.stringify(body)).not.toMatch(/select|insert|pool|\bat \//i)
    }
    await other.close()
    await lost.database.end()
  })

  test('an answer carries what was asked for and nothing of the key', async () => {
    const answer = await call(api.app, { method: 'GET', url: '/v1/trades', headers: bearer('admin') })
    expect(answer.headers['content-type']).toContain('application/json')
    expect(JSON.stringify(answer)).not.toContain('admin-key')
  })
})
