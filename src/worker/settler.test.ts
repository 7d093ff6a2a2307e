import { describe, expect, test } from 'vitest'
import { BUYER, FEES, makeTrade, SELLER } from '../../test/support/trades.ts'
import { createRig, faultAt, fundBoth, OWNER, type Rig, units } from '../../test/support/workers.ts'
import type { LegName, LegOrder } from '../core/legs.ts'
import { newSettlement, next } from '../core/settlement.ts'
import type { Trade } from '../core/trade.ts'
import type { Claimed } from '../store/store.ts'
import type { Fault } from '../wallet/memory-wallet.ts'
import type { WalletLevel } from '../wallet/wallet.ts'
import { planOf } from './plan.ts'
import { type SettlerOptions, settle } from './settler.ts'

const BEFORE = { 'USDT of buyer': units(60_000), 'BTC of seller': units(1) }
/** One BTC at 50,000 with fees of 25 and 50. */
const AFTER = {
  'USDT of buyer': units(9_975),
  'BTC of buyer': units(1),
  'USDT of seller': units(49_950),
  'USDT of fees': units(75),
}
const { 'USDT of fees': _, ...WITHOUT_FEE } = AFTER

const LEGS: readonly LegName[] = ['buyer-debit', 'buyer-credit', 'seller-debit', 'seller-credit', 'fee']

/** The trade's wallet operations so far, as `call leg`. */
function callsOf(rig: Rig): readonly string[] {
  return rig.calls.map(({ call, key }) => `${call} ${key.split(':').slice(2).join(':') || 'settlement'}`)
}

function statusOf(rig: Rig, trade: Trade) {
  return rig.store.trade(trade.id)
}

async function settled(rig: Rig, how: { legOrder?: LegOrder; rail?: 'saga' | 'atomic' } = {}): Promise<Trade> {
  const trade = makeTrade()
  await fundBoth(rig)
  await rig.take([trade], how)
  await rig.work()
  return trade
}

describe('the success path', () => {
  test('T-2 W-1 W-2 W-3 W-4 W-5 every call and amount, the status and the time', async () => {
    const rig = createRig({ level: 'basic' })
    const trade = await settled(rig)
    const common = { call: 'apply', atMs: rig.clock.now(), tradeId: trade.id }
    const move = (leg: LegName, type: 'debit' | 'credit', userId: string, currency: string, amount: bigint) => ({
      ...common,
      key: `${trade.id}:0:${leg}`,
      type,
      userId,
      currency,
      amount,
      reason: leg === 'fee' ? 'FEE_COLLECTION' : 'TRADE_SETTLEMENT',
    })
    expect(rig.calls).toEqual([
      move('buyer-debit', 'debit', BUYER, 'USDT', units(50_025)),
      move('buyer-credit', 'credit', BUYER, 'BTC', units(1)),
      move('seller-debit', 'debit', SELLER, 'BTC', units(1)),
      move('seller-credit', 'credit', SELLER, 'USDT', units(49_950)),
      move('fee', 'credit', FEES, 'USDT', units(75)),
    ])
    expect(await statusOf(rig, trade)).toMatchObject({
      status: 'SETTLED',
      settledAtMs: rig.clock.now(),
      retryCount: 0,
      failureReason: null,
      settlement: null,
    })
    expect(await rig.balances()).toEqual(AFTER)
    expect(rig.store.letters()).toEqual([])
    expect(rig.lines).toEqual([])
  })

  test('T-2 both debits come before both credits where that order is chosen', async () => {
    const rig = createRig({ level: 'reversals' })
    await settled(rig, { legOrder: 'debits-first' })
    expect(callsOf(rig)).toEqual([
      'apply buyer-debit',
      'apply seller-debit',
      'apply buyer-credit',
      'apply seller-credit',
      'apply fee',
    ])
    expect(await rig.balances()).toEqual(AFTER)
  })

  test('W-7 T-2 on the atomic rail the whole trade is one call', async () => {
    const rig = createRig()
    const trade = await settled(rig, { rail: 'atomic' })
    expect(rig.calls).toEqual([{ call: 'settle', atMs: rig.clock.now(), key: `${trade.id}:0` }])
    expect(await rig.balances()).toEqual(AFTER)
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLED', settledAtMs: rig.clock.now() })
  })

  test.each(['saga', 'atomic'] as const)(
    'W-5 rebates that exceed the fees are paid by the fee account: %s',
    async rail => {
      const rig = createRig()
      const trade = makeTrade({ buyerFee: '-30', sellerFee: '10' })
      await fundBoth(rig)
      await rig.take([trade], { rail })
      await rig.work()
      expect(await rig.balances()).toEqual({
        'USDT of buyer': units(60_000 - 50_000 + 30),
        'BTC of buyer': units(1),
        'USDT of seller': units(49_990),
        'USDT of fees': -units(20),
      })
    },
  )

  test('a trade with oneself moves only its fees; without fees, nothing at all', async () => {
    const rig = createRig()
    await fundBoth(rig)
    const [withFees, without] = [
      makeTrade({ sellerUserId: BUYER }),
      makeTrade({ sellerUserId: BUYER, buyerFee: '0', sellerFee: '0' }),
    ]
    await rig.take([withFees])
    await rig.work()
    expect(callsOf(rig)).toEqual(['apply buyer-debit', 'apply fee'])
    expect(await rig.balances()).toEqual({
      'USDT of buyer': units(59_925),
      'BTC of seller': units(1),
      'USDT of fees': units(75),
    })
    await rig.take([without], { rail: 'atomic' })
    await rig.work()
    expect(rig.calls).toHaveLength(2)
    expect(await statusOf(rig, without)).toMatchObject({ status: 'SETTLED' })
  })

  test('T-3 ten trades settled at the same moment', async () => {
    const rig = createRig({ latencyMs: 3 })
    await fundBoth(rig, 10)
    const trades = Array.from({ length: 10 }, () => makeTrade())
    await rig.take(trades)
    const claimed = await rig.store.claim({ owner: OWNER, untilMs: rig.clock.now() + 30_000 }, 10, rig.clock.now())
    const options = optionsOf(rig)
    const all = Promise.all(claimed.map(each => settle(each, options)))
    await rig.clock.advance(100)
    expect((await all).map(left => left.how)).toEqual(Array(10).fill('rest'))
    expect((await rig.balances())['BTC of buyer']).toBe(units(10))
    expect((await rig.balances())['USDT of fees']).toBe(units(750))
    expect(rig.store.queue()).toEqual([])
  })
})

