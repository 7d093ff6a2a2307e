import { expect, test } from 'vitest'
import { ASSETS, BTC_USDT, makeTrade } from '../../test/support/trades.ts'
import { type Answer, type Event, newSettlement, next } from '../core/settlement.ts'
import { planOf } from '../worker/plan.ts'
import { viewTradeDetail } from './trade-view.ts'

const POLICY = {
  retryMaxAttempts: 3,
  retryBackoffMs: 1000,
  retryMaxBackoffMs: 30_000,
  retryJitter: 0,
  undoMaxAttempts: 10,
  undoBackoffMs: 1000,
  undoSlowRetryMs: 60_000,
}
const said = { code: 'TIMEOUT', detail: 'no answer came' }
const REFUSED: Answer = { outcome: 'refused', code: 'INSUFFICIENT_BALANCE', detail: 'not enough' }
const LOST: Answer = { outcome: 'unanswered', ...said, reached: true, retryAfterMs: null }

test('a leg whose undo got no answer, and may not be repeated, is not shown as applied', () => {
  const trade = makeTrade()
  const { plan } = planOf(trade, 'saga', 'buyer-first', { level: 'basic', idempotent: false })
  const answer = (call: 'apply' | 'undo', step: number, what: Answer): Event => ({
    ...{ type: 'answer', call, step, answer: what, random: 0.5 },
  })
  const events: readonly Event[] = [
    { type: 'begin', resumed: false },
    answer('apply', 0, { outcome: 'applied' }),
    answer('apply', 1, REFUSED),
    answer('undo', 0, LOST),
  ]
  const settlement = events.reduce((now, event) => next(now, event, 0, plan, POLICY).settlement, newSettlement(plan))
  const instruments = { assets: ASSETS, markets: new Map([[BTC_USDT.symbol, BTC_USDT]]) }
  const stored = { trade, rail: 'saga', legOrder: 'buyer-first', status: 'SETTLEMENT_FAILED', settlement } as const
  const view = viewTradeDetail(
    { ...stored, settledAtMs: null, retryCount: 0, failureReason: null, recordedAtMs: 0 },
    instruments,
  )
  expect(view.rollback).toBe('incomplete')
  expect(view.legs.map(leg => [leg.leg, leg.state, leg.last_error])).toEqual([
    ['buyer-debit', 'unanswered', 'TIMEOUT: no answer came'],
    ['buyer-credit', 'refused', 'INSUFFICIENT_BALANCE: not enough'],
    ['seller-debit', 'waiting', null],
    ['seller-credit', 'waiting', null],
    ['fee', 'waiting', null],
  ])
})
