import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Market } from '../../src/core/market.ts'
import type { Trade } from '../../src/core/trade.ts'
import { migrate } from '../../src/migrate.ts'
import { type InstrumentStore, openInstruments } from '../../src/store/instruments.ts'
import { createMemoryStore, type QueueEntry, type StoredLetter } from '../../src/store/memory-store.ts'
import { createStore } from '../../src/store/pg-store.ts'
import { type StoreUnderTest, storeSuite, storesAgree } from '../suites/store.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { BTC_USDT, makeTrade } from '../support/trades.ts'

const ETH_USDT = { ...BTC_USDT, symbol: 'ETH/USDT', base: { code: 'ETH', scale: 8 } }

let db: TestDatabase
let instruments: InstrumentStore

beforeAll(async () => {
  db = await createTestDatabase()
  await migrate(db.database, 'store')
  const assets = [BTC_USDT.base, BTC_USDT.quote, ETH_USDT.base]
  instruments = await openInstruments(db.database, { assets, markets: [BTC_USDT, ETH_USDT] })
})
afterAll(() => db.drop())

async function emptyStore(): Promise<StoreUnderTest> {
  await db.database.query('truncate trades, open_settlements, dead_letters')
  const store = () => createStore(db.database, instruments)
  return { store: store(), another: store, letters: selectLetters, queue: selectQueue }
}

async function memoryStore(): Promise<StoreUnderTest> {
  const store = createMemoryStore()
  return { store, another: () => store, letters: async () => store.letters(), queue: async () => store.queue() }
}

async function selectQueue(): Promise<readonly QueueEntry[]> {
  const { rows } = await db.database.query(
    'select trade_id, due_at, lease_owner, lease_token from open_settlements order by trade_id',
  )
  return rows.map(row => ({
    tradeId: row.trade_id,
    dueAtMs: row.due_at?.getTime() ?? null,
    owner: row.lease_owner,
    token: row.lease_token,
  }))
}

async function selectLetters(): Promise<readonly StoredLetter[]> {
  const { rows } = await db.database.query('select * from dead_letters order by trade_id')
  return rows.map(row => ({
    tradeId: row.trade_id,
    kind: row.kind,
    code: row.code,
    lastError: row.last_error,
    attempts: row.attempts,
    rollback: row.rollback,
    status: row.status,
    firstFailedAtMs: row.first_failed_at.getTime(),
    lastFailedAtMs: row.last_failed_at.getTime(),
    resolvedAtMs: row.resolved_at?.getTime() ?? null,
  }))
}

storeSuite('the store on PostgreSQL', emptyStore)
storesAgree('the store on PostgreSQL', emptyStore, memoryStore)

const lease = { owner: '00000000-0000-4000-a000-000000000001', untilMs: 2_000_000_000_000 }
const NOW = 1_700_000_100_000

describe('many processes on one store', () => {
  const DOGE_USDT = { ...BTC_USDT, symbol: 'DOGE/USDT', base: { code: 'DOGE', scale: 8 } }
  async function takenByAnother(market: Market, quantity: string): Promise<readonly [theirs: Trade, other: Trade]> {
    const theirs = await openInstruments(db.database, { assets: [BTC_USDT.quote, market.base], markets: [market] })
    const trade = makeTrade(
      { symbol: market.symbol, quantity, price: '1000000', buyerFee: '0', sellerFee: '0' },
      market,
    )
    const other = makeTrade()
    const trades = [trade, other].map(each => ({ trade: each, isTimeGiven: true }))
    const intake = { trades, rail: 'saga', legOrder: 'buyer-first', lease: null } as const
    await createStore(db.database, theirs).recordTrades(intake, NOW)
    return [trade, other]
  }

  test('S-6 a trade of a market that another process has added since is claimed and read all the same', async () => {
    const { store } = await emptyStore()
    const [trade, other] = await takenByAnother(DOGE_USDT, '1')
    const claimed = await store.claim(lease, 10, NOW)
    expect(new Set(claimed.map(each => each.trade.id))).toEqual(new Set([trade.id, other.id]))
    expect((await store.trade(trade.id))?.trade).toEqual(trade)
  })

  test('an asset that has more places by now keeps its own here, since amounts in hand are in units of them', async () => {
    const told: unknown[] = []
    const eth = ETH_USDT.base
    const own = await openInstruments(db.database, { assets: [eth], markets: [ETH_USDT] }, (...grown) =>
      told.push(grown),
    )
    await emptyStore()
    const fine = { ...ETH_USDT, base: { ...eth, scale: 12 } }
    const [trade, other] = await takenByAnother(fine, '0.000000000001')
    const store = createStore(db.database, own)
    // What it can read it settles; the other is left to those that can.
    expect((await store.claim(lease, 10, NOW)).map(each => each.trade.id)).toEqual([other.id])
    await expect(store.trade(trade.id)).rejects.toThrow()
    expect(own.assets.get('ETH')).toEqual(eth)
    expect(own.markets.get(ETH_USDT.symbol)?.base).toEqual(eth)
    expect(told).toEqual([[eth, fine.base]])
  })
})

describe('what the tables refuse, whatever the code forgets', () => {
  async function settledTrade(): Promise<string> {
    const { store } = await emptyStore()
    const trade = makeTrade()
    const trades = [{ trade, isTimeGiven: true }]
    await store.recordTrades({ trades, rail: 'saga', legOrder: 'buyer-first', lease }, NOW)
    await store.record(lease.owner, [
      {
        tradeId: trade.id,
        token: 1,
        status: 'SETTLED',
        atMs: NOW,
        retryCount: 0,
        failureReason: null,
        settlement: null,
        dueAtMs: null,
        keepsLease: false,
        isEnded: true,
        letter: null,
      },
    ])
    return trade.id
  }

  test.each(['PENDING', 'SETTLEMENT_FAILED'])('a settled trade that would become %s', async status => {
    const id = await settledTrade()
    const change = 'update trades set settlement_status = $2, settled_at = null where id = $1'
    await expect(db.database.query(change, [id, status])).rejects.toThrow('is SETTLED, and stays so')
  })

  test('a time of settlement without the status, and the status without the time', async () => {
    const id = await settledTrade()
    const change = 'update trades set settled_at = null where id = $1'
    await expect(db.database.query(change, [id])).rejects.toThrow('check constraint')
  })

  test('a trade of a market that is not there', async () => {
    const { another } = await emptyStore()
    const shib = { ...BTC_USDT, symbol: 'SHIB/USDT', base: { code: 'SHIB', scale: 8 } }
    const store = createStore(db.database, { ...instruments, markets: new Map([[shib.symbol, shib]]) })
    const trades = [{ trade: makeTrade({ symbol: shib.symbol }, shib), isTimeGiven: true }]
    const taken = store.recordTrades({ trades, rail: 'saga', legOrder: 'buyer-first', lease: null }, NOW)
    await expect(taken).rejects.toThrow('a market that is not there')
    expect(await another().nextDueMs()).toBeNull()
  })
})