function optionsOf(rig: Rig, change: Partial<SettlerOptions> = {}): SettlerOptions {
  return {
    ...rig.settler,
    record: async record => (await rig.store.record(OWNER, [record]))[0] === true,
    isHeld: () => true,
    ...change,
  }
}

// Every leg, every outcome

const REFUSED: Fault = { kind: 'refused', code: 'INSUFFICIENT_BALANCE' }
const NOT_DONE: Fault = { kind: 'lost-before' }
const DONE: Fault = { kind: 'lost-after' }
const BUSY: Fault = { kind: 'deferred', reached: true }
const AWAY: Fault = { kind: 'deferred', reached: false }

/** A fault, how many calls of the leg it meets, and what it means for the leg. */
const OUTCOMES: readonly (readonly [name: string, fault: Fault, calls: number, meaning: 'passes' | 'stays'])[] = [
  ['refused', REFUSED, 1, 'stays'],
  ['unknown and not done, once', NOT_DONE, 1, 'passes'],
  ['unknown and not done, three times', NOT_DONE, 3, 'passes'],
  ['unknown and not done, always', NOT_DONE, 4, 'stays'],
  ['unknown but done, once', DONE, 1, 'passes'],
  ['unknown but done, always', DONE, 4, 'stays'],
  ['unavailable, once', BUSY, 1, 'passes'],
  ['unavailable, always', BUSY, 4, 'stays'],
  ['out of reach, for long', AWAY, 20, 'passes'],
]

const RAILS: readonly (readonly [level: WalletLevel, legOrder: LegOrder, rail: 'saga' | 'atomic'])[] = [
  ['basic', 'buyer-first', 'saga'],
  ['basic', 'debits-first', 'saga'],
  ['reversals', 'buyer-first', 'saga'],
  ['reversals', 'debits-first', 'saga'],
  ['settlements', 'buyer-first', 'atomic'],
]

