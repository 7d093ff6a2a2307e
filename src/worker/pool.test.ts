import { describe, expect, test } from 'vitest'
import { BUYER, makeTrade } from '../../test/support/trades.ts'
import {
  createPool,
  createRig,
  faultAt,
  fundBoth,
  LEASE_MS,
  OWNER,
  type Rig,
  units,
} from '../../test/support/workers.ts'
import type { Trade } from '../core/trade.ts'
import type { Store } from '../store/store.ts'
import type { PoolOptions } from './pool.ts'

const OTHER = '00000000-0000-4000-a000-000000000002'
const DEADLINE_MS = 5_000

function tradesOf(count: number): readonly Trade[] {
  return Array.from({ length: count }, () => makeTrade())
}

async function settledCount(rig: Rig): Promise<number> {
  const query = { symbols: [], userIds: [], before: null, limit: 100_000 }
  return (await rig.store.trades({ ...query, statuses: ['SETTLED'] })).length
}

/** How often each key was called. */
function callsPerKey(rig: Rig): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const { key } of rig.calls) counts.set(key, (counts.get(key) ?? 0) + 1)
  return counts
}

async function claimableNow(rig: Rig): Promise<readonly { readonly id: string; readonly resumed: boolean }[]> {
  const claimed = await rig.store.claim({ owner: OTHER, untilMs: rig.clock.now() + LEASE_MS }, 10_000, rig.clock.now())
  return claimed.map(({ trade, resumed }) => ({ id: trade.id, resumed }))
}

/** The store with some calls replaced. */
function storeWith(rig: Rig, change: Partial<Store>): Store {
  return { ...rig.store, ...change }
}

async function away(): Promise<never> {
  throw new Error('the database is away')
}

test('a database that goes away under many settlements is told in one line a second, and loses none of them', async () => {
  const rig = createRig()
  await fundBoth(rig, 50)
  await rig.take(tradesOf(50))
  let isAway = true
  const gone = async (): Promise<never> => {
    throw Object.assign(new Error('connect failed'), { code: 'ECONNREFUSED' })
  }
  const store = storeWith(rig, { record: (owner, records) => (isAway ? gone() : rig.store.record(owner, records)) })
  const pool = createPool(rig, { store })
  pool.start()
  await rig.clock.advance(1_001)
  const told = rig.lines.filter(({ msg }) => msg === 'the database is away; settlements in hand are resumed')
  expect(told).toHaveLength(1)
  expect(told[0]?.['level']).toBe('ERROR')
  expect(told[0]?.['settlements']).toBeGreaterThanOrEqual(50)
  isAway = false
  await rig.clock.advance(LEASE_MS + 5_000)
  expect(await settledCount(rig)).toBe(50)
  expect((await rig.balances())['BTC of buyer']).toBe(units(50))
  await pool.stop(DEADLINE_MS)
})

