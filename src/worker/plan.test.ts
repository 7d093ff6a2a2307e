import { describe, expect, test } from 'vitest'
import { BUYER, makeTrade } from '../../test/support/trades.ts'
import { newSettlement } from '../core/settlement.ts'
import type { WalletLevel } from '../wallet/wallet.ts'
import { operationOf, oppositeOf, planOf, railFor, settlementCallOf } from './plan.ts'

const LEVELS: readonly WalletLevel[] = ['basic', 'reversals', 'batch', 'settlements']
const LEGS = ['buyer-debit', 'buyer-credit', 'seller-debit', 'seller-credit', 'fee']

describe('W-7 the rail', () => {
  test.each(LEVELS)('auto takes the best a wallet of level %s has', level => {
    expect(railFor('auto', { level, idempotent: true })).toBe(level === 'settlements' ? 'atomic' : 'saga')
    expect(railFor('auto', { level, idempotent: false })).toBe('saga')
  })

  test.each(LEVELS)('what is asked for is used, unless a wallet of level %s can’t', level => {
    expect(railFor('saga', { level, idempotent: true })).toBe('saga')
    expect(railFor('atomic', { level, idempotent: true })).toBe(level === 'settlements' ? 'atomic' : null)
    expect(railFor('atomic', { level, idempotent: false })).toBeNull()
  })
})

describe('the plan', () => {
  test.each(LEVELS)('at level %s a saga undoes by what the wallet has', level => {
    const { plan, legs } = planOf(makeTrade(), 'saga', 'buyer-first', { level, idempotent: true })
    const undo = level === 'basic' ? 'opposite' : 'reversal'
    expect(plan).toEqual({ rail: 'saga', steps: LEGS, undo, repeatable: true })
    expect(legs.map(leg => leg.name)).toEqual(LEGS)
  })

  test('a wallet that forgets keys is never asked to take back by key, nor a call made twice', () => {
    const { plan } = planOf(makeTrade(), 'saga', 'debits-first', { level: 'settlements', idempotent: false })
    expect(plan).toMatchObject({ undo: 'opposite', repeatable: false })
  })

  test('on the atomic rail there is one step, and none where nothing moves', () => {
    const traits = { level: 'settlements', idempotent: true } as const
    expect(planOf(makeTrade(), 'atomic', 'buyer-first', traits).plan.steps).toEqual(['settlement'])
    const nothing = makeTrade({ sellerUserId: BUYER, buyerFee: '1', sellerFee: '-1' })
    expect(planOf(nothing, 'atomic', 'buyer-first', traits)).toMatchObject({ plan: { steps: [] }, legs: [] })
  })
})

describe('trap 2: keys are derived, and the same in every process', () => {
  const trade = makeTrade()
  const { plan, legs } = planOf(trade, 'saga', 'buyer-first', { level: 'basic', idempotent: true })
  const [debit] = legs
  const fee = legs.at(-1)
  if (debit === undefined || fee === undefined) throw new Error('no legs')
  const later = { ...newSettlement(plan, 2), feeEpoch: 5 }

  test('a leg by trade, epoch and name; the fee by an epoch of its own', () => {
    expect(operationOf(trade, debit, newSettlement(plan)).key).toBe(`${trade.id}:0:buyer-debit`)
    expect(operationOf(trade, debit, later).key).toBe(`${trade.id}:2:buyer-debit`)
    expect(operationOf(trade, fee, later).key).toBe(`${trade.id}:5:fee`)
  })

  test('an opposite moves the same amount back, under a key of its own, as a rollback', () => {
    const { key, ...undo } = oppositeOf(trade, debit, later)
    expect(key).toBe(`${trade.id}:2:buyer-debit:undo`)
    expect(undo).toEqual({
      tradeId: trade.id,
      type: 'credit',
      userId: debit.userId,
      currency: debit.currency,
      amount: debit.amount,
      reason: 'SETTLEMENT_ROLLBACK',
    })
  })

  test('the whole settlement by trade and epoch, with all its legs', () => {
    const call = settlementCallOf(trade, legs, later)
    expect(call.key).toBe(`${trade.id}:2`)
    expect(call.legs.map(leg => leg.reason)).toEqual([...Array(4).fill('TRADE_SETTLEMENT'), 'FEE_COLLECTION'])
  })

  test('the longest key fits what a wallet must take', () => {
    const long = { ...newSettlement(plan, 999_999), feeEpoch: 999_999 }
    for (const leg of legs) expect(oppositeOf(trade, leg, long).key.length).toBeLessThanOrEqual(128)
  })
})