describe.each(RAILS)('F-2 at level %s, %s, rail %s', (level, legOrder, rail) => {
  const steps = rail === 'atomic' ? ['0'] : LEGS
  const rows = steps.flatMap(step => OUTCOMES.map(([name, ...rest]) => [step, name, ...rest] as const))

  test.each(rows)('%s %s', async (step, _name, fault, calls, meaning) => {
    const rig = createRig({ level, faults: faultAt(step, fault, calls) })
    const trade = await settled(rig, { legOrder, rail })
    const stored = await statusOf(rig, trade)
    const first = rail === 'atomic' ? '0' : 'buyer-debit'
    const isFee = step === 'fee'

    if (meaning === 'passes' || isFee) expect(stored).toMatchObject({ status: 'SETTLED', failureReason: null })
    else expect(stored).toMatchObject({ status: 'SETTLEMENT_FAILED', settledAtMs: null })
    if (fault === AWAY || fault === REFUSED) expect(stored?.retryCount).toBe(0)
    else expect(stored?.retryCount).toBe(Math.min(calls, 3))

    if (meaning === 'passes') expect(await rig.balances()).toEqual(AFTER)
    else if (!isFee) expect(await rig.balances()).toEqual(BEFORE)
    else expect(await rig.balances()).toEqual(fault === DONE ? AFTER : WITHOUT_FEE)

    // Every leg exactly once, or undone exactly as often as it was applied.
    const perKey = new Map<string, bigint[]>()
    for (const { key, leg, amount } of await rig.entriesOf(trade)) {
      const name = `${key.replace(/:undo$/, '')} ${leg}`
      perKey.set(name, [...(perKey.get(name) ?? []), amount])
    }
    const isSettled = stored?.status === 'SETTLED'
    for (const amounts of perKey.values()) {
      if (isSettled) expect(amounts).toHaveLength(1)
      else expect(amounts).toEqual([amounts[0], -(amounts[0] ?? 0n)])
    }

    if (meaning === 'passes') {
      expect(rig.store.letters()).toEqual([])
      expect(rig.store.queue()).toEqual([])
    } else {
      const neverSent = step === first && (fault === REFUSED || fault === BUSY)
      expect(rig.store.letters()).toMatchObject([
        {
          tradeId: trade.id,
          kind: isFee ? 'fee' : 'settlement',
          rollback: isFee || neverSent ? 'not_needed' : 'complete',
          attempts: fault === REFUSED ? 1 : 4,
          status: 'open',
        },
      ])
      expect(rig.store.queue()).toMatchObject([{ tradeId: trade.id, dueAtMs: null, owner: null }])
    }
  })
})

describe('F-2 what is undone when a leg is refused, and in what order', () => {
  test.each([
    ['reversals', 'buyer-debit', []],
    ['reversals', 'buyer-credit', ['reverse buyer-debit']],
    ['reversals', 'seller-debit', ['reverse buyer-credit', 'reverse buyer-debit']],
    ['reversals', 'seller-credit', ['reverse seller-debit', 'reverse buyer-credit', 'reverse buyer-debit']],
    ['basic', 'seller-debit', ['apply buyer-credit:undo', 'apply buyer-debit:undo']],
    ['basic', 'seller-credit', ['apply seller-debit:undo', 'apply buyer-credit:undo', 'apply buyer-debit:undo']],
  ] as const)('at level %s, %s', async (level, leg, undone) => {
    const rig = createRig({ level, faults: faultAt(leg, REFUSED) })
    await settled(rig)
    const forward = LEGS.slice(0, LEGS.indexOf(leg) + 1).map(name => `apply ${name}`)
    expect(callsOf(rig)).toEqual([...forward, ...undone])
  })

  test('S-3, W-3 each undo is logged with its result, newest first, and the failure with its rollback', async () => {
    const rig = createRig({ level: 'reversals', faults: faultAt('seller-debit', REFUSED) })
    const trade = await settled(rig)
    const said = rig.lines.map(({ level, msg, leg, rollback }) => ({ level, msg, leg, rollback }))
    expect(said).toEqual([
      { level: 'WARN', msg: 'balance mismatch: as the script says', leg: 'seller-debit', rollback: undefined },
      { level: 'WARN', msg: 'settlement turns back', leg: undefined, rollback: 'running' },
      { level: 'INFO', msg: 'leg undone', leg: 'buyer-credit', rollback: undefined },
      { level: 'INFO', msg: 'leg undone', leg: 'buyer-debit', rollback: undefined },
      { level: 'ERROR', msg: 'settlement failed', leg: undefined, rollback: 'complete' },
    ])
    expect(rig.lines.every(line => line['trade_id'] === trade.id)).toBe(true)
  })

  test('S-3 the decision to go backward is stored before the first undo', async () => {
    const rig = createRig({ level: 'reversals', faults: faultAt('seller-debit', REFUSED) })
    await fundBoth(rig)
    const trade = makeTrade()
    await rig.take([trade])
    const seen: unknown[] = []
    const wallet = {
      ...rig.settler.wallet,
      reverse: async (...args: Parameters<typeof rig.wallet.reverse>) => {
        seen.push((await rig.store.trade(trade.id))?.settlement?.phase)
        return await rig.wallet.reverse(...args)
      },
    }
    await settle(await claimOne(rig), optionsOf(rig, { wallet }))
    expect(seen).toEqual(['backward', 'backward'])
  })
})

