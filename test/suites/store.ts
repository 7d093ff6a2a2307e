import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { newSettlement, type Plan, type Settlement } from '../../src/core/settlement.ts'
import type { Trade } from '../../src/core/trade.ts'
import type { QueueEntry, StoredLetter } from '../../src/store/memory-store.ts'
import type { Intake, Letter, NewTrade, SettlementRecord, Store } from '../../src/store/store.ts'
import { BTC_USDT, BUYER, makeTrade, SELLER } from '../support/trades.ts'

/** A store with what tests look at besides the port. */
export interface StoreUnderTest {
  readonly store: Store
  /** The same data through the eyes of another process. */
  readonly another: () => Store
  readonly letters: () => Promise<readonly StoredLetter[]>
  readonly queue: () => Promise<readonly QueueEntry[]>
}

/** Makes an empty store that knows the markets BTC/USDT and ETH/USDT. */
export type MakeStore = () => Promise<StoreUnderTest>

const NOW = 1_700_000_100_000
const ONE = '00000000-0000-4000-a000-000000000001'
const TWO = '00000000-0000-4000-a000-000000000002'
const PLAN: Plan = { rail: 'saga', steps: ['buyer-debit', 'seller-credit'], undo: 'reversal', repeatable: true }
const LETTER: Letter = {
  kind: 'settlement',
  code: 'INSUFFICIENT_BALANCE',
  lastError: 'INSUFFICIENT_BALANCE at buyer-debit: "not" enough \\',
  attempts: 1,
  rollback: 'complete',
}

const leaseOf = (owner: string, untilMs = NOW + 30_000) => ({ owner, untilMs })
const given = (...trades: readonly Trade[]): readonly NewTrade[] => trades.map(trade => ({ trade, isTimeGiven: true }))

function intake(trades: readonly NewTrade[], change: Partial<Intake> = {}): Intake {
  return { trades, rail: 'saga', legOrder: 'buyer-first', lease: null, ...change }
}

/** The good end, nothing else known; changed as the test wants it. */
function recordOf(tradeId: string, token: number, change: Partial<SettlementRecord> = {}): SettlementRecord {
  return {
    tradeId,
    token,
    status: 'SETTLED',
    atMs: NOW + 5,
    retryCount: 0,
    failureReason: null,
    settlement: null,
    dueAtMs: null,
    keepsLease: false,
    isEnded: true,
    letter: null,
    ...change,
  }
}

const waitUntil = (dueAtMs: number): Partial<SettlementRecord> => ({
  status: 'PENDING',
  retryCount: 1,
  settlement: newSettlement(PLAN),
  dueAtMs,
  isEnded: false,
})
const FAILED: Partial<SettlementRecord> = {
  status: 'SETTLEMENT_FAILED',
  failureReason: LETTER.lastError,
  settlement: { ...newSettlement(PLAN), phase: 'failed', rollback: 'complete' },
  isEnded: false,
  letter: LETTER,
}

