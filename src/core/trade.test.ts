import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BTC_USDT, BUYER, FEES, makeTrade, SELLER, tradeInput } from '../../test/support/trades.ts'
import { parseUuid } from './ids.ts'
import { marketOf } from './instruments.ts'
import { assertBalanced, type LegOrder, legsOf } from './legs.ts'
import { type Market, marketFault, splitSymbol } from './market.ts'
import { acceptTrade, type TradeInput } from './trade.ts'

function faultsOf(change: Partial<TradeInput>, market: Market | undefined = BTC_USDT) {
  const result = acceptTrade(tradeInput(change), market, FEES)
  return 'faults' in result ? result.faults.map(({ field, code }) => [field, code]) : []
}

function legTexts(change: Partial<TradeInput>, order: LegOrder = 'buyer-first', market: Market = BTC_USDT) {
  return legsOf(makeTrade(change, market), order).map(
    ({ name, userId, currency, type, amount }) => `${name} ${type} ${userId.slice(-1)} ${amount} ${currency}`,
  )
}

describe('a trade is taken or every fault of it is said', () => {
  test('W-1 to W-5 its notional is price × quantity, exactly', () => {
    expect(makeTrade({ price: '28165.47', quantity: '0.00056', sellerFee: '0' }).notional).toBe(15_77266320n)
  })

  test.each([
    [{ price: '0' }, [['price', 'INVALID_PRICE']]],
    [{ price: '-1' }, [['price', 'INVALID_PRICE']]],
    [
      { price: 'x', quantity: '1e3' },
      [
        ['price', 'INVALID_PRICE'],
        ['quantity', 'INVALID_QUANTITY'],
      ],
    ],
    [{ price: '1'.repeat(39) }, [['price', 'INVALID_PRICE']]],
    [{ quantity: '0.123456789' }, [['quantity', 'TOO_MANY_PLACES']]],
    [{ buyerFee: 'free' }, [['buyer_fee', 'INVALID_FEE']]],
    [{ sellerFee: '0.123456789' }, [['seller_fee', 'TOO_MANY_PLACES']]],
    [{ sellerFee: '50000.00000001' }, [['seller_fee', 'FEE_EXCEEDS_NOTIONAL']]],
    [{ buyerFee: '-50000.00000001' }, [['buyer_fee', 'REBATE_EXCEEDS_NOTIONAL']]],
    [{ sellerFee: '-50000.00000001' }, [['seller_fee', 'REBATE_EXCEEDS_NOTIONAL']]],
    [{ price: '0.00000001', quantity: '0.00000001' }, [['quantity', 'TOO_MANY_PLACES']]],
    [{ price: '9'.repeat(30), quantity: '9'.repeat(30) }, [['price', 'INVALID_PRICE']]],
    [{ price: '50000', buyerFee: '50000' }, []],
  ] satisfies readonly (readonly [Partial<TradeInput>, unknown])[])('%j', (change, faults) => {
    expect(faultsOf(change)).toEqual(faults)
  })

  test('a symbol nobody configured is refused', () => {
    expect(acceptTrade(tradeInput(), undefined, FEES)).toMatchObject({ faults: [{ code: 'UNKNOWN_SYMBOL' }] })
  })

  test('a rounding rule rounds the notional once, for both sides', () => {
    const market: Market = { ...BTC_USDT, quote: { code: 'USDT', scale: 2 }, rounding: 'half_even' }
    const trade = makeTrade({ price: '0.05', quantity: '0.5', buyerFee: '0', sellerFee: '0' }, market)
    expect(trade.notional).toBe(2n)
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

  test('for any trade the legs sum to zero in every currency and are above zero', () => {
    const units = fc.bigInt({ min: 1n, max: 10n ** 14n })
    fc.assert(
      fc.property(
        units,
        units,
        fc.integer({ min: -100, max: 100 }),
        fc.integer({ min: -100, max: 100 }),
        fc.boolean(),
        (price, quantity, b, s, isSelf) => {
          const notional = (price * quantity) / 10n ** 8n
          const base = makeTrade({ sellerUserId: isSelf ? BUYER : SELLER })
          const trade = {
            ...base,
            notional,
            quantity,
            buyerFee: (notional * BigInt(b)) / 100n,
            sellerFee: (notional * BigInt(s)) / 100n,
          }
          const sums = new Map<string, bigint>()
          for (const leg of legsOf(trade, 'buyer-first')) {
            expect(leg.amount).toBeGreaterThan(0n)
            sums.set(leg.currency, (sums.get(leg.currency) ?? 0n) + (leg.type === 'debit' ? -leg.amount : leg.amount))
          }
          for (const sum of sums.values()) expect(sum).toBe(0n)
        },
      ),
    )
  })

  test('legs that would make money are a bug, and are not handed to anybody', () => {
    const legs = legsOf(makeTrade(), 'buyer-first').slice(1)
    expect(() => assertBalanced('t', legs, 'BTC', 'USDT')).toThrow('legs of trade t sum to 5002500000000 USDT')
  })
})

describe('markets', () => {
  test('one whose price and quantity places do not fit its quote asset is refused with the numbers', () => {
    const market: Market = { ...BTC_USDT, quote: { code: 'USDT', scale: 6 } }
    expect(marketFault(market)).toMatch(/price places 2 .* \+ quantity places 5 .* = 7, more than the 6 places of USDT/)
  })

  test('a rounding rule lets it be', () => {
    expect(marketFault({ ...BTC_USDT, quote: { code: 'USDT', scale: 6 }, rounding: 'half_up' })).toBeNull()
    expect(marketFault(BTC_USDT)).toBeNull()
  })

  test('a step smaller than the asset has places is refused', () => {
    expect(marketFault({ ...BTC_USDT, quote: { code: 'USDT', scale: 1 } })).toMatch(/tick_size 0.01 has 2 places/)
    expect(marketFault({ ...BTC_USDT, base: { code: 'BTC', scale: 4 } })).toMatch(/lot_size 0.00001 has 5 places/)
  })

  test.each([
    ['BTC/USDT', { base: 'BTC', quote: 'USDT' }],
    ['BTC-USDT', null],
    ['BTC/BTC', null],
    ['btc/usdt', null],
    ['/USDT', null],
    ['', null],
  ])('the symbol %s', (symbol, parts) => {
    expect(splitSymbol(symbol)).toEqual(parts)
  })

  test('one that is stored and not known is a bug', () => {
    const instruments = { assets: new Map(), markets: new Map([['BTC/USDT', BTC_USDT]]) }
    expect(marketOf(instruments, 'BTC/USDT')).toBe(BTC_USDT)
    expect(() => marketOf(instruments, 'X/Y')).toThrow('market X/Y')
  })
})

test('ids are UUIDs of any version, lower-cased', () => {
  expect(parseUuid('0192F0AB-0000-7000-8000-000000000001')).toBe('0192f0ab-0000-7000-8000-000000000001')
  expect(parseUuid('0192f0ab00007000800000000000001')).toBeNull()
})