async function claimOne(rig: Rig): Promise<Claimed> {
  const [claimed] = await rig.store.claim({ owner: OWNER, untilMs: rig.clock.now() + 30_000 }, 1, rig.clock.now())
  if (claimed === undefined) throw new Error('nothing is due')
  return claimed
}

describe('S-4 retries', () => {
  test('S-4 trap 9: exactly one attempt and three retries, 1 s, 2 s and 4 s apart, under the same key', async () => {
    const rig = createRig({ level: 'reversals', faults: faultAt('buyer-debit', NOT_DONE) })
    const startMs = rig.clock.now()
    const trade = await settled(rig)
    const attempts = rig.calls.filter(({ call }) => call === 'apply')
    expect(attempts.map(({ atMs }) => atMs - startMs)).toEqual([0, 1000, 3000, 7000])
    expect(new Set(attempts.map(({ key }) => key))).toEqual(new Set([`${trade.id}:0:buyer-debit`]))
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLEMENT_FAILED', retryCount: 3 })
    expect(rig.store.letters()).toMatchObject([{ attempts: 4, code: 'TIMEOUT', firstFailedAtMs: startMs + 7000 }])
  })

  test('S-4 each retry is logged with its number', async () => {
    const rig = createRig({ faults: faultAt('seller-debit', BUSY, 2) })
    await settled(rig)
    expect(rig.lines.map(({ level, leg, attempt, code }) => ({ level, leg, attempt, code }))).toEqual([
      { level: 'WARN', leg: 'seller-debit', attempt: 1, code: 'RATE_LIMITED' },
      { level: 'WARN', leg: 'seller-debit', attempt: 2, code: 'RATE_LIMITED' },
    ])
  })

  test('S-4 a wallet that is away is told of once a settlement, however often it is asked', async () => {
    const rig = createRig({ faults: faultAt('seller-debit', AWAY, 20) })
    const trade = await settled(rig)
    expect(callsOf(rig).filter(call => call.endsWith('seller-debit'))).toHaveLength(21)
    expect(rig.lines.map(({ leg, code }) => ({ leg, code }))).toEqual([{ leg: 'seller-debit', code: 'UNREACHABLE' }])
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLED' })
  })

  test('S-4 a wait asked for is obeyed', async () => {
    const rig = createRig({ faults: faultAt('buyer-credit', { ...BUSY, retryAfterMs: 9_000 }, 1) })
    const startMs = rig.clock.now()
    await settled(rig)
    const calls = rig.calls.filter(({ key }) => key.endsWith('buyer-credit'))
    expect(calls.map(({ atMs }) => atMs - startMs)).toEqual([0, 9000])
  })

  test('S-6 between two attempts nobody holds it: the wait is a time in the store', async () => {
    const rig = createRig({ faults: faultAt('buyer-debit', NOT_DONE, 1) })
    const trade = makeTrade()
    await fundBoth(rig)
    await rig.take([trade])
    const left = await settle(await claimOne(rig), optionsOf(rig))
    expect(left).toEqual({ how: 'waiting', untilMs: rig.clock.now() + 1000 })
    expect(rig.store.queue()).toMatchObject([{ dueAtMs: rig.clock.now() + 1000, owner: null }])
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'PENDING', retryCount: 0 })
  })

  test('trap 10: for one lost packet the one operation is repeated; nothing is undone or begun again', async () => {
    const rig = createRig({ faults: faultAt('seller-debit', DONE, 1) })
    await settled(rig)
    expect(callsOf(rig)).toEqual([
      'apply buyer-debit',
      'apply buyer-credit',
      'apply seller-debit',
      'apply seller-debit',
      'apply seller-credit',
      'apply fee',
    ])
  })

  test('trap 7: a refusal whose words look like a server error is not retried', async () => {
    const rig = createRig()
    const wallet = {
      ...rig.settler.wallet,
      apply: async () => {
        calls++
        return { outcome: 'refused', code: 'INSUFFICIENT_BALANCE', detail: 'timeout 500: 503 short, retry' } as const
      },
    }
    let calls = 0
    const trade = makeTrade()
    await rig.take([trade])
    await settle(await claimOne(rig), optionsOf(rig, { wallet }))
    expect(calls).toBe(1)
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLEMENT_FAILED', retryCount: 0 })
  })

  test('a wallet client that throws has said nothing about the money', async () => {
    const rig = createRig({ level: 'reversals' })
    await fundBoth(rig)
    let calls = 0
    const apply: typeof rig.wallet.apply = async operation => {
      const outcome = await rig.wallet.apply(operation)
      if (calls++ === 0) throw new Error('socket hang up, secret inside')
      return outcome
    }
    const trade = makeTrade()
    await rig.take([trade])
    const options = optionsOf(rig, { wallet: { ...rig.settler.wallet, apply } })
    expect((await settle(await claimOne(rig), options)).how).toBe('waiting')
    await rig.clock.advance(1000)
    expect((await settle(await claimOne(rig), options)).how).toBe('rest')
    expect(await rig.balances()).toEqual(AFTER)
    expect(JSON.stringify((await statusOf(rig, trade))?.settlement)).not.toContain('secret inside')
  })
})

