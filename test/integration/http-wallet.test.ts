import { tmpdir } from 'node:os'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { App } from '../../src/api/app.ts'
import { createServer } from '../../src/api/server.ts'
import { systemClock } from '../../src/clock.ts'
import { loadConfig } from '../../src/config.ts'
import type { Asset } from '../../src/core/market.ts'
import { createLogger } from '../../src/log.ts'
import { createSettlement, type SettlementService } from '../../src/main.ts'
import { migrate } from '../../src/migrate.ts'
import { verifyBooks } from '../../src/verify/verify.ts'
import { createHttpWallet, type HttpWallet } from '../../src/wallet/http/http-wallet.ts'
import { createLedgerWallet } from '../../src/wallet/ledger-wallet.ts'
import type { BookedWallet, Wallet, WalletLevel } from '../../src/wallet/wallet.ts'
import { holdsSuite } from '../suites/holds.ts'
import { walletSuite } from '../suites/wallet.ts'
import { authenticate } from '../support/api.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { emptyLedger } from '../support/empty-ledger.ts'
import { expectSettledOnce } from '../support/settled-once.ts'
import { ASSETS, BUYER, FEES, makeTrade, SELLER } from '../support/trades.ts'
import { openUnsteadyServer } from '../support/unsteady-server.ts'

const clock = systemClock()
const log = createLogger('silent')
const closing: (() => unknown)[] = []

async function closeAll(): Promise<void> {
  for (const close of closing.splice(0).reverse()) await close()
}

/** The wallet's routes on the ledger of a database. */
function serverOf(db: TestDatabase, level: WalletLevel): { readonly app: App; readonly books: BookedWallet } {
  const instruments = { assets: ASSETS, markets: new Map() }
  const books = createLedgerWallet({ database: db.database, instruments, clock, feeUserId: FEES, log, level })
  const wallet = { wallet: books, assets: ASSETS }
  const app = createServer({ authenticate, notReady: async () => [], log, version: '0', trades: null, wallet })
  return { app, books }
}

describe('the port', () => {
  /** The wallet at the other end does not know all that this one does. */
  const more = ['DOGE', 'usdt'].map((code): [string, Asset] => [code, { code, scale: 8 }])
  const assets: ReadonlyMap<string, Asset> = new Map([...ASSETS, ...more])
  let db: TestDatabase

  beforeAll(async () => {
    db = await createTestDatabase()
    await migrate(db.database, 'ledger')
  })
  afterEach(closeAll)
  afterAll(() => db.drop())

  async function make(level: WalletLevel): Promise<BookedWallet> {
    await emptyLedger(db.database)
    const { app, books } = serverOf(db, level)
    const url = await app.listen({ host: '127.0.0.1', port: 0 })
    const http = createHttpWallet({ url, token: 'admin-key', instruments: { assets }, timeoutMs: 5000, clock, log })
    closing.push(() => app.close())
    closing.push(() => http.close())
    await http.capabilities()
    return seenThrough(http, books)
  }

  walletSuite('a wallet over HTTP', make, { keysInHeaders: true })
  holdsSuite('a wallet over HTTP', make)
})

/** The calls go over HTTP; the books behind them are read where they are. */
function seenThrough(http: HttpWallet, books: BookedWallet): BookedWallet {
  return {
    ...books,
    capabilities: () => http.capabilities(),
    // Our own server says all that a booked wallet says.
    apply: operation => http.apply(operation) as ReturnType<BookedWallet['apply']>,
    settle: settlement => http.settle(settlement),
    reverse: key => http.reverse(key),
    hold: hold => http.hold(hold),
    release: release => http.release(release),
    balance: (userId, currency) => http.balance(userId, currency),
  }
}

