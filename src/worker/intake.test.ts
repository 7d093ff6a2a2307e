import { describe, expect, test } from 'vitest'
import { makeTrade } from '../../test/support/trades.ts'
import { createPool, createRig, fundBoth, LEASE_MS, OWNER, type Rig } from '../../test/support/workers.ts'
import type { Trade } from '../core/trade.ts'
import type { NewTrade, Store } from '../store/store.ts'
import { createIntake, type IntakeOptions } from './intake.ts'
import type { PoolOptions } from './pool.ts'

const given = (...trades: readonly Trade[]): readonly NewTrade[] => trades.map(trade => ({ trade, isTimeGiven: true }))

function intakeOf(rig: Rig, change: Partial<IntakeOptions> = {}, pool: Partial<PoolOptions> = {}) {
  const workers = createPool(rig, pool)
  const { store, clock } = rig
  const options: IntakeOptions = {
    store,
    pool: workers,
    clock,
    rail: 'saga',
    legOrder: 'buyer-first',
    waitsForRoom: false,
  }
  return { intake: createIntake({ ...options, ...change }), pool: workers }
}

describe('taking trades', () => {
  test('S-6 what was taken is durable and in the workers’ hands: it is settled without a claim', async () => {
    const rig = createRig()
    await fundBoth(rig)
    const { intake, pool } = intakeOf(rig)
    const trade = makeTrade()
    const taken = await intake.take(given(trade))
    expect(taken).toEqual({ acceptedIds: [trade.id], duplicates: [], reusedIds: [] })
    await rig.clock.quiet()
    expect(await rig.store.trade(trade.id)).toMatchObject({ status: 'SETTLED' })
    await pool.stop(0)
  })

  test('a call without trades is answered at once, and asks nobody', async () => {
    const rig = createRig()
    const recordTrades: Store['recordTrades'] = () => Promise.reject(new Error('asked'))
    const { intake } = intakeOf(rig, { store: { ...rig.store, recordTrades } })
    expect(await intake.take([])).toEqual({ acceptedIds: [], duplicates: [], reusedIds: [] })
  })

  test('calls that arrive together share a transaction, and each is told of its own trades', async () => {
    const rig = createRig()
    let inserts = 0
    const recordTrades: Store['recordTrades'] = (...args) => {
      inserts++
      return rig.store.recordTrades(...args)
    }
    const { intake } = intakeOf(rig, { store: { ...rig.store, recordTrades } })
    const [one, two, three] = [makeTrade(), makeTrade(), makeTrade()]
    const answers = await Promise.all([
      intake.take(given(one, two)),
      intake.take(given(two, three)),
      intake.take(given(three, three)),
    ])
    expect(inserts).toBe(1)
    const duplicate = (trade: Trade) => ({ id: trade.id, status: 'PENDING' })
    expect(answers).toEqual([
      { acceptedIds: [one.id, two.id], duplicates: [], reusedIds: [] },
      { acceptedIds: [three.id], duplicates: [duplicate(two)], reusedIds: [] },
      { acceptedIds: [], duplicates: [duplicate(three), duplicate(three)], reusedIds: [] },
    ])
  })

  test('a repetition of what is settled is told so', async () => {
    const rig = createRig()
    await fundBoth(rig)
    const { intake } = intakeOf(rig)
    const trade = makeTrade()
    await intake.take(given(trade))
    await rig.clock.quiet()
    const again = await intake.take(given(trade))
    expect(again.duplicates).toEqual([{ id: trade.id, status: 'SETTLED' }])
    await rig.clock.quiet()
    expect(rig.calls).toHaveLength(5)
  })

  test('one call that uses an id again costs the others of its batch nothing', async () => {
    const rig = createRig()
    const { intake } = intakeOf(rig)
    const [known, one, two] = [makeTrade(), makeTrade(), makeTrade()]
    await intake.take(given(known))
    const answers = await Promise.all([
      intake.take(given(one)),
      intake.take(given({ ...known, price: 1n }, makeTrade())),
      intake.take(given(two)),
    ])
    expect(answers.map(answer => [answer.acceptedIds, answer.reusedIds])).toEqual([
      [[one.id], []],
      [[], [known.id]],
      [[two.id], []],
    ])
    expect(rig.store.queue()).toHaveLength(3)
  })

  test('two calls that bring one id with different content: the first is taken, the second told', async () => {
    const rig = createRig()
    const { intake } = intakeOf(rig)
    const trade = makeTrade()
    const answers = await Promise.all([intake.take(given(trade)), intake.take(given({ ...trade, price: 1n }))])
    expect(answers.map(answer => answer.reusedIds)).toEqual([[], [trade.id]])
    expect((await rig.store.trade(trade.id))?.trade.price).toBe(trade.price)
  })
})

