import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BTC_USDT, BUYER, FEES, makeTrade, SELLER } from '../../test/support/trades.ts'
import { assertBalanced, type LegOrder, legsOf } from './legs.ts'
import type { Market } from './market.ts'
import type { TradeInput } from './trade.ts'

const ORDERS = {
  'buyer-first': ['buyer-debit', 'buyer-credit', 'seller-debit', 'seller-credit', 'fee'],
  'debits-first': ['buyer-debit', 'seller-debit', 'buyer-credit', 'seller-credit', 'fee'],
} as const

function legTexts(change: Partial<TradeInput>, order: LegOrder = 'buyer-first', market: Market = BTC_USDT) {
  return legsOf(makeTrade(change, market), order).map(
    ({ name, userId, currency, type, amount }) => `${name} ${type} ${userId.slice(-1)} ${amount} ${currency}`,
  )
}

describe('W-1 to W-5 a trade becomes its legs', () => {
  const LEGS = [
    'buyer-debit debit b 5002500000000 USDT',
    'buyer-credit credit b 100000000 BTC',
    'seller-debit debit a 100000000 BTC',
    'seller-credit credit a 4995000000000 USDT',
    'fee credit 1 7500000000 USDT',
  ]

  test('the buyer pays with the fee, the seller receives without it, the exchange gets both fees', () => {
    expect(legTexts({})).toEqual(LEGS)
  })

  test('trap 12: both sides can be debited before either is credited', () => {
    expect(legTexts({}, 'debits-first')).toEqual([LEGS[0], LEGS[2], LEGS[1], LEGS[3], LEGS[4]])
  })

  test('W-5 a rebate turns the fee leg round when the sum of both is negative', () => {
    expect(legTexts({ buyerFee: '-60', sellerFee: '50' })).toEqual([
      'buyer-debit debit b 4994000000000 USDT',
      LEGS[1],
      LEGS[2],
      'seller-credit credit a 4995000000000 USDT',
      'fee debit 1 1000000000 USDT',
    ])
  })

  test('legs of zero vanish: fees that cancel out, a fee that takes all, a rebate that pays all', () => {
    expect(legTexts({ buyerFee: '-50', sellerFee: '50' }).some(leg => leg.startsWith('fee'))).toBe(false)
    expect(legTexts({ sellerFee: '50000' }).some(leg => leg.startsWith('seller-credit'))).toBe(false)
    expect(legTexts({ buyerFee: '-50000' }).some(leg => leg.startsWith('buyer-debit'))).toBe(false)
  })

  test('a trade whose buyer is its seller settles to its fees', () => {
    expect(legTexts({ sellerUserId: BUYER })).toEqual([
      'buyer-debit debit b 7500000000 USDT',
      'fee credit 1 7500000000 USDT',
    ])
    expect(legTexts({ sellerUserId: BUYER, buyerFee: '-75', sellerFee: '0' })).toEqual([
      'buyer-debit credit b 7500000000 USDT',
      'fee debit 1 7500000000 USDT',
    ])
    expect(legTexts({ sellerUserId: BUYER, buyerFee: '0', sellerFee: '0' })).toEqual([])
  })

  test('S-2 for any fees and any notional, also of a self-trade, the legs sum to zero and each side gets its due', () => {
    const amount = fc.oneof(fc.constant(0n), fc.bigInt({ min: 1n, max: 10n ** 38n - 1n }))
    const fee = fc.oneof(fc.constant(0n), fc.bigInt({ min: -(10n ** 38n), max: 10n ** 38n }))
    const order = fc.constantFrom<LegOrder>('buyer-first', 'debits-first')
    fc.assert(
      fc.property(
        amount,
        amount,
        fee,
        fee,
        fc.boolean(),
        order,
        (notional, quantity, buyerFee, sellerFee, isSelf, by) => {
          const trade = {
            ...makeTrade({ sellerUserId: isSelf ? BUYER : SELLER }),
            notional,
            quantity,
            buyerFee,
            sellerFee,
          }
          const legs = legsOf(trade, by)
          for (const leg of legs) expect(leg.amount).toBeGreaterThan(0n)
          expect(new Set(legs.map(leg => leg.name)).size).toBe(legs.length)
          const names = isSelf ? ['buyer-debit', 'fee'] : ORDERS[by]
          expect(legs.map(leg => leg.name)).toEqual(names.filter(name => legs.some(leg => leg.name === name)))
          const changes = new Map<string, bigint>([[`${FEES} USDT`, buyerFee + sellerFee]])
          const add = (account: string, change: bigint) => changes.set(account, (changes.get(account) ?? 0n) + change)
          add(`${trade.buyerUserId} USDT`, -notional - buyerFee)
          add(`${trade.buyerUserId} BTC`, quantity)
          add(`${trade.sellerUserId} BTC`, -quantity)
          add(`${trade.sellerUserId} USDT`, notional - sellerFee)
          for (const { userId, currency, type, amount: moved } of legs) {
            add(`${userId} ${currency}`, type === 'debit' ? moved : -moved)
          }
          expect([...changes.values()].every(rest => rest === 0n)).toBe(true)
          for (const currency of ['BTC', 'USDT']) {
            const moved = legs.filter(leg => leg.currency === currency)
            expect(moved.reduce((sum, leg) => sum + (leg.type === 'debit' ? -leg.amount : leg.amount), 0n)).toBe(0n)
          }
        },
      ),
    )
  })

  test('legs that would make money are a bug, and are not handed to anybody', () => {
    const legs = legsOf(makeTrade(), 'buyer-first').slice(1)
    expect(() => assertBalanced('t', legs, 'BTC', 'USDT')).toThrow('legs of trade t sum to 5002500000000 USDT')
  })

  test('a notional that was rounded is the same number for both sides', () => {
    const market: Market = { ...BTC_USDT, quote: { code: 'USDT', scale: 2 }, rounding: 'half_even' }
    expect(legTexts({ price: '0.05', quantity: '0.5', buyerFee: '0', sellerFee: '0' }, 'buyer-first', market)).toEqual([
      'buyer-debit debit b 2 USDT',
      'buyer-credit credit b 50000000 BTC',
      'seller-debit debit a 50000000 BTC',
      'seller-credit credit a 2 USDT',
    ])
  })

  test('a notional that rounds to nothing settles without payment legs', () => {
    const market: Market = { ...BTC_USDT, quote: { code: 'USDT', scale: 2 }, rounding: 'down' }
    expect(legTexts({ price: '0.01', quantity: '0.5', buyerFee: '0', sellerFee: '0' }, 'debits-first', market)).toEqual(
      ['seller-debit debit a 50000000 BTC', 'buyer-credit credit b 50000000 BTC'],
    )
  })
})