describe('settlement on a wallet elsewhere', () => {
  let db: TestDatabase
  afterEach(async () => {
    await closeAll()
    await db.drop()
  })

  /** A service that settles on the wallet at the address, the books of which are in the same database for the checks. */
  async function settling(
    url: string,
    flags: Readonly<Record<string, string>>,
    onEnd: () => void,
  ): Promise<SettlementService> {
    const common = { 'wallet.url': url, 'wallet.token': 'operator-key', 'settlement.fee_user_id': FEES }
    const { config } = loadConfig({ path: null, env: {}, flags: { ...common, ...flags }, cwd: tmpdir() })
    const opened = { database: db.database, server: null, close: async () => {} }
    const settlement = await createSettlement({ config, opened, log, waitsForRoom: false, onEnd })
    closing.push(async () => {
      await settlement.pool.stop(10_000)
      settlement.link.close()
    })
    return settlement
  }

  async function fund(wallet: Wallet): Promise<void> {
    const amount = 10n ** 17n
    for (const [userId, currency] of [
      [BUYER, 'USDT'],
      [SELLER, 'BTC'],
    ] as const) {
      const deposit = { key: `fund ${currency}`, tradeId: null, type: 'credit', userId, currency, amount } as const
      expect(await wallet.apply({ ...deposit, reason: 'DEPOSIT' })).toMatchObject({ outcome: 'applied' })
    }
  }

  async function settleAll(settlement: SettlementService, count: number, ended: () => number): Promise<void> {
    settlement.pool.start()
    const trades = Array.from({ length: count }, (_, at) => makeTrade({ quantity: `0.0${(at % 9) + 1}` }))
    for (let at = 0; at < count; at += 10) {
      await settlement.intake.take(trades.slice(at, at + 10).map(trade => ({ trade, isTimeGiven: true })))
    }
    await expect.poll(ended, { timeout: 40_000, interval: 20 }).toBe(count)
  }

  async function expectGoodBooks(count: number): Promise<void> {
    await expectSettledOnce(db.database, count)
    expect(await verifyBooks(db.database)).toMatchObject({
      settled: count,
      failed: 0,
      pending: 0,
      breaks: 0,
      conserved: true,
    })
  }

  test.each<[WalletLevel, 'saga' | 'auto', string]>([
    ['basic', 'auto', 'saga'],
    ['reversals', 'auto', 'saga'],
    ['batch', 'auto', 'saga'],
    ['settlements', 'saga', 'saga'],
    ['settlements', 'auto', 'atomic'],
  ])('W-6 W-7 trades settle once each at level %s, rail %s', async (level, asked, rail) => {
    db = await createTestDatabase()
    await migrate(db.database, 'ledger')
    const { app, books } = serverOf(db, level)
    closing.push(() => app.close())
    const url = await app.listen({ host: '127.0.0.1', port: 0 })
    await fund(books)
    let ended = 0
    const settlement = await settling(url, { 'settlement.rail': asked }, () => ended++)
    expect([settlement.rail, settlement.books, settlement.link.status()]).toEqual([
      rail,
      null,
      { url, level, circuit: 'closed' },
    ])
    await settleAll(settlement, 400, () => ended)
    await settlement.pool.stop(10_000)
    await expectGoodBooks(400)
  })

  test.each<[WalletLevel, string, number]>([
    ['basic', 'saga', 0.2],
    ['reversals', 'saga', 0.2],
    // Few calls that carry many: more of them have to go wrong for every way to be seen.
    ['batch', 'saga', 0.5],
    ['settlements', 'atomic', 0.5],
  ])(
    'P-4 trap 2 trap 7: a wallet that answers wrongly in every way, at level %s, rail %s, %s of its calls: all settle, none twice',
    { timeout: 120_000 },
    async (level, rail, share) => {
      db = await createTestDatabase()
      await migrate(db.database, 'ledger')
      const { app, books } = serverOf(db, level)
      closing.push(() => app.close())
      const server = await openUnsteadyServer(app, share, 1)
      closing.push(() => server.close())
      await fund(books)
      let ended = 0
      const patience = {
        'settlement.rail': rail,
        'settlement.timeout_ms': '400',
        'settlement.retry_max_attempts': '100',
        'settlement.retry_backoff_ms': '5',
        'settlement.retry_max_backoff_ms': '200',
        'settlement.poll_ms': '50',
      }
      const settlement = await settling(server.url, patience, () => ended++)
      await settleAll(settlement, 200, () => ended)
      // What is owed of fees is collected after the end of the trade.
      await expect
        .poll(async () => (await db.database.query('select from open_settlements')).rowCount, { timeout: 40_000 })
        .toBe(0)
      await settlement.pool.stop(10_000)
      await expectGoodBooks(200)
      expect(server.faults.size).toBeGreaterThan(share < 0.5 ? 10 : 4)
    },
  )
})