describe('trap 1', () => {
  test.each(['basic', 'reversals'] as const)(
    'a debit that timed out but was applied is undone with the rest, at level %s',
    async level => {
      const rig = createRig({ level, faults: faultAt('buyer-debit', DONE, 4) })
      const trade = await settled(rig)
      expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLEMENT_FAILED' })
      expect(await rig.balances()).toEqual(BEFORE)
      expect(await rig.entriesOf(trade)).toHaveLength(2)
    },
  )
})

describe('trap 2', () => {
  test('a retry of a debit that was applied pays once', async () => {
    const rig = createRig({ level: 'basic', faults: faultAt('buyer-debit', DONE, 3) })
    const trade = await settled(rig)
    expect(callsOf(rig).filter(call => call === 'apply buyer-debit')).toHaveLength(4)
    expect(await rig.balances()).toEqual(AFTER)
    expect(await rig.entriesOf(trade)).toHaveLength(5)
  })
})

describe('trap 3', () => {
  const failing = (attempts: number) =>
    createRig({
      level: 'reversals',
      faults: (call, key, attempt) => {
        if (call === 'reverse') return attempt <= attempts ? NOT_DONE : null
        return key.endsWith('buyer-credit') ? REFUSED : null
      },
    })

  test('an undo that fails is retried until it is done', async () => {
    const rig = failing(3)
    const trade = await settled(rig)
    expect(callsOf(rig).filter(call => call === 'reverse buyer-debit')).toHaveLength(4)
    expect(await rig.balances()).toEqual(BEFORE)
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLEMENT_FAILED', retryCount: 0 })
  })

  test('an undo that fails for good stays visible as incomplete, is retried slowly, and becomes complete', async () => {
    const rig = failing(12)
    const trade = makeTrade()
    await fundBoth(rig)
    await rig.take([trade])
    await rig.work(200_000)
    expect(callsOf(rig).filter(call => call === 'reverse buyer-debit')).toHaveLength(10)
    expect(rig.store.letters()).toMatchObject([{ rollback: 'incomplete', status: 'open', attempts: 1 }])
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLEMENT_FAILED' })
    const parked = rig.lines.find(line => line['level'] === 'ERROR')
    expect(parked).toMatchObject({ rollback: 'incomplete', trade_id: trade.id })
    await rig.work(250_000)
    expect(rig.store.letters()).toMatchObject([{ rollback: 'complete', status: 'open' }])
    expect(await rig.balances()).toEqual(BEFORE)
  })
})

