import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Trade } from '../../src/core/trade.ts'
import { createLogger } from '../../src/log.ts'
import { openInstruments } from '../../src/store/instruments.ts'
import type { DeadLetter, LetterFilter, OperatorStore } from '../../src/store/operator-store.ts'
import { createOperatorStore } from '../../src/store/pg-operator-store.ts'
import { verifyBooks } from '../../src/verify/verify.ts'
import { type AdminRequest, createDeadLetterDesk, type DeadLetterDesk } from '../../src/worker/dead-letter-desk.ts'
import { type Books, FAULTS, legKey, openBooks, POLICY } from '../support/books.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { BUYER, FEES, makeTrade, SELLER } from '../support/trades.ts'

const USDT = 10n ** 8n
const ANY: LetterFilter = { kinds: [], codes: [], statuses: [], rollbacks: [] }
const SAGA = { rail: 'saga', legOrder: 'buyer-first' } as const

let db: TestDatabase
let books: Books
let operators: OperatorStore
let desk: DeadLetterDesk
let wokenUp: number

beforeEach(async () => {
  db = await createTestDatabase()
  books = await openBooks(db.database)
  const instruments = await openInstruments(db.database, { assets: [], markets: [] })
  operators = createOperatorStore(db.database, instruments)
  wokenUp = 0
  desk = createDeadLetterDesk({
    store: operators,
    trades: books.store,
    traits: { level: 'settlements', idempotent: true },
    policy: POLICY,
    clock: { ...systemClock(), now: () => books.now() },
    log: createLogger('silent'),
    pool: {
      wake: () => {
        wokenUp++
      },
      setPaused: () => {},
    },
  })
  await books.deposit(SELLER, 'BTC', 10_000n * 10n ** 8n)
})
afterEach(async () => {
  // Whatever operators did: letters, statuses and money agree, by code that knows nothing of the desk.
  const { breaks, examples } = await verifyBooks(db.database)
  await db.drop()
  expect({ breaks, examples }).toEqual({ breaks: 0, examples: [] })
})

const by = (actor: string, idempotencyKey: string | null = null, content = ''): AdminRequest => ({
  actor,
  reason: 'the funds are there now',
  idempotencyKey,
  content,
})
const whole = (letter: DeadLetter): DeadLetter => letter
const retry = (trade: Trade, request = by('ann')) => desk.retry(trade.id, request, letter => letter.status)
const fund = (amount = 1_000_000n * USDT) => books.deposit(BUYER, 'USDT', amount)

async function letterOf(trade: Trade): Promise<DeadLetter> {
  const letter = await operators.letter(trade.id)
  if (letter === null) throw new Error(`trade ${trade.id} has no letter`)
  return letter
}

async function failed(count = 1): Promise<readonly Trade[]> {
  const trades = Array.from({ length: count }, () => makeTrade())
  await books.settle(trades, SAGA)
  return trades
}

async function oneFailed(): Promise<Trade> {
  const [trade] = await failed()
  return trade as Trade
}

async function statusOf(trade: Trade): Promise<string | undefined> {
  return (await books.store.trade(trade.id))?.status
}

/** What every instant must show: no money is lost or made, and what is half done or owed is in the clearing account. */
async function clearingOf(currency: string): Promise<bigint> {
  const totals = await books.wallet.totals()
  for (const { balances, clearing, deposits, withdrawals } of totals) {
    expect(balances + clearing).toBe(deposits - withdrawals)
  }
  return totals.find(each => each.currency === currency)?.clearing ?? 0n
}

test('the status is of one moment: a failure is never counted without its letter', async () => {
  let isDone = false
  const settling = (async () => {
    for (let round = 0; round < 30; round++) await failed(2)
    isDone = true
  })()
  const seen: string[] = []
  while (!isDone) {
    const { failed: count, deadLetters } = await operators.status()
    seen.push(`${count} failed, ${deadLetters} letters`)
  }
  await settling
  expect(seen.filter(each => !/^(\d+) failed, \1 letters$/.test(each))).toEqual([])
  expect(await operators.status()).toMatchObject({ failed: 60, deadLetters: 60 })
})

