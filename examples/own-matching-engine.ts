/**
 * Trades of a matching engine of your own, settled in your own process on the PostgreSQL that comes along.
 *
 *   node examples/own-matching-engine.ts [DATA_FOLDER]
 */
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
// In a program of yours: from 'legwork'.
import {
  createLogger,
  createSettlement,
  loadConfig,
  openConfiguredDatabase,
  type TradeInput,
  verifyBooks,
} from '../src/index.ts'

const ALICE = '00000000-0000-4000-8000-00000000000a'
const BOB = '00000000-0000-4000-8000-00000000000b'

const folder = process.argv[2] ?? (await mkdtemp(join(tmpdir(), 'legwork-example-')))
const { config } = loadConfig({ path: null, env: {}, flags: { data_dir: folder }, cwd: folder })
const log = createLogger('warn')
const opened = await openConfiguredDatabase(config, log)
const ended = Promise.withResolvers<string>()
const settlement = await createSettlement({
  config,
  opened,
  log,
  waitsForRoom: true,
  // Called for every trade of which nothing is left to do, or nothing is done by itself any more.
  onEnd: (trade, { status }) => ended.resolve(`${trade.id} is ${status}`),
})
try {
  settlement.pool.start()
  for (const [userId, currency, amount] of [
    [ALICE, 'BTC', 1n],
    [BOB, 'USDT', 60_000n],
  ] as const) {
    const deposit = { key: `first ${currency}`, tradeId: null, userId, currency, amount: amount * 10n ** 8n }
    await settlement.wallet.apply({ ...deposit, type: 'credit', reason: 'DEPOSIT' })
  }

  // Whatever your engine matched.
  const trade: TradeInput = {
    id: '01927a3e-0000-7000-8000-000000000001',
    symbol: 'BTC/USDT',
    price: '50000',
    quantity: '1',
    buyerUserId: BOB,
    sellerUserId: ALICE,
    buyerFee: '25',
    sellerFee: '50',
    isBuyerMaker: null,
    buyerOrderId: null,
    sellerOrderId: null,
    executedAtMs: 1_700_000_000_000,
  }
  const { accepted } = await settlement.submit([trade])
  // Durable from here on. Had the process died before it knew, it would submit the trade again:
  const { duplicates } = await settlement.submit([trade])
  process.stdout.write(`${accepted} trade accepted, ${duplicates} known before\n`)

  process.stdout.write(`${await ended.promise}\n`)
  for (const [userId, currency] of [
    [ALICE, 'USDT'],
    [BOB, 'BTC'],
  ] as const) {
    const balance = await settlement.wallet.balance(userId, currency)
    process.stdout.write(`${userId} has ${balance?.available} of the smallest unit of ${currency}\n`)
  }
  const { breaks, conserved } = await verifyBooks(opened.database, { deadLettersEnabled: true })
  process.stdout.write(`breaks: ${breaks}, money is conserved: ${conserved}\n`)
} finally {
  await settlement.pool.stop(10_000)
  await opened.close()
}
