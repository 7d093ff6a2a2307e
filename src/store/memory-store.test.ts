import { expect, test } from 'vitest'
import { type StoreUnderTest, storeSuite } from '../../test/suites/store.ts'
import { makeTrade } from '../../test/support/trades.ts'
import { newSettlement } from '../core/settlement.ts'
import { createMemoryStore } from './memory-store.ts'

async function memoryStore(): Promise<StoreUnderTest> {
  const store = createMemoryStore()
  return { store, another: () => store, letters: async () => store.letters(), queue: async () => store.queue() }
}

storeSuite('the store in memory', memoryStore)

test("F-4 what an operator's retry leaves behind is due at once, and its letter says so", async () => {
  const store = createMemoryStore()
  const trade = makeTrade()
  const owner = '00000000-0000-4000-a000-000000000001'
  const lease = { owner, untilMs: 9 }
  const trades = [{ trade, isTimeGiven: true }]
  await store.recordTrades({ trades, rail: 'saga', legOrder: 'buyer-first', lease }, 1)
  const settlement = newSettlement({ rail: 'saga', steps: [], undo: 'reversal', repeatable: true })
  const state = { settlement, retryCount: 0, failureReason: 'X', status: 'SETTLEMENT_FAILED' } as const
  const letter = { kind: 'settlement', code: 'X', lastError: 'X', attempts: 1, rollback: 'complete' } as const
  const rest = { dueAtMs: null, keepsLease: false, isEnded: false, letter }
  await store.record(owner, [{ tradeId: trade.id, token: 1, atMs: 2, ...state, ...rest }])
  store.requeue(trade.id, { ...settlement, epoch: 1 }, 3)
  expect(store.letters()).toMatchObject([{ status: 'retrying' }])
  expect(await store.claim({ owner, untilMs: 99 }, 10, 3)).toMatchObject([
    { token: 2, resumed: false, settlement: { epoch: 1 } },
  ])
  expect(await store.trade(trade.id)).toMatchObject({ status: 'PENDING' })
})