describe('F-4 a retry', () => {
  test('settles what failed for want of funds, once they are there', async () => {
    const trade = await oneFailed()
    expect(await letterOf(trade)).toMatchObject({
      kind: 'settlement',
      code: 'INSUFFICIENT_BALANCE',
      attempts: 1,
      rollback: 'not_needed',
      status: 'open',
      firstFailedAtMs: books.now(),
    })
    expect(await operators.status()).toMatchObject({ pending: 0, settled: 0, failed: 1, deadLetters: 1 })

    books.advance(5000)
    await fund()
    expect(await retry(trade)).toEqual({ outcome: 'done', answer: 'retrying' })
    expect(wokenUp).toBe(1)
    expect(await statusOf(trade)).toBe('PENDING')
    expect(await operators.status()).toMatchObject({ pending: 1, failed: 0, deadLetters: 0 })

    await books.work()
    expect(await statusOf(trade)).toBe('SETTLED')
    expect(await letterOf(trade)).toMatchObject({
      status: 'resolved',
      resolution: 'retried',
      resolvedBy: 'ann',
      resolvedAtMs: books.now(),
      code: 'INSUFFICIENT_BALANCE',
    })
    expect(await operators.status()).toMatchObject({ pending: 0, settled: 1, failed: 0, deadLetters: 0 })
    expect(await clearingOf('USDT')).toBe(0n)
  })

  test('that fails again leaves the letter open, up to date, with the time of the first failure', async () => {
    const trade = await oneFailed()
    const firstFailedAtMs = books.now()
    books.advance(5000)
    await retry(trade)
    await books.work({
      [legKey(trade, 'buyer-debit', 1)]: async () => ({ outcome: 'refused', code: 'X', detail: 'x' }),
    })
    const lastFailedAtMs = books.now()
    expect(await letterOf(trade)).toMatchObject({ status: 'open', code: 'X', firstFailedAtMs, lastFailedAtMs })
    expect(await statusOf(trade)).toBe('SETTLEMENT_FAILED')
    expect(await retry(trade)).toMatchObject({ outcome: 'done' })
  })

  test('of two operators at once puts it back to work once, and it settles once', async () => {
    const trade = await oneFailed()
    await fund()
    const outcomes = await Promise.all([retry(trade, by('ann')), retry(trade, by('bob')), retry(trade, by('eve'))])
    expect(outcomes.filter(({ outcome }) => outcome === 'done')).toHaveLength(1)
    expect(outcomes.filter(({ outcome }) => outcome !== 'done')).toEqual([
      { outcome: 'refused', refusal: 'retrying' },
      { outcome: 'refused', refusal: 'retrying' },
    ])
    await books.work()
    const entries = await books.wallet.entries({ of: { tradeId: trade.id }, after: null, limit: 100 })
    expect(entries).toHaveLength(5)
    expect(await operators.auditLog({ tradeIds: [trade.id], before: null, limit: 10 })).toHaveLength(1)
  })

  test('is refused of what is unknown, settled, pending, retried or resolved', async () => {
    await fund()
    const settled = await oneFailed()
    expect(await retry(settled)).toEqual({ outcome: 'refused', refusal: 'settled' })
    const pending = makeTrade()
    await books.record(pending, 'saga', true)
    expect(await retry(pending)).toEqual({ outcome: 'refused', refusal: 'pending' })
    expect(await retry(makeTrade())).toEqual({ outcome: 'refused', refusal: 'unknown' })

    const poor = makeTrade({ price: '99999999' })
    await books.settle([poor], SAGA)
    await retry(poor)
    expect(await retry(poor)).toEqual({ outcome: 'refused', refusal: 'retrying' })
    await books.work()
    const resolved = { resolution: 'cancelled', note: 'both agreed' } as const
    await desk.resolve(poor.id, resolved, by('ann'), whole)
    expect(await retry(poor)).toEqual({ outcome: 'refused', refusal: 'resolved' })
    await books.work()
    await expect(retry(settled)).resolves.toEqual({ outcome: 'refused', refusal: 'settled' })
  })

  test('S-3 of an incomplete rollback completes it first, then begins a new epoch', async () => {
    await fund()
    const trade = makeTrade()
    const refused = { [legKey(trade, 'buyer-credit')]: FAULTS.refused }
    await books.settle([trade], SAGA, { ...refused, [`undo ${legKey(trade, 'buyer-debit')}`]: FAULTS.refused })
    expect(await letterOf(trade)).toMatchObject({ rollback: 'incomplete', status: 'open' })
    expect(await operators.status()).toMatchObject({ incompleteRollbacks: 1 })
    expect(await clearingOf('USDT')).toBe(50_025n * USDT)

    await retry(trade)
    const calls: string[] = []
    await books.work({
      [`undo ${legKey(trade, 'buyer-debit')}`]: done => {
        calls.push('undo')
        return done()
      },
      [legKey(trade, 'buyer-debit', 1)]: done => {
        calls.push('begun anew')
        return done()
      },
    })
    await books.work({})
    expect(calls[0]).toBe('undo')
    expect(await statusOf(trade)).toBe('SETTLED')
    expect(await letterOf(trade)).toMatchObject({ status: 'resolved', resolution: 'retried' })
    expect(await clearingOf('USDT')).toBe(0n)
    expect(await operators.status()).toMatchObject({ incompleteRollbacks: 0 })
  })

  test('is refused while a worker retries its rollback', async () => {
    await fund()
    const trade = makeTrade()
    const refused = { [legKey(trade, 'buyer-credit')]: FAULTS.refused }
    await books.settle([trade], SAGA, { ...refused, [`undo ${legKey(trade, 'buyer-debit')}`]: FAULTS.refused })
    books.advance(60_000)
    const owner = '00000000-0000-4000-a000-0000000000ff'
    const [claimed] = await books.store.claim({ owner, untilMs: books.now() + 1000 }, 1, books.now())
    expect(claimed?.trade.id).toBe(trade.id)
    expect(await retry(trade)).toEqual({ outcome: 'refused', refusal: 'in-hand' })
    expect(await desk.retryAll(ANY, null, by('ann'), ({ count }) => count)).toMatchObject({ answer: 0 })
  })
})