describe('trap 5 W-5 the fee', () => {
  test('a fee that could not be collected is owed: the trade is settled, the fee collected later, on its own', async () => {
    const rig = createRig({ faults: faultAt('fee', NOT_DONE, 2) })
    const trade = makeTrade()
    await fundBoth(rig)
    await rig.take([trade])
    const startMs = rig.clock.now()
    await settle(await claimOne(rig), optionsOf(rig))
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLED', settledAtMs: startMs })
    expect(rig.store.queue()).toMatchObject([{ dueAtMs: startMs + 1000, owner: null }])
    expect(rig.lines.at(-1)).toMatchObject({ level: 'WARN', msg: 'fee owed', trade_id: trade.id })
    await rig.work()
    expect(await rig.balances()).toEqual(AFTER)
    expect(callsOf(rig).slice(4)).toEqual(['apply fee', 'apply fee', 'apply fee'])
    expect(rig.store.letters()).toEqual([])
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLED', settledAtMs: startMs })
  })

  test('W-5 a fee that stays uncollected becomes a dead letter of kind fee; the trade stays settled', async () => {
    const rig = createRig({ faults: faultAt('fee', NOT_DONE) })
    const trade = await settled(rig)
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLED', failureReason: null })
    expect(rig.store.letters()).toMatchObject([{ kind: 'fee', code: 'TIMEOUT', attempts: 4, rollback: 'not_needed' }])
    expect(rig.lines.at(-1)).toMatchObject({
      level: 'ERROR',
      msg: 'fee not collected',
      error: 'TIMEOUT at fee: no answer came',
    })
    expect(callsOf(rig).some(call => call.startsWith('reverse'))).toBe(false)
    const retried = await requeue(rig, trade)
    expect(retried.feeEpoch).toBe(0)
  })

  test('F-4 a fee that was refused is retried by an operator under a fresh key, and its letter closes', async () => {
    const rig = createRig({ faults: faultAt('0:fee', REFUSED) })
    const trade = await settled(rig)
    await requeue(rig, trade)
    await rig.work()
    expect(rig.calls.at(-1)?.key).toBe(`${trade.id}:1:fee`)
    expect(await rig.balances()).toEqual(AFTER)
    expect(rig.store.letters()).toMatchObject([{ kind: 'fee', status: 'resolved' }])
    expect(rig.store.queue()).toEqual([])
  })
})

async function requeue(rig: Rig, trade: Trade) {
  const stored = await rig.store.trade(trade.id)
  if (stored?.settlement == null) throw new Error('nothing to requeue')
  const { plan } = planOf(trade, stored.rail, stored.legOrder, rig.settler.traits)
  const { settlement } = next(stored.settlement, { type: 'requeue' }, rig.clock.now(), plan, rig.settler.policy)
  rig.store.requeue(trade.id, settlement, rig.clock.now())
  return settlement
}

describe('F-4 after a rollback', () => {
  test.each(['basic', 'reversals', 'atomic'] as const)(
    'an operator’s retry uses fresh keys, settles once and closes the letter: %s',
    async how => {
      const level = how === 'atomic' ? 'settlements' : how
      const rail = how === 'atomic' ? 'atomic' : 'saga'
      const rig = createRig({ level })
      const trade = makeTrade()
      await rig.fund(BUYER, 'USDT', units(60_000))
      await rig.take([trade], { rail })
      await rig.work()
      expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLEMENT_FAILED' })
      expect(await rig.balances()).toEqual({ 'USDT of buyer': units(60_000) })
      await rig.fund(SELLER, 'BTC', units(1))
      await requeue(rig, trade)
      await rig.work()
      expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLED', failureReason: null })
      expect(rig.calls.at(-1)?.key.startsWith(`${trade.id}:1`)).toBe(true)
      expect(await rig.balances()).toEqual(AFTER)
      expect(rig.store.letters()).toMatchObject([{ status: 'resolved' }])
    },
  )

  test('without dead letters configured none is written', async () => {
    const rig = createRig({ faults: faultAt('buyer-debit', REFUSED) })
    const trade = makeTrade()
    await rig.take([trade])
    await settle(await claimOne(rig), optionsOf(rig, { deadLettersEnabled: false }))
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLEMENT_FAILED' })
    expect(rig.store.letters()).toEqual([])
  })
})

describe('F-3 the log', () => {
  test('a failure is one line of level ERROR with trade, buyer, seller, symbol, error, legs and rollback', async () => {
    const rig = createRig({ level: 'reversals', faults: faultAt('seller-debit', REFUSED) })
    const trade = await settled(rig)
    const errors = rig.lines.filter(line => line['level'] === 'ERROR')
    expect(errors).toEqual([
      {
        level: 'ERROR',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        service: 'legwork',
        msg: 'settlement failed',
        trade_id: trade.id,
        buyer_user_id: BUYER,
        seller_user_id: SELLER,
        symbol: 'BTC/USDT',
        code: 'INSUFFICIENT_BALANCE',
        error: 'INSUFFICIENT_BALANCE at seller-debit: as the script says',
        rollback: 'complete',
        legs: {
          'buyer-debit': 'reversed',
          'buyer-credit': 'reversed',
          'seller-debit': 'refused',
          'seller-credit': 'waiting',
          fee: 'waiting',
        },
      },
    ])
  })
})

