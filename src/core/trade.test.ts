import { describe, expect, test } from 'vitest'
import { BTC_USDT, FEES, makeTrade, tradeInput } from '../../test/support/trades.ts'
import type { Market } from './market.ts'
import { acceptTrade, type TradeInput } from './trade.ts'

/** It has 38 digits, and twice of it has 39. */
const HUGE = '9'.repeat(38)

function faultsOf(change: Partial<TradeInput>, market: Market | undefined = BTC_USDT) {
  const result = acceptTrade(tradeInput(change), market, FEES)
  return 'faults' in result ? result.faults.map(({ field, code }) => [field, code]) : []
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
    [{ price: HUGE, buyerFee: '0', sellerFee: '0' }, []],
    [{ price: HUGE, buyerFee: HUGE, sellerFee: '0' }, [['price', 'INVALID_PRICE']]],
    [{ price: HUGE, buyerFee: '0', sellerFee: `-${HUGE}` }, [['price', 'INVALID_PRICE']]],
    [{ price: HUGE, buyerFee: `-${HUGE}`, sellerFee: '0' }, []],
  ] satisfies readonly (readonly [Partial<TradeInput>, unknown])[])('%j', (change, faults) => {
    expect(faultsOf(change)).toEqual(faults)
  })

  test('a symbol nobody configured is refused', () => {
    expect(acceptTrade(tradeInput(), undefined, FEES)).toMatchObject({ faults: [{ code: 'UNKNOWN_SYMBOL' }] })
  })

  test('a rounding rule rounds the notional', () => {
    const market: Market = { ...BTC_USDT, quote: { code: 'USDT', scale: 2 }, rounding: 'half_even' }
    expect(makeTrade({ price: '0.05', quantity: '0.5', buyerFee: '0', sellerFee: '0' }, market).notional).toBe(2n)
    expect(makeTrade({ price: '0.07', quantity: '0.5', buyerFee: '0', sellerFee: '0' }, market).notional).toBe(4n)
  })
})