describe('settling', () => {
  test('T-3 ten trades at the same moment: all settled, each leg once', async () => {
    const rig = createRig({ latencyMs: 5 })
    await fundBoth(rig, 10)
    await rig.take(tradesOf(10))
    const ended: unknown[] = []
    const onEnd: PoolOptions['onEnd'] = (_, { status }, latencyMs) => ended.push([status, latencyMs])
    const pool = createPool(rig, { onEnd })
    pool.start()
    await rig.clock.advance(2)
    expect(pool.status()).toMatchObject({ inFlight: 10, workersBusy: 1, workersTotal: 10, queueDepth: 0 })
    await rig.clock.advance(100)
    expect(await settledCount(rig)).toBe(10)
    expect([...callsPerKey(rig).values()]).toEqual(Array(50).fill(1))
    expect((await rig.balances())['USDT of fees']).toBe(units(750))
    expect(ended).toEqual(Array(10).fill(['SETTLED', 25]))
    expect(pool.status()).toMatchObject({ inFlight: 0, workersBusy: 0 })
    await pool.stop(DEADLINE_MS)
  })

  test('S-6 utilisation is visible: a worker is busy for every hundred settlements it drives', async () => {
    const rig = createRig({ latencyMs: 50 })
    await fundBoth(rig, 500)
    await rig.take(tradesOf(500))
    const pool = createPool(rig, { workerPoolSize: 2 })
    pool.start()
    await rig.clock.advance(10)
    expect(pool.status()).toEqual({
      queueDepth: 300,
      queueCapacity: 1000,
      workersBusy: 2,
      workersTotal: 2,
      inFlight: 200,
    })
    await rig.clock.advance(2000)
    expect(await settledCount(rig)).toBe(500)
    await pool.stop(DEADLINE_MS)
  })

  test('S-6 a wait holds no worker: others are settled meanwhile, and the retry comes on time', async () => {
    const rig = createRig({ faults: faultAt('buyer-debit', { kind: 'lost-before' }, 1) })
    await fundBoth(rig, 200)
    const startMs = rig.clock.now()
    await rig.take(tradesOf(200))
    const pool = createPool(rig, { workerPoolSize: 1, pollMs: 600_000 })
    pool.start()
    await rig.clock.advance(500)
    expect(pool.status()).toMatchObject({ inFlight: 0, queueDepth: 0 })
    expect(rig.store.queue().every(({ owner, dueAtMs }) => owner === null && dueAtMs === startMs + 1000)).toBe(true)
    await rig.clock.advance(500)
    expect(await settledCount(rig)).toBe(200)
    await pool.stop(DEADLINE_MS)
  })

  test('what another process put in is found by the poll; a wake-up finds it at once', async () => {
    const rig = createRig()
    await fundBoth(rig, 2)
    const pool = createPool(rig)
    pool.start()
    await rig.clock.advance(10)
    await rig.take(tradesOf(1))
    await rig.clock.advance(900)
    expect(await settledCount(rig)).toBe(0)
    await rig.clock.advance(100)
    expect(await settledCount(rig)).toBe(1)
    await rig.take(tradesOf(1))
    pool.wake()
    await rig.clock.quiet()
    expect(await settledCount(rig)).toBe(2)
    await pool.stop(DEADLINE_MS)
  })

  test('F-6 a database that is away for a while: claims are tried again at the next poll', async () => {
    const rig = createRig()
    await fundBoth(rig)
    await rig.take(tradesOf(1))
    let isAway = true
    const claim: Store['claim'] = (...args) => (isAway ? away() : rig.store.claim(...args))
    const pool = createPool(rig, { store: storeWith(rig, { claim }) })
    pool.start()
    await rig.clock.advance(2500)
    expect(rig.lines.map(line => line['level'])).toEqual(['ERROR', 'ERROR', 'ERROR'])
    isAway = false
    await rig.clock.advance(1000)
    expect(await settledCount(rig)).toBe(1)
    await pool.stop(DEADLINE_MS)
  })

  test('trap 6: an end that could not be stored is resumed after a poll, and nothing moves twice', async () => {
    const rig = createRig()
    await fundBoth(rig)
    const [trade] = tradesOf(1) as [Trade]
    await rig.take([trade])
    let failures = 1
    const record: Store['record'] = (...args) => (failures-- > 0 ? away() : rig.store.record(...args))
    const pool = createPool(rig, { store: storeWith(rig, { record }) })
    pool.start()
    await rig.clock.quiet()
    expect(rig.store.queue()).toMatchObject([{ owner: OWNER, dueAtMs: rig.clock.now() + 1000 }])
    await rig.clock.advance(1000)
    expect(await settledCount(rig)).toBe(1)
    expect(await rig.entriesOf(trade)).toHaveLength(5)
    await pool.stop(DEADLINE_MS)
  })

  test('trap 6: an end that was stored, and whose answer was lost, is not begun again', async () => {
    const rig = createRig()
    await fundBoth(rig)
    await rig.take(tradesOf(1))
    const record: Store['record'] = async (...args) => {
      await rig.store.record(...args)
      return await away()
    }
    const pool = createPool(rig, { store: storeWith(rig, { record }) })
    pool.start()
    await rig.clock.advance(60_000)
    expect(await settledCount(rig)).toBe(1)
    expect(rig.calls).toHaveLength(5)
    await pool.stop(DEADLINE_MS)
  })
})

