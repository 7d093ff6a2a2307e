import { expect, test } from 'vitest'
import { BTC_USDT, FEES, tradeInput } from '../../test/support/trades.ts'
import { createPool, createRig, fundBoth } from '../../test/support/workers.ts'
import type { TradeInput } from '../core/trade.ts'
import { createIntake } from './intake.ts'
import { createSubmit, type SubmitFault, TradesRefusedError } from './submit.ts'

function createParts() {
  const rig = createRig()
  const { store, clock } = rig
  const pool = createPool(rig)
  const intake = createIntake({ store, pool, clock, rail: 'saga', legOrder: 'buyer-first', waitsForRoom: false })
  const instruments = { assets: new Map(), markets: new Map([[BTC_USDT.symbol, BTC_USDT]]) }
  return { rig, pool, submit: createSubmit({ intake, instruments, feeUserId: FEES }) }
}

async function faultsOf(submitted: Promise<unknown>): Promise<readonly SubmitFault[]> {
  const error = await submitted.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof TradesRefusedError)) throw new Error(`not refused: ${String(error)}`)
  return error.faults
}

test('O-4 trades of any engine are durable once it resolves, and settle; the same again is harmless', async () => {
  const { rig, pool, submit } = createParts()
  await fundBoth(rig)
  const trade = tradeInput()
  expect(await submit([trade])).toEqual({ accepted: 1, duplicates: 0 })
  expect(await rig.store.trade(trade.id)).not.toBeNull()
  await rig.clock.quiet()
  expect(await rig.store.trade(trade.id)).toMatchObject({ status: 'SETTLED' })
  expect(await submit([trade, tradeInput(), { ...trade, id: trade.id.toUpperCase() }])).toEqual({
    ...{ accepted: 1, duplicates: 2 },
  })
  await pool.stop(0)
})

test('many trades go in by batches', async () => {
  const { pool, submit } = createParts()
  const trades = Array.from({ length: 600 }, () => tradeInput())
  expect(await submit(trades)).toEqual({ accepted: 600, duplicates: 0 })
  expect(await submit(trades)).toEqual({ accepted: 0, duplicates: 600 })
  expect(await submit([])).toEqual({ accepted: 0, duplicates: 0 })
  await pool.stop(0)
})

test.each<[Partial<TradeInput>, string, string]>([
  [{ symbol: 'X/Y' }, 'symbol', 'UNKNOWN_SYMBOL'],
  [{ price: '0' }, 'price', 'INVALID_PRICE'],
  [{ sellerFee: '50001' }, 'sellerFee', 'FEE_EXCEEDS_NOTIONAL'],
  [{ id: '1' }, 'id', 'INVALID_REQUEST'],
  [{ buyerUserId: 'bob' }, 'buyerUserId', 'INVALID_REQUEST'],
  [{ sellerOrderId: '' }, 'sellerOrderId', 'INVALID_REQUEST'],
  [{ executedAtMs: 1.5 }, 'executedAtMs', 'INVALID_REQUEST'],
  [{ executedAtMs: 1e15 }, 'executedAtMs', 'INVALID_REQUEST'],
])('with %j it takes none, and says which field of which trade', async (change, field, code) => {
  const { rig, submit } = createParts()
  const good = tradeInput()
  const bad = tradeInput(change)
  expect(await faultsOf(submit([good, bad]))).toMatchObject([{ id: bad.id, field, code }])
  expect(await rig.store.trade(good.id)).toBeNull()
})

test('an id that was used before for another trade is refused', async () => {
  const { pool, submit } = createParts()
  const trade = tradeInput()
  await submit([trade])
  const changed = { ...trade, price: '1', sellerFee: '0' }
  expect(await faultsOf(submit([changed]))).toMatchObject([{ id: trade.id, field: 'id', code: 'TRADE_ID_REUSED' }])
  await expect(submit([{ ...trade, price: 'x', quantity: 'y' }])).rejects.toThrow(
    'price: not a decimal number, and 1 more',
  )
  await pool.stop(0)
})
