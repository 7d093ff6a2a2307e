import { expect, test } from 'vitest'
import { BTC_USDT } from '../../test/support/trades.ts'
import { marketOf } from './instruments.ts'

test('a market is found by its symbol; one that is neither configured nor stored is a bug', () => {
  const instruments = { assets: new Map(), markets: new Map([['BTC/USDT', BTC_USDT]]) }
  expect(marketOf(instruments, 'BTC/USDT')).toBe(BTC_USDT)
  expect(() => marketOf(instruments, 'X/Y')).toThrow('market X/Y is neither configured nor stored')
})