/** The promises of the port; every implementation keeps all of them. */
export function storeSuite(name: string, make: MakeStore): void {
  describe(name, () => {
    let under: StoreUnderTest
    let store: Store

    beforeEach(async () => {
      under = await make()
      store = under.store
    })

    async function claimIds(owner: string, limit = 100, nowMs = NOW): Promise<readonly string[]> {
      const claimed = await store.claim(leaseOf(owner, nowMs + 30_000), limit, nowMs)
      return claimed.map(each => each.trade.id)
    }

    async function recorded(...trades: readonly Trade[]): Promise<void> {
      await store.recordTrades(intake(given(...trades)), NOW)
    }

    async function entryOf(id: string): Promise<QueueEntry | undefined> {
      return (await under.queue()).find(entry => entry.tradeId === id)
    }

    async function letterOf(id: string): Promise<StoredLetter | undefined> {
      return (await under.letters()).find(letter => letter.tradeId === id)
    }

    describe('taking trades', () => {
      test('S-5 a trade that was taken is read back as it was given, PENDING and in the queue', async () => {
        const trade = makeTrade({ isBuyerMaker: null, buyerOrderId: ONE, sellerOrderId: null, buyerFee: '-0.5' })
        const result = await store.recordTrades(intake(given(trade), { legOrder: 'debits-first' }), NOW)
        expect(result).toEqual({ acceptedIds: new Set([trade.id]), duplicates: [], reusedIds: [] })
        expect(await store.trade(trade.id)).toEqual({
          trade,
          status: 'PENDING',
          settledAtMs: null,
          retryCount: 0,
          failureReason: null,
          rail: 'saga',
          legOrder: 'debits-first',
          settlement: null,
          recordedAtMs: NOW,
        })
        expect(await under.queue()).toEqual([{ tradeId: trade.id, dueAtMs: NOW, owner: null, token: 0 }])
      })

      test('a trade taken under a lease is in that process’s hands, with fencing number 1', async () => {
        const trade = makeTrade()
        await store.recordTrades(intake(given(trade), { lease: leaseOf(ONE) }), NOW)
        expect(await entryOf(trade.id)).toEqual({ tradeId: trade.id, dueAtMs: NOW + 30_000, owner: ONE, token: 1 })
        expect(await claimIds(TWO)).toEqual([])
        expect(await store.record(ONE, [recordOf(trade.id, 1)])).toEqual([true])
      })

      test('none are taken by a call without any', async () => {
        expect(await store.recordTrades(intake([]), NOW)).toEqual({
          acceptedIds: new Set(),
          duplicates: [],
          reusedIds: [],
        })
      })

      test('the same trade again is a duplicate, told with its status, and changes nothing', async () => {
        const [settled, waiting, fresh] = [makeTrade(), makeTrade(), makeTrade()]
        await store.recordTrades(intake(given(settled, waiting), { lease: leaseOf(ONE) }), NOW)
        await store.record(ONE, [recordOf(settled.id, 1)])
        const before = await store.trade(waiting.id)
        const result = await store.recordTrades(intake(given(settled, fresh, waiting), { rail: 'atomic' }), NOW + 9)
        expect(result.acceptedIds).toEqual(new Set([fresh.id]))
        expect(new Map(result.duplicates.map(each => [each.id, each.status]))).toEqual(
          new Map([
            [settled.id, 'SETTLED'],
            [waiting.id, 'PENDING'],
          ]),
        )
        expect(await store.trade(waiting.id)).toEqual(before)
        expect(await entryOf(settled.id)).toBeUndefined()
      })

      test('the same trade twice in one call is taken once', async () => {
        const trade = makeTrade()
        const result = await store.recordTrades(intake(given(trade, trade, trade)), NOW)
        expect(result.acceptedIds).toEqual(new Set([trade.id]))
        expect(result.duplicates).toEqual([
          { id: trade.id, status: 'PENDING' },
          { id: trade.id, status: 'PENDING' },
        ])
        expect(await under.queue()).toHaveLength(1)
      })

      test.each<[string, Partial<Trade>]>([
        ['symbol', { symbol: 'ETH/USDT', base: 'ETH' }],
        ['buyer', { buyerUserId: SELLER }],
        ['seller', { sellerUserId: BUYER }],
        ['price', { price: 1n }],
        ['quantity', { quantity: 1n }],
        ["buyer's fee", { buyerFee: 1n }],
        ["seller's fee", { sellerFee: 1n }],
        ['side of the maker', { isBuyerMaker: false }],
        ["buyer's order", { buyerOrderId: ONE }],
        ["seller's order", { sellerOrderId: ONE }],
        ['time', { executedAtMs: 1_700_000_000_001 }],
      ])('an id used again with another %s is named, and nothing of the call is taken', async (_, change) => {
        const [known, fresh] = [makeTrade(), makeTrade()]
        await recorded(known)
        const other = { ...known, ...change }
        const result = await store.recordTrades(intake(given(fresh, other)), NOW)
        expect(result).toEqual({ acceptedIds: new Set(), duplicates: [], reusedIds: [known.id] })
        expect(await store.trade(fresh.id)).toBeNull()
        expect((await store.trade(known.id))?.trade).toEqual(known)
      })

      test('an id used twice in one call with different content is named, and nothing of the call is taken', async () => {
        const [trade, fresh] = [makeTrade(), makeTrade()]
        const result = await store.recordTrades(intake(given(fresh, trade, { ...trade, price: 1n })), NOW)
        expect(result).toEqual({ acceptedIds: new Set(), duplicates: [], reusedIds: [trade.id] })
        expect(await store.trade(fresh.id)).toBeNull()
        expect(await under.queue()).toEqual([])
      })

      test('a time that was not given need not match', async () => {
        const trade = makeTrade()
        await recorded(trade)
        const later = { ...trade, executedAtMs: trade.executedAtMs + 7 }
        const result = await store.recordTrades(intake([{ trade: later, isTimeGiven: false }]), NOW)
        expect(result.duplicates).toEqual([{ id: trade.id, status: 'PENDING' }])
        expect((await store.trade(trade.id))?.trade.executedAtMs).toBe(trade.executedAtMs)
      })

      test('within a call, times are compared where both were given', async () => {
        const [one, two] = [makeTrade(), makeTrade()]
        const late = (trade: Trade) => ({ ...trade, executedAtMs: trade.executedAtMs + 7 })
        const taken = await store.recordTrades(intake([...given(one), { trade: late(one), isTimeGiven: false }]), NOW)
        expect(taken.duplicates).toEqual([{ id: one.id, status: 'PENDING' }])
        expect((await store.recordTrades(intake(given(two, late(two))), NOW)).reusedIds).toEqual([two.id])
      })

      test('notional and fee account follow from the configuration, and are no part of what must match', async () => {
        const trade = makeTrade()
        await recorded(trade)
        const result = await store.recordTrades(
          intake(given({ ...trade, notional: trade.notional + 1n, feeUserId: ONE })),
          NOW,
        )
        expect(result.duplicates).toHaveLength(1)
      })

      test('S-1 the same batch from several processes at the same moment is taken once', async () => {
        const trades = Array.from({ length: 50 }, () => makeTrade())
        const stores = [store, under.another(), under.another(), under.another()]
        const results = await Promise.all(
          stores.map((each, at) => {
            const order = at % 2 === 0 ? trades : [...trades].reverse()
            return each.recordTrades(intake(given(...order)), NOW)
          }),
        )
        const accepted = results.flatMap(result => [...result.acceptedIds])
        expect(accepted.sort()).toEqual(trades.map(trade => trade.id).sort())
        expect(results.flatMap(result => result.duplicates)).toHaveLength(150)
        expect(await under.queue()).toHaveLength(50)
      })

      test('two processes that bring one id with different content: one is taken, the other told', async () => {
        for (let round = 0; round < 10; round++) {
          const trade = makeTrade()
          const results = await Promise.all([
            store.recordTrades(intake(given(trade)), NOW),
            under.another().recordTrades(intake(given({ ...trade, price: 1n })), NOW),
          ])
          expect(results.filter(result => result.acceptedIds.size === 1)).toHaveLength(1)
          expect(results.filter(result => result.reusedIds.length === 1)).toHaveLength(1)
        }
      })
    })

    describe('claiming', () => {
      test('what is due is taken, the oldest first, and nothing that is not due', async () => {
        const trades = [makeTrade(), makeTrade(), makeTrade(), makeTrade()]
        for (const [at, trade] of trades.entries()) await store.recordTrades(intake(given(trade)), NOW + 10 - at)
        const [newest, third, second, oldest] = trades.map(trade => trade.id)
        expect(await claimIds(ONE, 1, NOW + 9)).toEqual([oldest])
        expect(new Set(await claimIds(ONE, 2, NOW + 9))).toEqual(new Set([second, third]))
        expect(await claimIds(ONE, 2, NOW + 9)).toEqual([])
        expect(await claimIds(ONE, 2, NOW + 10)).toEqual([newest])
      })

      test('what is claimed comes with its trade, how it is settled, and what is stored of it', async () => {
        const trade = makeTrade()
        await store.recordTrades(intake(given(trade), { rail: 'atomic', legOrder: 'debits-first' }), NOW)
        const fresh = { trade, rail: 'atomic', legOrder: 'debits-first', recordedAtMs: NOW, resumed: false }
        expect(await store.claim(leaseOf(ONE), 10, NOW)).toEqual([
          { ...fresh, settlement: null, token: 1, leaseUntilMs: NOW + 30_000 },
        ])
        const settlement: Settlement = newSettlement(PLAN, 3)
        await store.record(ONE, [recordOf(trade.id, 1, { ...waitUntil(NOW + 1000), settlement })])
        expect(await store.claim(leaseOf(TWO, NOW + 40_000), 10, NOW + 1000)).toEqual([
          { ...fresh, settlement, token: 2, leaseUntilMs: NOW + 40_000 },
        ])
      })

      test('S-6 many processes at once never claim the same settlement twice, and leave none', async () => {
        const trades = Array.from({ length: 200 }, () => makeTrade())
        await recorded(...trades)
        const stores = Array.from({ length: 5 }, () => under.another())
        const claimed = await Promise.all(
          stores.map(async (each, at) => {
            const ids: string[] = []
            for (let round = 0; round < 30; round++) {
              const owner = `00000000-0000-4000-a000-00000000001${at}`
              ids.push(...(await each.claim(leaseOf(owner), 13, NOW)).map(one => one.trade.id))
            }
            return ids
          }),
        )
        expect(claimed.flat().sort()).toEqual(trades.map(trade => trade.id).sort())
      })

      test('a lease that ran out is taken over as resumed, with a higher fencing number', async () => {
        const trade = makeTrade()
        await recorded(trade)
        await store.claim(leaseOf(ONE, NOW + 50), 10, NOW)
        expect(await claimIds(TWO, 10, NOW + 49)).toEqual([])
        const [taken] = await store.claim(leaseOf(TWO), 10, NOW + 50)
        expect(taken).toMatchObject({ token: 2, resumed: true })
      })

      test('F-6 leases that are ended by somebody who knows that nobody works are taken over as resumed', async () => {
        const [held, waiting, failed] = [makeTrade(), makeTrade(), makeTrade()]
        await store.recordTrades(intake(given(held, failed), { lease: leaseOf(ONE) }), NOW)
        await recorded(waiting)
        await store.record(ONE, [recordOf(failed.id, 1, FAILED)])
        expect(await store.expireLeases(NOW + 3)).toBe(1)
        const claimed = await store.claim(leaseOf(TWO), 10, NOW + 3)
        expect(new Map(claimed.map(each => [each.trade.id, each.resumed]))).toEqual(
          new Map([
            [held.id, true],
            [waiting.id, false],
          ]),
        )
        expect(await store.record(ONE, [recordOf(held.id, 1)])).toEqual([false])
      })
    })

    describe('leases', () => {
      test('a lease is renewed for who holds it, and only for what is still held', async () => {
        const [kept, lost, done] = [makeTrade(), makeTrade(), makeTrade()]
        await store.recordTrades(intake(given(kept, lost, done), { lease: leaseOf(ONE, NOW + 10) }), NOW)
        await store.record(ONE, [recordOf(done.id, 1)])
        const held = [kept, lost, done].map(trade => ({ tradeId: trade.id, token: trade === lost ? 0 : 1 }))
        expect(await store.renew(leaseOf(ONE, NOW + 99), held)).toEqual(new Set([kept.id]))
        expect(await store.renew(leaseOf(TWO, NOW + 99), held)).toEqual(new Set())
        expect((await entryOf(kept.id))?.dueAtMs).toBe(NOW + 99)
        expect((await entryOf(lost.id))?.dueAtMs).toBe(NOW + 10)
      })

      test('what is given back is due at once, for anybody, and as if it had never been claimed', async () => {
        const [back, kept] = [makeTrade(), makeTrade()]
        await store.recordTrades(intake(given(back, kept), { lease: leaseOf(ONE) }), NOW)
        await store.release(
          ONE,
          [
            { tradeId: back.id, token: 1 },
            { tradeId: kept.id, token: 0 },
          ],
          NOW + 1,
        )
        await store.release(TWO, [{ tradeId: kept.id, token: 1 }], NOW + 1)
        const claimed = await store.claim(leaseOf(TWO), 10, NOW + 1)
        expect(claimed.map(({ trade, token, resumed }) => [trade.id, token, resumed])).toEqual([[back.id, 2, false]])
      })

      test('nothing at all is renewed and given back without complaint', async () => {
        expect(await store.renew(leaseOf(ONE), [])).toEqual(new Set())
        await store.release(ONE, [], NOW)
      })

      test('the time of the earliest work is known, leased or not; none where nothing will happen', async () => {
        expect(await store.nextDueMs()).toBeNull()
        const [failed, waiting, held] = [makeTrade(), makeTrade(), makeTrade()]
        await store.recordTrades(intake(given(failed, waiting, held), { lease: leaseOf(ONE) }), NOW)
        await store.record(ONE, [recordOf(failed.id, 1, FAILED)])
        expect(await store.nextDueMs()).toBe(NOW + 30_000)
        await store.record(ONE, [recordOf(waiting.id, 1, waitUntil(NOW + 1000))])
        expect(await store.nextDueMs()).toBe(NOW + 1000)
      })
    })

    describe('records', () => {
      test('the good end leaves the queue; status and time stay', async () => {
        const trade = makeTrade()
        await store.recordTrades(intake(given(trade), { lease: leaseOf(ONE) }), NOW)
        expect(await store.record(ONE, [recordOf(trade.id, 1)])).toEqual([true])
        expect(await store.trade(trade.id)).toMatchObject({ status: 'SETTLED', settledAtMs: NOW + 5, settlement: null })
        expect(await under.queue()).toEqual([])
        expect(await store.record(ONE, [recordOf(trade.id, 1)])).toEqual([false])
      })

      test('trap 6: a record under a stale fencing number changes nothing and is told so, row by row', async () => {
        const [plain, other, stalePlain, staleOther, foreign] = Array.from({ length: 5 }, () => makeTrade())
        const all = [plain, other, stalePlain, staleOther, foreign] as Trade[]
        await store.recordTrades(intake(given(...all), { lease: leaseOf(ONE, NOW) }), NOW)
        await claimIds(ONE)
        await store.record(ONE, [recordOf(foreign?.id ?? '', 2, waitUntil(NOW))])
        await claimIds(TWO)
        const before = await under.queue()
        const results = await store.record(ONE, [
          recordOf(stalePlain?.id ?? '', 1),
          recordOf(plain?.id ?? '', 2),
          recordOf(staleOther?.id ?? '', 1, FAILED),
          recordOf(other?.id ?? '', 2, FAILED),
          recordOf(foreign?.id ?? '', 3),
          recordOf(ONE, 1),
        ])
        expect(results).toEqual([false, true, false, true, false, false])
        for (const trade of [stalePlain, staleOther, foreign]) {
          expect(await store.trade(trade?.id ?? '')).toMatchObject({ status: 'PENDING' })
          expect(await entryOf(trade?.id ?? '')).toEqual(before.find(entry => entry.tradeId === trade?.id))
        }
        expect((await under.letters()).map(letter => letter.tradeId)).toEqual([other?.id])
      })

      test.each([
        ['the good end', {}],
        ['a failure', FAILED],
      ])(
        '%s of a process that took its own expired lease over is stored once, beside the stale one',
        async (_, end) => {
          const trade = makeTrade()
          await store.recordTrades(intake(given(trade), { lease: leaseOf(ONE, NOW) }), NOW)
          await claimIds(ONE)
          const stale = recordOf(trade.id, 1, { ...waitUntil(NOW + 77), failureReason: 'stale' })
          expect(await store.record(ONE, [stale, recordOf(trade.id, 2, end), recordOf(trade.id, 1)])).toEqual([
            false,
            true,
            false,
          ])
          const { status, failureReason } = recordOf(trade.id, 2, end)
          expect(await store.trade(trade.id)).toMatchObject({ status, failureReason })
        },
      )

      test('a record that keeps the lease stores the state and leaves the lease as it stands', async () => {
        const trade = makeTrade()
        await store.recordTrades(intake(given(trade), { lease: leaseOf(ONE) }), NOW)
        await store.renew(leaseOf(ONE, NOW + 44_000), [{ tradeId: trade.id, token: 1 }])
        const settlement: Settlement = { ...newSettlement(PLAN), phase: 'backward', rollback: 'running' }
        const turn = { ...waitUntil(NOW + 1), settlement, keepsLease: true, failureReason: 'X' }
        expect(await store.record(ONE, [recordOf(trade.id, 1, turn)])).toEqual([true])
        expect(await store.trade(trade.id)).toMatchObject({ settlement, failureReason: 'X', retryCount: 1 })
        expect(await entryOf(trade.id)).toEqual({ tradeId: trade.id, dueAtMs: NOW + 44_000, owner: ONE, token: 1 })
        expect(await store.record(ONE, [recordOf(trade.id, 1)])).toEqual([true])
      })

      test('S-6 a wait is a time in the store: the lease is given back until then', async () => {
        const trade = makeTrade()
        await store.recordTrades(intake(given(trade), { lease: leaseOf(ONE) }), NOW)
        await store.record(ONE, [recordOf(trade.id, 1, waitUntil(NOW + 4000))])
        expect(await entryOf(trade.id)).toEqual({ tradeId: trade.id, dueAtMs: NOW + 4000, owner: null, token: 1 })
        expect(await claimIds(TWO, 10, NOW + 3999)).toEqual([])
        const [again] = await store.claim(leaseOf(TWO), 10, NOW + 4000)
        expect(again).toMatchObject({ resumed: false, token: 2 })
      })

      test('a failure stays in the queue without a time, so that it can be put back', async () => {
        const trade = makeTrade()
        await store.recordTrades(intake(given(trade), { lease: leaseOf(ONE) }), NOW)
        await store.record(ONE, [recordOf(trade.id, 1, FAILED)])
        expect(await store.trade(trade.id)).toMatchObject({
          status: 'SETTLEMENT_FAILED',
          settledAtMs: null,
          failureReason: LETTER.lastError,
        })
        expect(await entryOf(trade.id)).toEqual({ tradeId: trade.id, dueAtMs: null, owner: null, token: 1 })
        expect(await claimIds(TWO, 10, NOW + 1e9)).toEqual([])
      })

      test('W-5 a settled trade whose fee is owed stays in the queue; its time of settlement stays the first', async () => {
        const [plain, other] = [makeTrade(), makeTrade()]
        await store.recordTrades(intake(given(plain, other), { lease: leaseOf(ONE) }), NOW)
        const settlement: Settlement = { ...newSettlement(PLAN), phase: 'settled', fee: 'owed' }
        const owed = { settlement, dueAtMs: NOW + 1000, isEnded: false }
        await store.record(ONE, [recordOf(plain.id, 1, owed), recordOf(other.id, 1, owed)])
        expect(await store.trade(plain.id)).toMatchObject({ status: 'SETTLED', settledAtMs: NOW + 5, settlement })
        expect(await claimIds(ONE, 10, NOW + 1000)).toHaveLength(2)
        const atMs = NOW + 1010
        await store.record(ONE, [recordOf(plain.id, 2, { atMs }), recordOf(other.id, 2, { atMs, letter: 'close' })])
        for (const { id } of [plain, other]) {
          expect(await store.trade(id)).toMatchObject({ status: 'SETTLED', settledAtMs: NOW + 5, settlement: null })
        }
        expect(await under.queue()).toEqual([])
      })

      test('final is final: what is settled can’t be made anything else', async () => {
        const [trade, other] = [makeTrade(), makeTrade()]
        await store.recordTrades(intake(given(trade, other), { lease: leaseOf(ONE) }), NOW)
        const owed = { settlement: newSettlement(PLAN), dueAtMs: NOW, isEnded: false }
        await store.record(ONE, [recordOf(trade.id, 1, owed)])
        await claimIds(ONE)
        await expect(store.record(ONE, [recordOf(trade.id, 2, FAILED)])).rejects.toThrow('is SETTLED, and stays so')
        expect(await store.trade(trade.id)).toMatchObject({ status: 'SETTLED', settledAtMs: NOW + 5 })
        expect(await under.letters()).toEqual([])
      })
    })

    describe('dead letters', () => {
      async function failTwice(second: Partial<SettlementRecord>): Promise<string> {
        const trade = makeTrade()
        await store.recordTrades(intake(given(trade), { lease: leaseOf(ONE) }), NOW)
        const parked = { ...FAILED, dueAtMs: NOW + 1000, letter: { ...LETTER, rollback: 'incomplete' as const } }
        await store.record(ONE, [recordOf(trade.id, 1, parked)])
        await claimIds(ONE, 10, NOW + 1000)
        await store.record(ONE, [recordOf(trade.id, 2, { atMs: NOW + 1010, ...second })])
        return trade.id
      }

      test('F-4 a letter is opened with the failure, and brought up to date by what comes after', async () => {
        const trade = makeTrade()
        await store.recordTrades(intake(given(trade), { lease: leaseOf(ONE) }), NOW)
        await store.record(ONE, [recordOf(trade.id, 1, FAILED)])
        const times = { firstFailedAtMs: NOW + 5, lastFailedAtMs: NOW + 5, resolvedAtMs: null }
        expect(await letterOf(trade.id)).toEqual({ tradeId: trade.id, ...LETTER, status: 'open', ...times })

        const after: Letter = { ...LETTER, code: 'TIMEOUT', lastError: 'later', attempts: 4, rollback: 'complete' }
        const id = await failTwice({ ...FAILED, letter: after })
        const later = { firstFailedAtMs: NOW + 5, lastFailedAtMs: NOW + 1010, resolvedAtMs: null }
        expect(await letterOf(id)).toEqual({ tradeId: id, ...after, status: 'open', ...later })
      })

      test('F-4 a letter is closed when a retry has gone well', async () => {
        const id = await failTwice({ letter: 'close' })
        expect(await letterOf(id)).toMatchObject({ status: 'resolved', resolvedAtMs: NOW + 1010, code: LETTER.code })
        expect(await store.trade(id)).toMatchObject({ status: 'SETTLED' })
      })

      test('closing what was never open is nothing', async () => {
        const trade = makeTrade()
        await store.recordTrades(intake(given(trade), { lease: leaseOf(ONE) }), NOW)
        expect(await store.record(ONE, [recordOf(trade.id, 1, { letter: 'close' })])).toEqual([true])
        expect(await under.letters()).toEqual([])
      })

      test('a fee letter takes the place of one that was resolved, as a new one', async () => {
        const settlement: Settlement = { ...newSettlement(PLAN), phase: 'settled', fee: 'owed' }
        const owed = { settlement, dueAtMs: NOW + 2000, isEnded: false, letter: 'close' } as const
        const id = await failTwice(owed)
        await claimIds(ONE, 10, NOW + 2000)
        const letter: Letter = { ...LETTER, kind: 'fee', rollback: 'not_needed' }
        const parked = { settlement, dueAtMs: null, isEnded: false, letter, atMs: NOW + 2010 }
        await store.record(ONE, [recordOf(id, 3, parked)])
        const times = { firstFailedAtMs: NOW + 2010, lastFailedAtMs: NOW + 2010, resolvedAtMs: null }
        expect(await letterOf(id)).toEqual({ tradeId: id, ...letter, status: 'open', ...times })
      })

      test('W-5 a fee letter takes the place of one that was not resolved, as a new one', async () => {
        const settlement: Settlement = { ...newSettlement(PLAN), phase: 'settled', fee: 'parked' }
        const letter: Letter = { ...LETTER, kind: 'fee', rollback: 'not_needed' }
        const id = await failTwice({ settlement, dueAtMs: null, isEnded: false, letter })
        const times = { firstFailedAtMs: NOW + 1010, lastFailedAtMs: NOW + 1010, resolvedAtMs: null }
        expect(await letterOf(id)).toEqual({ tradeId: id, ...letter, status: 'open', ...times })
      })

      test('W-5 a fee letter is closed when the fee is collected, not while it is owed', async () => {
        const settlement: Settlement = { ...newSettlement(PLAN), phase: 'settled', fee: 'owed' }
        const letter: Letter = { ...LETTER, kind: 'fee', rollback: 'not_needed' }
        const id = await failTwice({ settlement, dueAtMs: NOW + 2000, isEnded: false, letter })
        await claimIds(ONE, 10, NOW + 2000)
        const owed = { settlement, dueAtMs: NOW + 3000, isEnded: false, letter: 'close' } as const
        await store.record(ONE, [recordOf(id, 3, owed)])
        expect(await letterOf(id)).toMatchObject({ status: 'open' })
        await claimIds(ONE, 10, NOW + 3000)
        await store.record(ONE, [recordOf(id, 4, { letter: 'close' })])
        expect(await letterOf(id)).toMatchObject({ status: 'resolved' })
      })
    })

    describe('reading', () => {
      const nothing = { statuses: [], symbols: [], userIds: [], before: null, limit: 100 }
      const other = (change: Parameters<typeof makeTrade>[0]) => makeTrade({ sellerUserId: ONE, ...change })

      test('statuses are told of the ids that are known', async () => {
        const [settled, waiting] = [makeTrade(), makeTrade()]
        await store.recordTrades(intake(given(settled, waiting), { lease: leaseOf(ONE) }), NOW)
        await store.record(ONE, [recordOf(settled.id, 1)])
        expect(await store.statuses([settled.id, waiting.id, ONE])).toEqual(
          new Map([
            [settled.id, 'SETTLED'],
            [waiting.id, 'PENDING'],
          ]),
        )
        expect(await store.trade(ONE)).toBeNull()
      })

      test('trades are listed newest first, filtered by any of the values asked for', async () => {
        const [mine, theirs, both] = [other({ buyerUserId: TWO }), makeTrade(), other({})]
        await store.recordTrades(intake(given(mine), { lease: leaseOf(ONE) }), NOW)
        await store.recordTrades(intake(given(theirs), { lease: leaseOf(ONE) }), NOW + 1)
        await store.recordTrades(intake(given(both), { lease: leaseOf(ONE) }), NOW + 2)
        await store.record(ONE, [recordOf(mine.id, 1), recordOf(theirs.id, 1, FAILED)])
        const ids = async (query: object) =>
          (await store.trades({ ...nothing, ...query })).map(({ trade }) =>
            trade === undefined ? '' : [mine, theirs, both].findIndex(each => each.id === trade.id),
          )
        expect(await ids({})).toEqual([2, 1, 0])
        expect(await ids({ limit: 2 })).toEqual([2, 1])
        expect(await ids({ statuses: ['SETTLED'] })).toEqual([0])
        expect(await ids({ statuses: ['PENDING', 'SETTLEMENT_FAILED'] })).toEqual([2, 1])
        expect(await ids({ statuses: ['SETTLED', 'SETTLEMENT_FAILED'] })).toEqual([1, 0])
        expect(await ids({ userIds: [ONE] })).toEqual([2, 0])
        expect(await ids({ userIds: [BUYER] })).toEqual([2, 1])
        expect(await ids({ userIds: [TWO, SELLER] })).toEqual([1, 0])
        expect(await ids({ userIds: [ONE], statuses: ['PENDING'] })).toEqual([2])
        expect(await ids({ symbols: [BTC_USDT.symbol] })).toEqual([2, 1, 0])
        expect(await ids({ symbols: ['ETH/USDT'] })).toEqual([])
      })

      test('page follows page without a gap or a repetition, also within one moment', async () => {
        const trades = Array.from({ length: 25 }, () => makeTrade())
        for (let at = 0; at < 25; at += 5) {
          await store.recordTrades(intake(given(...trades.slice(at, at + 5))), NOW + Math.floor(at / 10))
        }
        const seen: string[] = []
        let before: { recordedAtMs: number; id: string } | null = null
        for (;;) {
          const page = await store.trades({ ...nothing, before, limit: 4 })
          if (page.length === 0) break
          seen.push(...page.map(each => each.trade.id))
          const last = page.at(-1)
          before = last === undefined ? null : { recordedAtMs: last.recordedAtMs, id: last.trade.id }
        }
        const whole = await store.trades(nothing)
        expect(seen).toEqual(whole.map(each => each.trade.id))
        expect(new Set(seen).size).toBe(25)
      })
    })
  })
}