describe('S-6 trap 4: the window', () => {
  test('a full window loses nothing: what has no room waits in the store', async () => {
    const rig = createRig({ latencyMs: 2 })
    await fundBoth(rig, 400)
    await rig.take(tradesOf(400))
    let deepest = 0
    const claim: Store['claim'] = async (...args) => {
      const claimed = await rig.store.claim(...args)
      deepest = Math.max(deepest, pool.status().queueDepth + claimed.length)
      return claimed
    }
    const pool = createPool(rig, { workerPoolSize: 1, queueCapacity: 7, store: storeWith(rig, { claim }) })
    pool.start()
    await rig.clock.advance(20_000)
    expect(await settledCount(rig)).toBe(400)
    expect(deepest).toBe(7)
    expect([...callsPerKey(rig).values()]).toEqual(Array(2000).fill(1))
    await pool.stop(DEADLINE_MS)
  })

  test('room is reserved before trades are put in under a lease, and given back if they were not', () => {
    const rig = createRig()
    const pool = createPool(rig, { queueCapacity: 10 })
    expect(pool.reserve(6)).toEqual({ owner: OWNER, untilMs: rig.clock.now() + LEASE_MS })
    expect(pool.reserve(5)).toBeNull()
    expect(pool.reserve(4)).not.toBeNull()
    expect(pool.reserve(1)).toBeNull()
    pool.admit([], 6)
    expect(pool.reserve(6)).not.toBeNull()
  })

  test('who waits for room is served in the order of asking', async () => {
    const rig = createRig()
    const pool = createPool(rig, { queueCapacity: 10 })
    const served: string[] = []
    const ask = async (name: string, count: number): Promise<void> => {
      served.push(`${name} ${(await pool.reserveWhenRoom(count)) === null ? 'refused' : 'served'}`)
    }
    await ask('first', 8)
    void ask('second', 9)
    void ask('third', 1)
    void ask('too many', 11)
    await rig.clock.quiet()
    expect(pool.reserve(1)).toBeNull()
    expect(served).toEqual(['first served', 'too many refused'])
    pool.admit([], 8)
    await rig.clock.quiet()
    expect(served.slice(2)).toEqual(['second served', 'third served'])
    void ask('fourth', 5)
    await pool.stop(DEADLINE_MS)
    expect(served.at(-1)).toBe('fourth refused')
    expect(await pool.reserveWhenRoom(1)).toBeNull()
  })

  test('F-6 trap 4: a crash loses nothing: another process takes over all that was claimed, once the leases ran out', async () => {
    const rig = createRig({ latencyMs: 1_000_000 })
    await fundBoth(rig, 150)
    await rig.take(tradesOf(150))
    let isAlive = true
    const { store } = rig
    const whileAlive = async <Result>(call: () => Promise<Result>): Promise<Result> =>
      isAlive ? await call() : await new Promise(() => {})
    const mortal: Store = {
      ...store,
      claim: (...args) => whileAlive(() => store.claim(...args)),
      record: (...args) => whileAlive(() => store.record(...args)),
      renew: (...args) => whileAlive(() => store.renew(...args)),
    }
    createPool(rig, { workerPoolSize: 1, store: mortal }).start()
    await rig.clock.advance(10)
    expect(rig.calls).toHaveLength(100)
    isAlive = false
    const quick = { ...rig.settler, wallet: rig.wallet }
    const second = createPool(rig, { ...quick, owner: OTHER })
    second.start()
    await rig.clock.advance(29_000)
    expect(await settledCount(rig)).toBe(0)
    await rig.clock.advance(2_000)
    expect(await settledCount(rig)).toBe(150)
    expect((await rig.balances())['BTC of buyer']).toBe(units(150))
    await second.stop(DEADLINE_MS)
  })
})

