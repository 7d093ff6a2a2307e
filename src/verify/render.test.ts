import { expect, test } from 'vitest'
import { renderReport } from './render.ts'
import type { VerifyReport } from './verify.ts'

const SOUND: VerifyReport = {
  trades: 12,
  settled: 10,
  failed: 1,
  pending: 1,
  conserved: true,
  breaks: 0,
  examples: [],
  totals: [
    { currency: 'BTC', deposits: '20', withdrawals: '0', balances: '19.5', fees: '0', clearing: '0.5' },
    { currency: 'USDT', deposits: '1000000', withdrawals: '25.5', balances: '999974.5', fees: '-7', clearing: '0' },
  ],
}

test('sound books are counts, an aligned table and one sentence', () => {
  expect(renderReport(SOUND)).toBe(`12 trades: 10 settled, 1 failed, 1 pending

currency  deposits  withdrawals  balances  fees  clearing
BTC             20            0      19.5     0       0.5
USDT       1000000         25.5  999974.5    -7         0

Money is conserved.

No breaks: every leg that should exist does, once.
`)
})

test('breaks stand under what their kind means, each with what it is about', () => {
  const detail = 'it should be 1, but is 2'
  const text = renderReport({
    ...SOUND,
    conserved: false,
    breaks: 250,
    totals: [],
    examples: [
      { kind: 'clearing', currency: 'BTC', detail },
      { kind: 'leg-missing', tradeId: 't1', account: 'u1', currency: 'BTC', key: 't1:0:fee', detail },
      { kind: 'leg-missing', tradeId: 't2', account: 'u2', detail },
    ],
  })
  expect(text).toBe(`12 trades: 10 settled, 1 failed, 1 pending

MONEY IS NOT CONSERVED.

250 breaks, the first 3 of which are:

clearing: More or less is half done than the settlements say. The breaks of legs name the trades.
  BTC
    it should be 1, but is 2

leg-missing: If the trade was settled on a wallet elsewhere, name that with --wallet-url. Else who should have had the money has not got it. A settled trade stays so: correct it by a new settlement.
  trade t1, account u1 BTC, key t1:0:fee
    it should be 1, but is 2
  trade t2, account u2
    it should be 1, but is 2
`)
})

test('of a wallet elsewhere nothing is said', () => {
  const text = renderReport({ ...SOUND, conserved: null, totals: [] })
  expect(text).toBe(`12 trades: 10 settled, 1 failed, 1 pending

The wallet is elsewhere: what it has done is not checked.

No breaks.
`)
})