const OWNERS = [ONE, TWO]

const TAKE = fc.record({
  kind: fc.constant('take' as const),
  ids: fc.array(fc.nat(5), { minLength: 1, maxLength: 4 }),
  price: fc.integer({ min: 0, max: 9 }).map(at => (at === 0 ? 1_000_000_000_000n : 5_000_000_000_000n)),
  isTimeGiven: fc.boolean(),
  lease: fc.option(fc.nat(1)),
})

const RECORD = fc.record({
  kind: fc.constant('record' as const),
  ends: fc.uniqueArray(
    fc.record({
      id: fc.nat(5),
      // Most often what is held is recorded, now and then something stale.
      isStale: fc.integer({ min: 0, max: 5 }).map(at => at === 0),
      end: fc.constantFrom('plain', 'wait', 'save', 'owed', 'owedStill', 'feeParked', 'failed', 'parked', 'closed'),
    }),
    { selector: ({ id }) => id, minLength: 1, maxLength: 4 },
  ),
})

const OPERATION = fc.oneof(
  { weight: 2, arbitrary: TAKE },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('claim' as const),
      owner: fc.nat(1),
      limit: fc.integer({ min: 1, max: 6 }),
    }),
  },
  { weight: 4, arbitrary: RECORD },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('renew' as const), owner: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), owner: fc.nat(1), id: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 1500, 40_000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('expire' as const) }) },
)