describe('F-4 resolving', () => {
  const written = { resolution: 'written_off', note: 'ticket 7' } as const

  test('ends the slow retry of a parked rollback; the status stays, and so does the letter', async () => {
    await fund()
    const trade = makeTrade()
    const faults = {
      [legKey(trade, 'buyer-credit')]: FAULTS.refused,
      [`undo ${legKey(trade, 'buyer-debit')}`]: FAULTS.refused,
    }
    await books.settle([trade], SAGA, faults)
    const resolvedAtMs = books.now()
    expect(await desk.resolve(trade.id, written, by('ann'), whole)).toMatchObject({
      outcome: 'done',
      answer: { status: 'resolved', ...written, resolvedBy: 'ann', resolvedAtMs },
    })
    books.advance(1_000_000)
    await books.work()
    expect(await books.store.nextDueMs()).toBeNull()
    expect(await letterOf(trade)).toMatchObject({ status: 'resolved', ...written, resolvedBy: 'ann', resolvedAtMs })
    expect(await statusOf(trade)).toBe('SETTLEMENT_FAILED')
    expect(await operators.status()).toMatchObject({ deadLetters: 0, incompleteRollbacks: 0, failed: 1 })
    // It was dealt with outside; here it stays to be seen.
    expect(await clearingOf('USDT')).toBe(50_025n * USDT)
  })

  test('is refused of a letter that is retried or resolved, and changes nothing of it', async () => {
    const [one, other] = await failed(2)
    if (one === undefined || other === undefined) throw new Error('two trades')
    await retry(one)
    expect(await desk.resolve(one.id, written, by('bob'), whole)).toEqual({ outcome: 'refused', refusal: 'retrying' })
    await desk.resolve(other.id, written, by('ann'), whole)
    const again = await desk.resolve(other.id, { resolution: 'cancelled', note: 'no' }, by('bob'), whole)
    expect(again).toEqual({ outcome: 'refused', refusal: 'resolved' })
    expect(await letterOf(other)).toMatchObject({ ...written, resolvedBy: 'ann' })
  })
})