describe('S-6 trap 4: the window', () => {
  test('what finds no room is put in for whoever claims first, and lost by nobody', async () => {
    const rig = createRig({ latencyMs: 10 })
    await fundBoth(rig, 50)
    const { intake, pool } = intakeOf(rig, {}, { queueCapacity: 3 })
    pool.start()
    const trades = Array.from({ length: 50 }, () => makeTrade())
    const taken = Promise.all(trades.map(trade => intake.take(given(trade))))
    await rig.clock.advance(1)
    expect((await taken).flatMap(answer => answer.acceptedIds)).toHaveLength(50)
    await rig.clock.advance(20_000)
    for (const trade of trades) expect(await rig.store.trade(trade.id)).toMatchObject({ status: 'SETTLED' })
    expect(rig.calls).toHaveLength(250)
    await pool.stop(0)
  })

  test('a caller that waits for room gets it when the workers have made some', async () => {
    const rig = createRig({ latencyMs: 10 })
    await fundBoth(rig, 600)
    let unleased = 0
    const recordTrades: Store['recordTrades'] = (intake, nowMs) => {
      if (intake.lease === null) unleased++
      return rig.store.recordTrades(intake, nowMs)
    }
    const store = { ...rig.store, recordTrades }
    const { intake, pool } = intakeOf(rig, { store, waitsForRoom: true }, { queueCapacity: 100, workerPoolSize: 1 })
    pool.start()
    let done = 0
    // One after another, so that none of them joins another: together they would be more than the window ever holds.
    const all = async (): Promise<void> => {
      for (; done < 6; done++) await intake.take(given(...Array.from({ length: 100 }, () => makeTrade())))
    }
    const taken = all()
    await rig.clock.quiet()
    expect(done).toBeLessThan(6)
    await rig.clock.advance(5000)
    await taken
    expect(unleased).toBe(0)
    expect(rig.calls).toHaveLength(3000)
    await pool.stop(0)
  })

  test('trades that are more than the window ever holds are put in without a lease', async () => {
    const rig = createRig()
    const leases: unknown[] = []
    const recordTrades: Store['recordTrades'] = (intake, nowMs) => {
      leases.push(intake.lease)
      return rig.store.recordTrades(intake, nowMs)
    }
    const store = { ...rig.store, recordTrades }
    const { intake } = intakeOf(rig, { store, waitsForRoom: true }, { queueCapacity: 2 })
    await intake.take(given(makeTrade(), makeTrade(), makeTrade()))
    expect(leases).toEqual([null])
  })

  test('a store that fails keeps no room and takes nothing; the call may be made again', async () => {
    const rig = createRig()
    let failures = 1
    const recordTrades: Store['recordTrades'] = (...args) =>
      failures-- > 0 ? Promise.reject(new Error('away')) : rig.store.recordTrades(...args)
    const { intake, pool } = intakeOf(rig, { store: { ...rig.store, recordTrades } }, { queueCapacity: 1 })
    const trade = makeTrade()
    await expect(intake.take(given(trade))).rejects.toThrow('away')
    expect(pool.reserve(1)).not.toBeNull()
    pool.admit([], 1)
    expect((await intake.take(given(trade))).acceptedIds).toEqual([trade.id])
  })

  test('F-6 trades that were stored, and whose answer was lost, are settled once their lease has run out', async () => {
    const rig = createRig()
    await fundBoth(rig)
    let isLost = true
    const recordTrades: Store['recordTrades'] = async (...args) => {
      const result = await rig.store.recordTrades(...args)
      if (isLost) throw new Error('connection lost')
      return result
    }
    const { intake, pool } = intakeOf(rig, { store: { ...rig.store, recordTrades } })
    pool.start()
    const trade = makeTrade()
    await expect(intake.take(given(trade))).rejects.toThrow('connection lost')
    isLost = false
    expect((await intake.take(given(trade))).duplicates).toEqual([{ id: trade.id, status: 'PENDING' }])
    expect(rig.store.queue()).toMatchObject([{ owner: OWNER, token: 1 }])
    await rig.clock.advance(LEASE_MS)
    expect(await rig.store.trade(trade.id)).toMatchObject({ status: 'SETTLED' })
    expect(rig.calls).toHaveLength(5)
    await pool.stop(0)
  })
})