type Operation = typeof OPERATION extends fc.Arbitrary<infer Value> ? Value : never

/** Any sequence of calls gets the same answers and leaves the same data in both stores; `reference` is the model. */
export function storesAgree(name: string, make: MakeStore, makeReference: MakeStore): void {
  test(`${name} answers any calls as the reference model does`, { timeout: 120_000 }, async () => {
    const property = fc.asyncProperty(fc.array(OPERATION, { minLength: 20, maxLength: 60 }), async operations => {
      const [one, reference] = [await make(), await makeReference()]
      const trades = Array.from({ length: 6 }, () => makeTrade())
      let nowMs = NOW
      for (const operation of operations) {
        nowMs += operation.kind === 'pass' ? operation.ms : 1
        const before = await reference.queue()
        const run = (under: StoreUnderTest) => perform(under.store, operation, trades, before, nowMs)
        expect(await run(one)).toEqual(await run(reference))
      }
      expect(await stateOf(one, trades)).toEqual(await stateOf(reference, trades))
    })
    await fc.assert(property, { numRuns: 80, seed: 20261124 })
  })
}

async function perform(
  store: Store,
  operation: Operation,
  trades: readonly Trade[],
  before: readonly QueueEntry[],
  nowMs: number,
): Promise<unknown> {
  const lease = (owner: number) => ({ owner: OWNERS[owner] ?? '', untilMs: nowMs + 30_000 })
  const idOf = (at: number): string => trades[at]?.id ?? ''
  const tokenOf = (id: string): number => before.find(entry => entry.tradeId === id)?.token ?? 1
  const byId = <Item extends { id: string }>(items: readonly Item[]) => items.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  switch (operation.kind) {
    case 'take': {
      const { ids, price, isTimeGiven } = operation
      const taken = ids.map(at => ({ trade: { ...(trades[at] as Trade), price }, isTimeGiven }))
      const held = operation.lease === null ? null : lease(operation.lease)
      const result = await store.recordTrades(intake(taken, { lease: held }), nowMs)
      return { ...result, duplicates: byId(result.duplicates), reusedIds: result.reusedIds.toSorted() }
    }
    case 'claim': {
      const limit = withoutSplit(before, operation.limit, nowMs)
      const claimed = await store.claim(lease(operation.owner), limit, nowMs)
      return byId(claimed.map(each => ({ id: each.trade.id, ...each })))
    }
    case 'record': {
      const records = operation.ends.map(({ id: at, isStale, end }) => {
        const id = idOf(at)
        return recordOf(id, tokenOf(id) - (isStale ? 1 : 0), { atMs: nowMs, ...ENDS[end](nowMs) })
      })
      const owner = before.find(entry => entry.tradeId === records[0]?.tradeId)?.owner ?? ONE
      return await store.record(owner, records).catch((error: Error) => error.message)
    }
    case 'renew': {
      const held = before.map(({ tradeId, token }) => ({ tradeId, token }))
      return await store.renew(lease(operation.owner), held)
    }
    case 'release': {
      const tradeId = idOf(operation.id)
      return await store.release(OWNERS[operation.owner] ?? '', [{ tradeId, token: tokenOf(tradeId) }], nowMs)
    }
    case 'pass':
      return await store.nextDueMs()
    case 'expire':
      return await store.expireLeases(nowMs)
  }
}