describe('W-5 a fee that was not collected', () => {
  const FEE = 75n * USDT

  test('is owed, parked, listed, retried under a fresh key, and collected; conserved at every step', async () => {
    await fund()
    const trade = makeTrade()
    await books.settle([trade], SAGA, { [legKey(trade, 'fee')]: FAULTS.lostBefore })
    expect(await statusOf(trade)).toBe('SETTLED')
    expect(await clearingOf('USDT')).toBe(FEE)
    expect(await operators.letter(trade.id)).toBeNull()
    expect((await operators.status()).owedFees).toEqual([{ currency: 'USDT', amount: '75' }])

    for (const waitMs of [1000, 2000, 4000]) {
      books.advance(waitMs)
      await books.work({ [legKey(trade, 'fee')]: FAULTS.refused })
    }
    expect(await letterOf(trade)).toMatchObject({ kind: 'fee', status: 'open', code: 'INSUFFICIENT_BALANCE' })
    expect(await clearingOf('USDT')).toBe(FEE)
    expect(await operators.status()).toMatchObject({
      settled: 1,
      failed: 0,
      deadLetters: 1,
      owedFees: [{ currency: 'USDT', amount: '75' }],
    })

    await retry(trade)
    expect(await statusOf(trade)).toBe('SETTLED')
    expect((await operators.status()).owedFees).toEqual([{ currency: 'USDT', amount: '75' }])
    await books.work({ [legKey(trade, 'fee', 1)]: FAULTS.lostBefore })
    expect(await letterOf(trade)).toMatchObject({ kind: 'fee', status: 'retrying' })
    books.advance(1000)
    await books.work()
    expect(await letterOf(trade)).toMatchObject({ status: 'resolved', resolution: 'retried', resolvedBy: 'ann' })
    expect(await clearingOf('USDT')).toBe(0n)
    expect((await books.wallet.balance(FEES, 'USDT'))?.total).toBe(FEE)
    expect(await operators.status()).toMatchObject({ settled: 1, deadLetters: 0, owedFees: [] })
    const settledAtMs = (await books.store.trade(trade.id))?.settledAtMs
    expect(settledAtMs).toBe(books.now() - 8000)
  })

  test('has a letter of its own after a retry that settled its trade, and that one ends with the settlement', async () => {
    const trade = await oneFailed()
    await fund()
    books.advance(10)
    await retry(trade, by('ann'))
    await books.work({ [legKey(trade, 'fee', 1)]: FAULTS.refused })
    const [first] = await operators.auditLog({ tradeIds: [trade.id], before: null, limit: 10 })
    expect(first).toMatchObject({ actor: 'ann', action: 'retry', trades: 1 })
    expect(await operators.retryItems(first?.id ?? '', { results: [], after: null, limit: 10 })).toMatchObject([
      { tradeId: trade.id, result: 'settled', code: null },
    ])
    expect(await letterOf(trade)).toMatchObject({ kind: 'fee', status: 'open', firstFailedAtMs: books.now() })
    const { rows } = await db.database.query('select * from replaced_dead_letters')
    expect(rows).toMatchObject([{ trade_id: trade.id, kind: 'settlement', resolution: 'retried', resolved_by: 'ann' }])
  })

  test('is no longer owed once a person has written it off; the clearing account still shows it', async () => {
    await fund()
    const trade = makeTrade()
    await books.settle([trade], SAGA, { [legKey(trade, 'fee')]: FAULTS.refused })
    await desk.resolve(trade.id, { resolution: 'written_off', note: 'too small' }, by('ann'), whole)
    expect(await operators.status()).toMatchObject({ owedFees: [], deadLetters: 0 })
    expect(await clearingOf('USDT')).toBe(FEE)
  })
})