describe('leases', () => {
  test('renewals keep a settlement that takes longer than its lease', async () => {
    const rig = createRig({ latencyMs: 50_000 })
    await fundBoth(rig)
    await rig.take(tradesOf(1))
    const pools = [createPool(rig), createPool(rig, { owner: OTHER })]
    for (const pool of pools) pool.start()
    await rig.clock.advance(300_000)
    expect(await settledCount(rig)).toBe(1)
    expect(rig.calls).toHaveLength(5)
    await Promise.all(pools.map(pool => pool.stop(DEADLINE_MS)))
  })

  test('renewals keep what waits in the window as well', async () => {
    const rig = createRig({ latencyMs: 20_000 })
    await fundBoth(rig, 101)
    await rig.take(tradesOf(101))
    const first = createPool(rig, { workerPoolSize: 1 })
    first.start()
    await rig.clock.advance(1)
    const second = createPool(rig, { owner: OTHER })
    second.start()
    await rig.clock.advance(250_000)
    expect(await settledCount(rig)).toBe(101)
    expect([...callsPerKey(rig).values()]).toEqual(Array(505).fill(1))
    await Promise.all([first, second].map(pool => pool.stop(DEADLINE_MS)))
  })

  test('a worker whose lease could not be renewed makes no further call, and another completes it', async () => {
    const rig = createRig({ latencyMs: keys => (keys.length === 1 ? 40_000 : 1) })
    await fundBoth(rig)
    const [trade] = tradesOf(1) as [Trade]
    await rig.take([trade])
    const cut = createPool(rig, { store: storeWith(rig, { renew: away, claim: once(rig.store) }) })
    const other = createPool(rig, { owner: OTHER })
    cut.start()
    await rig.clock.advance(1)
    other.start()
    await rig.clock.advance(60_000)
    expect(await settledCount(rig)).toBe(1)
    expect(callsPerKey(rig).get(`${trade.id}:0:buyer-debit`)).toBe(2)
    expect(rig.calls).toHaveLength(6)
    expect(await rig.entriesOf(trade)).toHaveLength(5)
    await Promise.all([cut, other].map(pool => pool.stop(DEADLINE_MS)))
  })

  test('a worker that learns at a renewal that its lease is somebody else’s makes no further call', async () => {
    const rig = createRig({ latencyMs: keys => (keys.length === 1 ? 25_000 : 1) })
    await fundBoth(rig)
    await rig.take(tradesOf(1))
    const pool = createPool(rig)
    pool.start()
    await rig.clock.advance(1)
    await rig.store.expireLeases(rig.clock.now())
    expect(await claimableNow(rig)).toMatchObject([{ resumed: true }])
    await rig.clock.advance(26_000)
    expect(rig.calls).toHaveLength(1)
    expect(pool.status().inFlight).toBe(0)
    await pool.stop(DEADLINE_MS)
  })

  test('a process that takes its own expired lease over goes on once, not twice', async () => {
    // The first call hangs for longer than the lease, which can't be renewed; the second run is slow, but has a lease.
    const rig = createRig({ latencyMs: keys => (keys.length === 1 ? 40_000 : 15_000) })
    await fundBoth(rig)
    const [trade] = tradesOf(1) as [Trade]
    await rig.take([trade])
    const startMs = rig.clock.now()
    const renew: Store['renew'] = (...args) =>
      rig.clock.now() <= startMs + LEASE_MS ? away() : rig.store.renew(...args)
    const pool = createPool(rig, { store: storeWith(rig, { renew }) })
    pool.start()
    await rig.clock.advance(200_000)
    expect(await settledCount(rig)).toBe(1)
    const { id } = trade
    expect(callsPerKey(rig)).toEqual(
      new Map([
        [`${id}:0:buyer-debit`, 2],
        [`${id}:0:buyer-credit`, 1],
        [`${id}:0:seller-debit`, 1],
        [`${id}:0:seller-credit`, 1],
        [`${id}:0:fee`, 1],
      ]),
    )
    await pool.stop(DEADLINE_MS)
  })
})

/** The first call goes through; after it there is nothing. */
function once(store: Store): Store['claim'] {
  let isFirst = true
  return async (...args) => {
    if (!isFirst) return []
    isFirst = false
    return await store.claim(...args)
  }
}

