import type { Asset, Market } from '../../src/core/market.ts'
import { acceptTrade, type Trade, type TradeInput } from '../../src/core/trade.ts'

/** Accounts and a market that tests share; amounts are texts in what they do with them. */
export const BUYER = '00000000-0000-4000-8000-00000000000b'
export const SELLER = '00000000-0000-4000-8000-00000000000a'
export const FEES = '00000000-0000-0000-0000-000000000001'

export const BTC_USDT: Market = {
  symbol: 'BTC/USDT',
  base: { code: 'BTC', scale: 8 },
  quote: { code: 'USDT', scale: 8 },
  tickSize: '0.01',
  lotSize: '0.00001',
  minNotional: '0',
  makerFee: '0.0005',
  takerFee: '0.001',
  rounding: null,
}

export const ASSETS: ReadonlyMap<string, Asset> = new Map([
  ['BTC', BTC_USDT.base],
  ['USDT', BTC_USDT.quote],
])

let made = 0

/** A trade of one BTC at 50,000 with fees of 25 and 50, changed as the test wants it. */
export function tradeInput(change: Partial<TradeInput> = {}): TradeInput {
  made++
  return {
    id: `00000000-0000-4000-9000-${made.toString(16).padStart(12, '0')}`,
    symbol: 'BTC/USDT',
    buyerUserId: BUYER,
    sellerUserId: SELLER,
    price: '50000',
    quantity: '1',
    buyerFee: '25',
    sellerFee: '50',
    isBuyerMaker: true,
    buyerOrderId: null,
    sellerOrderId: null,
    executedAtMs: 1_700_000_000_000,
    ...change,
  }
}

export function makeTrade(change: Partial<TradeInput> = {}, market: Market = BTC_USDT): Trade {
  const result = acceptTrade(tradeInput(change), market, FEES)
  if ('faults' in result) throw new Error(JSON.stringify(result.faults))
  return result.trade
}