describe('leases', () => {
  test('trap 11: a lease that is lost between two legs: no further call, and whoever takes over completes it', async () => {
    const rig = createRig({ level: 'reversals' })
    await fundBoth(rig)
    const trade = makeTrade()
    await rig.take([trade])
    const isHeld = () => rig.calls.length < 2
    expect(await settle(await claimOne(rig), optionsOf(rig, { isHeld }))).toEqual({ how: 'lost' })
    expect(callsOf(rig)).toEqual(['apply buyer-debit', 'apply buyer-credit'])
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'PENDING' })
    await rig.clock.advance(30_000)
    await rig.work()
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLED' })
    expect(await rig.balances()).toEqual(AFTER)
    expect(await rig.entriesOf(trade)).toHaveLength(5)
  })

  test.each([
    ['the end', null],
    ['the turn backward', 'seller-debit'],
  ] as const)('a worker whose lease somebody else has can’t store %s, and stops', async (_, refusedLeg) => {
    const rig = createRig(refusedLeg === null ? {} : { faults: faultAt(refusedLeg, REFUSED) })
    await fundBoth(rig)
    const trade = makeTrade()
    await rig.take([trade])
    const stale = await claimOne(rig)
    await rig.clock.advance(30_000)
    await claimOne(rig)
    expect(await settle(stale, optionsOf(rig))).toEqual({ how: 'lost' })
    expect(callsOf(rig).some(call => call.startsWith('reverse'))).toBe(false)
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'PENDING', settlement: null })
  })

  test('what another process may have sent is in doubt: it is undone even where nothing is known of it', async () => {
    const rig = createRig({ level: 'reversals' })
    await rig.fund(BUYER, 'USDT', units(60_000))
    const trade = makeTrade()
    await rig.take([trade])
    const crashed = await claimOne(rig)
    const isHeld = () => rig.calls.length < 1
    await settle(crashed, optionsOf(rig, { isHeld }))
    await rig.clock.advance(30_000)
    await rig.work()
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLEMENT_FAILED' })
    expect(await rig.balances()).toEqual({ 'USDT of buyer': units(60_000) })
    expect(rig.store.letters()).toMatchObject([{ rollback: 'complete' }])
  })
})

describe('trap 6', () => {
  test.each(['saga', 'atomic'] as const)(
    'the money moved, and the end could not be stored: it is resumed, and nothing moves twice: %s',
    async rail => {
      const rig = createRig()
      await fundBoth(rig)
      const trade = makeTrade()
      await rig.take([trade], { rail })
      const record = async () => {
        throw new Error('the database is away')
      }
      await expect(settle(await claimOne(rig), optionsOf(rig, { record }))).rejects.toThrow('the database is away')
      expect(await statusOf(rig, trade)).toMatchObject({ status: 'PENDING' })
      expect(await rig.balances()).toEqual(AFTER)
      await rig.clock.advance(30_000)
      await rig.work()
      expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLED' })
      expect(await rig.balances()).toEqual(AFTER)
      expect(await rig.entriesOf(trade)).toHaveLength(5)
    },
  )
})

