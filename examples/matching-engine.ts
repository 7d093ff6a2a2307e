/**
 * Legwork's own matching engine in your process: orders in, trades out by a callback, and on to settlement.
 *
 *   node examples/matching-engine.ts [DATA_FOLDER]
 */
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
// In a program of yours: from 'legwork' and from 'legwork/matching'.
import { createLogger, createSettlement, loadConfig, openConfiguredDatabase } from '../src/index.ts'
import { MatchingEngine } from '../src/matching-engine.ts'

const ALICE = '00000000-0000-4000-8000-00000000000a'
const BOB = '00000000-0000-4000-8000-00000000000b'
const CAROL = '00000000-0000-4000-8000-00000000000c'

const folder = process.argv[2] ?? (await mkdtemp(join(tmpdir(), 'legwork-example-')))
const { config } = loadConfig({ path: null, env: {}, flags: { data_dir: folder }, cwd: folder })
const log = createLogger('warn')
const opened = await openConfiguredDatabase(config, log)
const statuses: string[] = []
const settlement = await createSettlement({
  ...{ config, opened, log, waitsForRoom: true },
  onEnd: (_trade, { status }) => statuses.push(status),
})
try {
  settlement.pool.start()
  for (const [userId, currency, amount] of [
    [ALICE, 'BTC', 1n],
    [CAROL, 'BTC', 1n],
    [BOB, 'USDT', 60_000n],
  ] as const) {
    const deposit = { key: `first of ${userId}`, tradeId: null, userId, currency, amount: amount * 10n ** 8n }
    await settlement.wallet.apply({ ...deposit, type: 'credit', reason: 'DEPOSIT' })
  }

  const engine = new MatchingEngine({ markets: config.markets })
  const submitted: Promise<unknown>[] = []
  // Once for each order that trades, with all of its trades.
  engine.onTrades(trades => submitted.push(settlement.submit(trades)))

  const order = { symbol: 'BTC/USDT', type: 'limit' } as const
  engine.place({ ...order, userId: ALICE, side: 'sell', price: '50000', quantity: '0.4' })
  engine.place({ ...order, userId: CAROL, side: 'sell', price: '50100', quantity: '1', postOnly: true })
  const placed = engine.place({ ...order, userId: BOB, side: 'buy', price: '50200', quantity: '1' })
  if ('refusal' in placed) throw new Error(placed.refusal.detail)
  for (const { quantity, price, buyerFee, sellerFee } of placed.trades) {
    process.stdout.write(`${quantity} at ${price}: the buyer pays a fee of ${buyerFee}, the seller ${sellerFee}\n`)
  }
  process.stdout.write(
    `Bob's order is ${placed.order.status}; on offer: ${JSON.stringify(engine.book('BTC/USDT')?.asks)}\n`,
  )

  // Durable; what the engine has in its books is not, and has to be kept where the orders are: engine.state().
  await Promise.all(submitted)
  while (statuses.length < placed.trades.length) await new Promise(resolve => setTimeout(resolve, 10))
  process.stdout.write(`${statuses.join(', ')}\n`)
} finally {
  await settlement.pool.stop(10_000)
  await opened.close()
}
