import { expect, test } from 'vitest'
import { bench as benchHttpClient } from '../../bench/http-client.bench.ts'
import { bench as benchMatching } from '../../bench/matching.bench.ts'
import { bench as benchOrders } from '../../bench/orders.bench.ts'
import { bench } from '../../bench/settle.bench.ts'
import { bench as benchSettleOnWallet } from '../../bench/settle-wallet.bench.ts'
import { bench as benchWallet } from '../../bench/wallet.bench.ts'
import { bench as benchWalletServer } from '../../bench/wallet-server.bench.ts'

test('the benchmark settles everything it hands in, on both rails and the plain way', {
  timeout: 120_000,
}, async () => {
  const result = await bench({ trades: 300, naiveTrades: 20, users: 10 })
  expect(result.workload).toBe('4a8def21c109c16b')
  expect(result.atomic.per_second).toBeGreaterThan(0)
  expect(result.saga.per_second).toBeGreaterThan(0)
  expect(result.naive.per_second).toBeGreaterThan(0)
})

test('the benchmark of the HTTP client gets an answer to every request, from each client', async () => {
  const { ours, undici, undici_pipelined } = await benchHttpClient({ requests: 300, concurrency: 50, rate: 1000 })
  for (const { per_second, cpu_us } of [ours, undici, undici_pipelined]) {
    expect(per_second).toBeGreaterThan(0)
    expect(cpu_us).toBeGreaterThan(0)
  }
})

test('the benchmark of the wallet server gets an answer to every call, from both ways in', async () => {
  const { lean, routes } = await benchWalletServer({ calls: 300, connections: 2, depth: 16 })
  for (const { per_second, cpu_us } of [lean, routes]) {
    expect(per_second).toBeGreaterThan(0)
    expect(cpu_us).toBeGreaterThan(0)
  }
})

test('the benchmark on a wallet over the network settles everything, at each level and at a steady rate', {
  timeout: 120_000,
}, async () => {
  const options = { trades: 200, naiveTrades: 20, users: 10, rate: 100, seconds: 1 }
  const { reversals, batch, settlements, steady, naive } = await benchSettleOnWallet(options)
  for (const { per_second } of [reversals, batch, settlements, steady, naive]) expect(per_second).toBeGreaterThan(0)
})

test('the benchmark of the wallet does everything it asks for, one by one, in batches and in settlements', {
  timeout: 120_000,
}, async () => {
  const options = { singles: 200, connections: 8, batched: 1000, settlements: 500, accounts: 20 }
  const { wallet, filled, plain } = await benchWallet({ ...options, filledAccounts: 0, filledEntries: 0 })
  for (const { per_second, p99_ms } of [wallet.singles, wallet.batched, wallet.settlements, plain]) {
    expect(per_second).toBeGreaterThan(0)
    expect(p99_ms).toBeGreaterThan(0)
  }
  expect(filled).toBeNull()
})

test('the benchmark of matching trades, sweeps its level, and does the same work each time', () => {
  const options = { commands: 2000, naiveCommands: 500, users: 50, level: 100 }
  const { per_second, sweep_ms, naive, fills, result } = benchMatching(options)
  for (const figure of [per_second, sweep_ms, naive.per_second]) expect(figure).toBeGreaterThan(0)
  expect(fills).toBeGreaterThan(200)
  expect(benchMatching(options).result).toBe(result)
})

test('the benchmark of orders has each order taken and each trade settled, in a quiet market and in a busy one', {
  timeout: 120_000,
}, async () => {
  const options = { orders: 200, connections: 8, batched: 200, batch: 50, callers: 2, users: 20 }
  const { quiet, busy, floor, plain } = await benchOrders(options)
  for (const { orders, batched, failed, settled_after_ms } of [quiet, busy]) {
    for (const { per_second } of [orders, batched, floor, plain]) expect(per_second).toBeGreaterThan(0)
    expect(failed).toBe(0)
    expect(settled_after_ms).toBeGreaterThanOrEqual(0)
  }
  expect(quiet.trades_per_order).toBeGreaterThan(0)
  expect(busy.trades_per_order).toBeGreaterThan(quiet.trades_per_order)
})