describe('F-4 many at once', () => {
  test('all that match are put back to work, each with its result', async () => {
    const trades = await failed(200)
    await fund(100_000_000n * USDT)
    const [other] = [makeTrade({ sellerUserId: BUYER, buyerUserId: SELLER })]
    await books.settle([other], SAGA, {
      [legKey(other, 'buyer-debit')]: async () => ({ outcome: 'refused', code: 'FROZEN', detail: '' }),
    })
    const filter = { ...ANY, codes: ['INSUFFICIENT_BALANCE'] }
    expect(await operators.countOpen(filter)).toBe(200)
    const changed = await desk.retryAll(filter, null, by('ann'), taken => taken)
    if (changed.outcome !== 'done') throw new Error(changed.outcome)
    const { id, count } = changed.answer
    expect(count).toBe(200)
    expect(await operators.bulkRetry(id)).toMatchObject({ count: 200, retrying: 200, actor: 'ann' })
    // A second operator finds nothing left to take.
    expect(await desk.retryAll(filter, null, by('bob'), taken => taken.count)).toMatchObject({ answer: 0 })

    const [broken] = trades
    await books.work({ [legKey(broken as Trade, 'buyer-debit', 1)]: FAULTS.refused })
    expect(await operators.bulkRetry(id)).toMatchObject({ retrying: 0, settled: 199, failed: 1, collected: 0 })
    expect(await operators.retryItems(id, { results: ['failed'], after: null, limit: 10 })).toMatchObject([
      { tradeId: broken?.id, result: 'failed', code: 'INSUFFICIENT_BALANCE', endedAtMs: books.now() },
    ])
    expect(await letterOf(other)).toMatchObject({ code: 'FROZEN', status: 'open' })
    expect(await clearingOf('USDT')).toBe(0n)
  }, 120_000)

  test('at a rate they are due one after the other', async () => {
    await failed(10)
    await desk.retryAll(ANY, 2, by('ann'), () => null)
    const { rows } = await db.database.query('select due_at from open_settlements order by due_at')
    expect(rows.map(row => row.due_at.getTime() - books.now())).toEqual(Array.from({ length: 10 }, (_, at) => at * 500))
  })

  test('letters that fail in the middle of others are in one place: letters and statuses agree with the counts', async () => {
    await failed(5)
    await fund()
    await failed(7)
    await retry(((await operators.letters({ ...ANY, before: null, limit: 1 }))[0] as DeadLetter).stored.trade)
    await books.work()
    const { rows } = await db.database.query(
      'select settlement_status as status, count(*) from trades group by settlement_status',
    )
    const counted = Object.fromEntries(rows.map(row => [row.status, Number(row.count)]))
    expect(counted).toEqual({ SETTLED: 8, SETTLEMENT_FAILED: 4 })
    expect(await operators.status()).toMatchObject({ pending: 0, settled: 8, failed: 4, deadLetters: 4 })
  })
})