const OWED: Settlement = { ...newSettlement(PLAN), phase: 'settled', fee: 'owed' }
const FEE_PARKED: Settlement = { ...newSettlement(PLAN), phase: 'settled', fee: 'parked' }

const ENDS = {
  plain: () => ({}),
  wait: (nowMs: number) => waitUntil(nowMs + 1000),
  save: (nowMs: number) => ({ ...waitUntil(nowMs), keepsLease: true }),
  owed: (nowMs: number) => ({ settlement: OWED, dueAtMs: nowMs + 1000, isEnded: false, retryCount: 2 }),
  owedStill: (nowMs: number) => ({ settlement: OWED, dueAtMs: nowMs + 1000, isEnded: false, letter: 'close' }),
  feeParked: () => ({ settlement: FEE_PARKED, isEnded: false, letter: { ...LETTER, kind: 'fee' } }),
  failed: () => FAILED,
  parked: (nowMs: number) => ({ ...FAILED, dueAtMs: nowMs + 60_000, letter: { ...LETTER, rollback: 'incomplete' } }),
  closed: () => ({ letter: 'close' }),
} satisfies Readonly<Record<string, (nowMs: number) => Partial<SettlementRecord>>>

/** Which of those that are due at the same moment are taken is nobody's promise: all of them are, or none. */
function withoutSplit(queue: readonly QueueEntry[], limit: number, nowMs: number): number {
  const due = queue
    .flatMap(({ dueAtMs }) => (dueAtMs === null || dueAtMs > nowMs ? [] : [dueAtMs]))
    .sort((a, b) => a - b)
  let whole = limit
  while (whole < due.length && due[whole] === due[whole - 1]) whole++
  return whole
}

async function stateOf(under: StoreUnderTest, trades: readonly Trade[]): Promise<unknown> {
  const byTrade = <Item extends { tradeId: string }>(items: readonly Item[]) =>
    items.toSorted((a, b) => (a.tradeId < b.tradeId ? -1 : 1))
  return {
    trades: await Promise.all(trades.map(trade => under.store.trade(trade.id))),
    list: await under.store.trades({ statuses: [], symbols: [], userIds: [], before: null, limit: 100 }),
    open: await under.store.trades({ statuses: ['PENDING'], symbols: [], userIds: [], before: null, limit: 100 }),
    letters: byTrade(await under.letters()),
    queue: byTrade(await under.queue()),
  }
}