describe('trap 12', () => {
  /** The buyer spends what it was given the moment before the seller's debit is refused. */
  async function spent(level: WalletLevel, legOrder: LegOrder): Promise<{ rig: Rig; trade: Trade }> {
    const rig = createRig({ level, faults: faultAt('seller-debit', REFUSED) })
    await fundBoth(rig)
    const trade = makeTrade()
    await rig.take([trade], { legOrder })
    const apply: typeof rig.settler.wallet.apply = async operation => {
      const outcome = await rig.settler.wallet.apply(operation)
      if (operation.key.endsWith('buyer-credit')) await withdraw(rig, 'spent')
      return outcome
    }
    await settle(await claimOne(rig), optionsOf(rig, { wallet: { ...rig.settler.wallet, apply } }))
    return { rig, trade }
  }

  async function withdraw(rig: Rig, key: string): Promise<void> {
    const movement = { type: 'debit', userId: BUYER, currency: 'BTC', amount: units(1), reason: 'WITHDRAWAL' } as const
    await rig.wallet.apply({ key, tradeId: null, ...movement })
  }

  test.each(['basic', 'reversals'] as const)(
    'an undo that finds the money spent stops the rollback there: who kept the goods is not repaid, level %s',
    async level => {
      const { rig, trade } = await spent(level, 'buyer-first')
      expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLEMENT_FAILED' })
      expect(rig.store.letters()).toMatchObject([{ rollback: 'incomplete', status: 'open' }])
      expect(await rig.balances()).toEqual({ 'USDT of buyer': units(9_975), 'BTC of seller': units(1) })
      // It is asked again slowly, and completed once the goods are there.
      await rig.fund(BUYER, 'BTC', units(1))
      await rig.work(120_000)
      expect(rig.store.letters()).toMatchObject([{ rollback: 'complete', status: 'open' }])
      expect(await rig.balances()).toEqual(BEFORE)
    },
  )

  test('with both debits first there is nothing to spend before it is certain', async () => {
    const { rig, trade } = await spent('reversals', 'debits-first')
    expect(await statusOf(rig, trade)).toMatchObject({ status: 'SETTLEMENT_FAILED' })
    expect(rig.store.letters()).toMatchObject([{ rollback: 'complete' }])
    expect(await rig.balances()).toEqual(BEFORE)
  })
})

describe('what stops for a person', () => {
  test('a wallet that forgets keys: a call without an answer is never repeated, and the letter says what is known', async () => {
    const rig = createRig({ level: 'basic', idempotent: false, faults: faultAt('seller-debit', DONE, 1) })
    const trade = await settled(rig)
    expect(callsOf(rig)).toEqual(['apply buyer-debit', 'apply buyer-credit', 'apply seller-debit'])
    expect(rig.store.letters()).toMatchObject([{ rollback: 'incomplete', code: 'TIMEOUT' }])
    expect((await statusOf(rig, trade))?.settlement?.steps.map(step => step.state)).toEqual([
      'applied',
      'applied',
      'unanswered',
      'waiting',
      'waiting',
    ])
    expect(rig.store.queue()).toMatchObject([{ dueAtMs: null }])
  })

  test('a wallet that forgets keys: what a process that is gone had begun is not begun again', async () => {
    const rig = createRig({ level: 'basic', idempotent: false })
    await fundBoth(rig)
    const trade = makeTrade()
    await rig.take([trade])
    const isHeld = () => rig.calls.length < 1
    await settle(await claimOne(rig), optionsOf(rig, { isHeld }))
    await rig.clock.advance(30_000)
    await rig.work()
    expect(callsOf(rig)).toEqual(['apply buyer-debit'])
    expect(rig.store.letters()).toMatchObject([{ rollback: 'incomplete', code: 'UNANSWERED' }])
  })

  test('a key that moved other money: nothing more happens by itself', async () => {
    const rig = createRig({ level: 'reversals' })
    await fundBoth(rig)
    const trade = makeTrade()
    const other = { type: 'credit', userId: SELLER, currency: 'USDT', amount: 1n, reason: 'TRADE_SETTLEMENT' } as const
    await rig.wallet.apply({ key: `${trade.id}:0:seller-credit`, tradeId: trade.id, ...other })
    await rig.take([trade])
    await rig.work()
    expect(callsOf(rig).some(call => call.startsWith('reverse'))).toBe(false)
    expect(rig.store.letters()).toMatchObject([{ code: 'IDEMPOTENCY_KEY_REUSED', rollback: 'incomplete' }])
    expect(rig.store.queue()).toMatchObject([{ dueAtMs: null }])
  })

  test('a stored settlement that does not fit its trade is a bug: it is parked, no call is made, and it is not retried', async () => {
    const rig = createRig()
    await fundBoth(rig)
    const trade = makeTrade()
    await rig.take([trade])
    const claimed = await claimOne(rig)
    const { plan } = planOf(trade, 'saga', 'buyer-first', rig.settler.traits)
    const settlement = newSettlement({ ...plan, steps: plan.steps.slice(1) })
    const left = await settle({ ...claimed, settlement }, optionsOf(rig))
    expect(left).toMatchObject({ how: 'rest', status: 'SETTLEMENT_FAILED', againAtMs: null })
    expect(rig.calls).toEqual([])
    expect(rig.store.letters()).toMatchObject([{ code: 'INTERNAL', rollback: 'incomplete' }])
  })
})
