/** The order desk on a real database and the real ledger, with workers that settle its trades. */
import { systemClock } from '../../src/clock.ts'
import type { RetryPolicy } from '../../src/core/backoff.ts'
import type { Market } from '../../src/core/market.ts'
import { parseStored } from '../../src/core/money.ts'
import type { Rail } from '../../src/core/settlement.ts'
import type { Database } from '../../src/db.ts'
import { createLogger } from '../../src/log.ts'
import { migrate } from '../../src/migrate.ts'
import type { NewOrder } from '../../src/orders/accept.ts'
import { createOrderDesk, type OrderDesk, type OrderRefusal, type PlaceAnswer } from '../../src/orders/desk.ts'
import { openInstruments } from '../../src/store/instruments.ts'
import type { OrderStore } from '../../src/store/order-store.ts'
import { createOrderStore } from '../../src/store/pg-order-store.ts'
import { createStore } from '../../src/store/pg-store.ts'
import { createLedgerWallet } from '../../src/wallet/ledger-wallet.ts'
import type { BookedWallet, Wallet } from '../../src/wallet/wallet.ts'
import { createWorkerPool, type WorkerPool } from '../../src/worker/pool.ts'
import { POLICY } from './books.ts'
import { until } from './process.ts'
import { BTC_USDT, BUYER, FEES, SELLER } from './trades.ts'

export interface ExchangeOptions {
  readonly markets?: readonly Market[]
  /** False: funds are reserved on our side. */
  readonly hasHolds?: boolean
  /** What the desk calls in place of the ledger, and what it stores with in place of the store. */
  readonly wrapWallet?: (wallet: BookedWallet) => Wallet
  readonly wrapStore?: (store: OrderStore) => OrderStore
  /** Not given: they settle. */
  readonly settles?: boolean
  readonly rail?: Rail
  /** What the workers call in place of the ledger. */
  readonly wrapSettling?: (wallet: BookedWallet) => Wallet
  readonly policy?: Partial<RetryPolicy>
}

export interface Exchange {
  readonly desk: OrderDesk
  readonly wallet: BookedWallet
  readonly store: OrderStore
  readonly pool: WorkerPool
  readonly fund: (userId: string, currency: string, amount: string) => Promise<void>
  readonly place: (order: NewOrder) => Promise<PlaceAnswer>
  /** Fails where it is refused. */
  readonly placed: (order: NewOrder) => Promise<Exclude<PlaceAnswer, { refusal: OrderRefusal }>>
  readonly held: (userId: string, currency: string) => Promise<bigint>
  /** Nothing is in the workers' hands, and nothing that is free is still on hold. */
  readonly atRest: () => Promise<void>
  readonly close: () => Promise<void>
}

let deposits = 0
let owners = 0

export async function openExchange(database: Database, options: ExchangeOptions = {}): Promise<Exchange> {
  const { markets = [BTC_USDT], hasHolds = true, wrapWallet, wrapStore, settles = true } = options
  const { rail = 'atomic', wrapSettling, policy } = options
  await migrate(database, 'store')
  await migrate(database, 'ledger')
  const assets = markets.flatMap(({ base, quote }) => [base, quote])
  const instruments = await openInstruments(database, { assets, markets })
  const clock = systemClock()
  const log = createLogger('silent')
  const wallet = createLedgerWallet({ database, instruments, clock, feeUserId: FEES, log })
  const store = createOrderStore(database, instruments)
  const pool = createWorkerPool({
    ...{ store: createStore(database, instruments), wallet: wrapSettling?.(wallet) ?? wallet, clock, log },
    ...{ policy: { ...POLICY, ...policy }, random: () => 0.5 },
    ...{ traits: { level: 'settlements', idempotent: true }, workerPoolSize: 10, queueCapacity: 1000, leaseMs: 30_000 },
    ...{ owner: `00000000-0000-4000-a000-${`${++owners}`.padStart(12, '0')}`, pollMs: 50, deadLettersEnabled: true },
  })
  if (settles) pool.start()
  const desk = createOrderDesk({
    ...{ store: wrapStore?.(store) ?? store, wallet: wrapWallet?.(wallet) ?? wallet, instruments, pool, clock, log },
    ...{ legOrder: 'buyer-first', feeUserId: FEES, pollMs: 50 },
    link: { rail: () => rail, hasHolds: () => hasHolds },
  })
  await desk.start()
  const place = async (order: NewOrder): Promise<PlaceAnswer> => (await desk.place([order]))[0] as PlaceAnswer
  return {
    ...{ desk, wallet, store, pool, place },
    async fund(userId, currency, amount) {
      const scale = instruments.assets.get(currency)?.scale ?? 0
      const outcome = await wallet.apply({
        ...{ key: `deposit-${++deposits}`, tradeId: null, type: 'credit', userId, currency },
        ...{ amount: parseStored(amount, scale), reason: 'DEPOSIT' },
      })
      if (outcome.outcome !== 'applied') throw new Error(JSON.stringify(outcome))
    },
    async placed(order) {
      const answer = await place(order)
      if ('refusal' in answer) throw new Error(JSON.stringify(answer.refusal, (_, value) => `${value}`))
      return answer
    },
    held: async (userId, currency) => (await wallet.balance(userId, currency))?.held ?? 0n,
    async atRest() {
      await until('all is settled', async () => {
        const { rows } = await database.query<{ readonly open: boolean }>(
          `select exists (select from open_settlements) or exists (select from hold_releases) or exists (
            select from ledger_holds h
            where h.remaining > 0 and not h.reversed and h.key not in (select o.hold::text from orders o where o.hold is not null)
          ) as open`,
        )
        return rows[0]?.open === false
      })
    },
    async close() {
      await desk.stop()
      await pool.stop(10_000)
    },
  }
}

/** A purchase of one BTC at 50,000, changed as the test wants it. */
export function purchase(change: Partial<NewOrder> = {}): NewOrder {
  return {
    ...{ userId: BUYER, clientOrderId: null, symbol: 'BTC/USDT', side: 'buy', type: 'limit', price: '50000' },
    ...{ quantity: '1', quoteQuantity: null, timeInForce: null, postOnly: false, selfTradePrevention: null },
    ...change,
  }
}

export function sale(change: Partial<NewOrder> = {}): NewOrder {
  return purchase({ userId: SELLER, side: 'sell', ...change })
}

/** An amount of an asset of eight places. */
export function units(amount: string): bigint {
  return parseStored(amount, 8)
}