describe('changes', () => {
  test('the same key with the same content is answered as the first time, and made once', async () => {
    const trade = await oneFailed()
    const first = await retry(trade, by('ann', 'key-1', 'retry it'))
    expect(first).toEqual({ outcome: 'done', answer: 'retrying' })
    expect(await retry(trade, by('ann', 'key-1', 'retry it'))).toEqual({ outcome: 'replayed', answer: 'retrying' })
    expect(await retry(trade, by('ann', 'key-1', 'retry another'))).toEqual({ outcome: 'key-reused' })
    // A key is its owner's, and a refusal does not spend it.
    expect(await retry(trade, by('bob', 'key-1', 'retry it'))).toEqual({ outcome: 'refused', refusal: 'retrying' })
    await books.work()
    expect(await retry(trade, by('bob', 'key-1', 'retry it'))).toEqual({ outcome: 'done', answer: 'retrying' })
    expect(await operators.auditLog({ tradeIds: [trade.id], before: null, limit: 10 })).toHaveLength(2)
  })

  test('the same key twice at the same moment is one change', async () => {
    const trade = await oneFailed()
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => retry(trade, by('ann', 'key-1', 'retry it'))))
    expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['done', 'replayed', 'replayed', 'replayed'])
  })

  test('F-4 each is in the audit log with who, when and why, and nobody can rewrite it', async () => {
    const trade = await oneFailed()
    await desk.resolve(trade.id, { resolution: 'cancelled', note: 'both agreed' }, by('ann'), whole)
    books.advance(1)
    await desk.setPaused(true, by('bob'), null)
    const [pause, resolve] = await operators.auditLog({ tradeIds: [], before: null, limit: 10 })
    expect(pause).toMatchObject({ actor: 'bob', action: 'pause', atMs: books.now(), trades: 0 })
    expect(resolve).toMatchObject({
      actor: 'ann',
      action: 'resolve',
      reason: 'the funds are there now',
      detail: { resolution: 'cancelled', note: 'both agreed' },
      trades: 1,
    })
    await expect(db.database.query(`update audit_log set actor = 'nobody'`)).rejects.toThrow('never changed or cut')
    await expect(db.database.query('delete from audit_log')).rejects.toThrow('never changed or cut')
  })

  test('S-6 while settlement is paused nobody claims anything; trades are still taken', async () => {
    await fund()
    await desk.setPaused(true, by('ann'), null)
    expect(await operators.isPaused()).toBe(true)
    const trade = await oneFailed()
    books.advance(100_000)
    await books.work()
    expect(await statusOf(trade)).toBe('PENDING')
    expect(await operators.status()).toMatchObject({
      isPaused: true,
      pending: 1,
      oldestPendingMs: books.now() - 100_000,
    })
    await desk.setPaused(false, by('ann'), null)
    await books.work()
    expect(await statusOf(trade)).toBe('SETTLED')
  })
})

describe('F-4 the list of letters', () => {
  test('is filtered by any of the values asked for, newest first, page after page', async () => {
    const made: Trade[] = []
    for (let round = 0; round < 3; round++) {
      made.unshift(...[...(await failed(3))].sort((a, b) => (a.id < b.id ? 1 : -1)))
      books.advance(1000)
    }
    const seen: string[] = []
    let before: { firstFailedAtMs: number; tradeId: string } | null = null
    for (;;) {
      const page: readonly DeadLetter[] = await operators.letters({ ...ANY, before, limit: 2 })
      const last = page.at(-1)
      if (last === undefined) break
      seen.push(...page.map(letter => letter.stored.trade.id))
      before = { firstFailedAtMs: last.firstFailedAtMs, tradeId: last.stored.trade.id }
    }
    expect(seen).toEqual(made.map(trade => trade.id))
    const [first] = made
    await desk.resolve(first?.id ?? '', { resolution: 'cancelled', note: 'x' }, by('ann'), whole)
    const found = async (filter: Partial<LetterFilter>) =>
      (await operators.letters({ ...ANY, ...filter, before: null, limit: 100 })).length
    expect(await found({ statuses: ['open'] })).toBe(8)
    expect(await found({ statuses: ['open', 'resolved'] })).toBe(9)
    expect(await found({ kinds: ['fee'] })).toBe(0)
    expect(await found({ codes: ['INSUFFICIENT_BALANCE', 'FROZEN'], kinds: ['settlement'] })).toBe(9)
    expect(await found({ rollbacks: ['incomplete'] })).toBe(0)
    expect(await found({ rollbacks: ['not_needed'], statuses: ['resolved'] })).toBe(1)
  })
})