describe('S-6 trap 4: shutdown', () => {
  test('what is under way is finished, what was only claimed is given back, and nothing more is claimed', async () => {
    const rig = createRig({ latencyMs: 100 })
    await fundBoth(rig, 150)
    await rig.take(tradesOf(150))
    const pool = createPool(rig, { workerPoolSize: 1 })
    pool.start()
    await rig.clock.advance(50)
    let hasStopped = false
    const stopped = pool.stop(DEADLINE_MS).then(() => {
      hasStopped = true
    })
    await rig.clock.advance(400)
    expect(hasStopped).toBe(false)
    await rig.clock.advance(100)
    expect(hasStopped).toBe(true)
    await stopped
    expect(await settledCount(rig)).toBe(100)
    const left = await claimableNow(rig)
    expect(left).toHaveLength(50)
    expect(left.every(({ resumed }) => !resumed)).toBe(true)
    expect(rig.clock.nextMs()).toBeNull()
  })

  test('it takes no longer than the deadline; what was not finished is resumed by others', async () => {
    const rig = createRig({ latencyMs: 60_000 })
    await fundBoth(rig)
    await rig.take(tradesOf(1))
    const pool = createPool(rig)
    pool.start()
    await rig.clock.advance(10)
    const startMs = rig.clock.now()
    let stoppedMs = 0
    const stopped = pool.stop(DEADLINE_MS).then(() => {
      stoppedMs = rig.clock.now()
    })
    await rig.clock.advance(DEADLINE_MS)
    await stopped
    expect(stoppedMs - startMs).toBe(DEADLINE_MS)
    expect(rig.lines.at(-1)).toMatchObject({ level: 'WARN', in_flight: 1 })
    await rig.clock.advance(LEASE_MS)
    expect(await claimableNow(rig)).toMatchObject([{ resumed: true }])
  })

  test('the deadline holds for a database that does not answer as well', async () => {
    const rig = createRig({ latencyMs: 60_000 })
    await fundBoth(rig, 150)
    await rig.take(tradesOf(150))
    const release: Store['release'] = () => new Promise(() => {})
    const pool = createPool(rig, { workerPoolSize: 1, store: storeWith(rig, { release }) })
    pool.start()
    await rig.clock.advance(10)
    let hasStopped = false
    void pool.stop(DEADLINE_MS).then(() => {
      hasStopped = true
    })
    await rig.clock.advance(DEADLINE_MS)
    expect(hasStopped).toBe(true)
  })

  test('what a claim brings that was under way is given back, and does not hold the shutdown up', async () => {
    const rig = createRig()
    await fundBoth(rig)
    await rig.take(tradesOf(1))
    const claim: Store['claim'] = async (...args) => {
      const claimed = await rig.store.claim(...args)
      await new Promise<void>(resolve => rig.clock.after(200, resolve))
      return claimed
    }
    const pool = createPool(rig, { store: storeWith(rig, { claim }) })
    pool.start()
    await rig.clock.advance(100)
    let hasStopped = false
    const stopped = pool.stop(DEADLINE_MS).then(() => {
      hasStopped = true
    })
    await rig.clock.advance(150)
    expect(hasStopped).toBe(true)
    await stopped
    expect(rig.calls).toEqual([])
    expect(await claimableNow(rig)).toMatchObject([{ resumed: false }])
  })

  test('what was put in under a lease while it stopped is given back', async () => {
    const rig = createRig()
    await fundBoth(rig)
    const [trade] = tradesOf(1) as [Trade]
    const pool = createPool(rig)
    pool.start()
    await rig.clock.quiet()
    const lease = pool.reserve(1)
    await pool.stop(DEADLINE_MS)
    await rig.take([trade], { lease })
    const claimed = {
      trade,
      rail: 'saga',
      legOrder: 'buyer-first',
      settlement: null,
      token: 1,
      resumed: false,
    } as const
    pool.admit([{ ...claimed, leaseUntilMs: lease?.untilMs ?? 0, recordedAtMs: rig.clock.now() }], 1)
    await rig.clock.quiet()
    expect(rig.calls).toEqual([])
    expect(await claimableNow(rig)).toEqual([{ id: trade.id, resumed: false }])
    expect(pool.reserve(1)).toBeNull()
  })

  test('of what another process had begun the doubt stays when it is given back', async () => {
    const rig = createRig({ latencyMs: 1000 })
    await fundBoth(rig, 2)
    const trades = tradesOf(101)
    await rig.take(trades, { lease: { owner: OTHER, untilMs: rig.clock.now() } })
    const pool = createPool(rig, { workerPoolSize: 1 })
    pool.start()
    await rig.clock.advance(10)
    void pool.stop(1)
    await rig.clock.advance(10)
    expect(await claimableNow(rig)).toEqual([{ id: trades[100]?.id, resumed: true }])
  })

  test('a pool that has stopped leaves nothing behind that would wake it, also when a renewal was under way', async () => {
    const rig = createRig({ latencyMs: 1_000_000 })
    await fundBoth(rig)
    await rig.take(tradesOf(1))
    let renewals = 0
    const renew: Store['renew'] = async (...args) => {
      renewals++
      await new Promise<void>(resolve => rig.clock.after(2000, resolve))
      return await rig.store.renew(...args)
    }
    const pool = createPool(rig, { store: storeWith(rig, { renew }) })
    pool.start()
    await rig.clock.advance(20_001)
    expect(renewals).toBe(1)
    const stopped = pool.stop(100)
    await rig.clock.advance(100)
    await stopped
    await rig.clock.advance(100_000)
    expect(renewals).toBe(1)
  })
})

test('S-3 the shell tells of every trade that ended, settled or failed, and of none twice', async () => {
  const rig = createRig({ level: 'reversals', faults: faultAt('fee', { kind: 'lost-before' }, 1) })
  await rig.fund(BUYER, 'USDT', units(60_000))
  await rig.take(tradesOf(1))
  await rig.clock.advance(1)
  const ended: unknown[] = []
  const pool = createPool(rig, { onEnd: (_, { status }) => ended.push(status) })
  pool.start()
  await rig.clock.advance(1)
  expect(ended).toEqual(['SETTLEMENT_FAILED'])
  await fundBoth(rig)
  await rig.take(tradesOf(1))
  await rig.clock.advance(5000)
  expect(ended).toEqual(['SETTLEMENT_FAILED', 'SETTLED'])
  expect(await settledCount(rig)).toBe(1)
  expect(rig.store.queue().filter(({ dueAtMs }) => dueAtMs !== null)).toEqual([])
  await pool.stop(DEADLINE_MS)
})
