import { describe, expect, test } from 'vitest'
import { holdsSuite } from '../../test/suites/holds.ts'
import { walletSuite } from '../../test/suites/wallet.ts'
import { ASSETS, BUYER, FEES } from '../../test/support/trades.ts'
import { systemClock } from '../clock.ts'
import { createMemoryWallet, type FaultScript } from './memory-wallet.ts'
import type { WalletLevel } from './wallet.ts'

const clock = systemClock()

const make = async (level: WalletLevel) => createMemoryWallet({ assets: ASSETS, clock, feeUserId: FEES, level })
walletSuite('the memory wallet', make)
holdsSuite('the memory wallet', make)

test('a wallet may be made without holds, whatever its level', async () => {
  const wallet = createMemoryWallet({ assets: ASSETS, clock, feeUserId: FEES, holds: false })
  expect(await wallet.capabilities()).toMatchObject({ level: 'settlements', holds: false })
  const hold = { key: 'h', userId: BUYER, currency: 'USDT', amount: 1n }
  await expect(wallet.hold(hold)).rejects.toThrow('a wallet without holds')
  const leg = { userId: BUYER, currency: 'USDT', amount: 1n, reason: 'TRADE_SETTLEMENT' } as const
  const legs = [{ ...leg, type: 'debit', hold: 'h' } as const, { ...leg, type: 'credit' } as const]
  const settled = await wallet.settle({ key: 's', tradeId: BUYER, legs })
  expect(settled).toMatchObject({ outcome: 'refused', code: 'INVALID_REQUEST' })
})

describe('faults', () => {
  const credit = {
    key: 'k',
    tradeId: null,
    type: 'credit',
    userId: BUYER,
    currency: 'USDT',
    amount: 5n,
    reason: 'DEPOSIT',
  } as const
  const walletWith = (faults: FaultScript) => createMemoryWallet({ assets: ASSETS, clock, feeUserId: FEES, faults })

  test('are asked for by call, key and attempt', async () => {
    const asked: unknown[] = []
    const wallet = walletWith((...args) => {
      asked.push(args)
      return null
    })
    await wallet.apply(credit)
    await wallet.apply(credit)
    await wallet.reverse('k')
    expect(asked).toEqual([
      ['apply', 'k', 1],
      ['apply', 'k', 2],
      ['reverse', 'k', 1],
    ])
  })

  test.each([
    ['lost-before', { kind: 'lost-before' }, 'unanswered', 0n],
    ['lost-after', { kind: 'lost-after' }, 'unanswered', 5n],
    ['refused', { kind: 'refused', code: 'INSUFFICIENT_BALANCE' }, 'refused', 0n],
    ['deferred', { kind: 'deferred', reached: true, retryAfterMs: 7 }, 'deferred', 0n],
    ['unreachable', { kind: 'deferred', reached: false }, 'deferred', 0n],
  ] as const)('%s: what the caller sees, and what the wallet did', async (_, fault, outcome, balance) => {
    const wallet = walletWith((_call, _key, attempt) => (attempt === 1 ? fault : null))
    expect((await wallet.apply(credit)).outcome).toBe(outcome)
    expect((await wallet.balance(BUYER, 'USDT'))?.total).toBe(balance)
    expect((await wallet.apply(credit)).outcome).toBe('applied')
    expect((await wallet.balance(BUYER, 'USDT'))?.total).toBe(5n)
  })
})
