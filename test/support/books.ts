import { randomUUID } from 'node:crypto'
import { systemClock } from '../../src/clock.ts'
import type { Market } from '../../src/core/market.ts'
import { keyOf, newSettlement, next, type Settlement } from '../../src/core/settlement.ts'
import type { Trade } from '../../src/core/trade.ts'
import type { Database } from '../../src/db.ts'
import { createLogger } from '../../src/log.ts'
import { migrate } from '../../src/migrate.ts'
import { openInstruments } from '../../src/store/instruments.ts'
import { createStore } from '../../src/store/pg-store.ts'
import type { Intake, Store } from '../../src/store/store.ts'
import { createLedgerWallet } from '../../src/wallet/ledger-wallet.ts'
import type { BookedWallet, Operation, Outcome, SettlementCall, Wallet, WalletLevel } from '../../src/wallet/wallet.ts'
import { operationOf, planOf, settlementCallOf } from '../../src/worker/plan.ts'
import { type SettlerOptions, settle } from '../../src/worker/settler.ts'
import { BTC_USDT, FEES } from './trades.ts'

/** Cents, and prices that do not come out even in them. */
export const ETH_EUR: Market = {
  symbol: 'ETH/EUR',
  base: { code: 'ETH', scale: 8 },
  quote: { code: 'EUR', scale: 2 },
  tickSize: '0.01',
  lotSize: '0.00001',
  minNotional: '0',
  makerFee: '0',
  takerFee: '0',
  rounding: 'half_even',
}

/** What a wallet answers instead of doing what it is called for; `done` does it. */
export type Fault = (done: () => Promise<Outcome>) => Promise<Outcome>

/** Faults by the key of the call; of the call that undoes it, with `undo ` before. */
export type Faults = Readonly<Record<string, Fault>>

/** Settles trades on the real store and the real ledger, one after another, on a clock that stands still. */
export interface Books {
  readonly store: Store
  readonly wallet: BookedWallet
  deposit(userId: string, currency: string, amount: bigint, tradeId?: string): Promise<void>
  /** Records the trades and goes as far with each as its faults allow. */
  settle(
    trades: readonly Trade[],
    how: Pick<Intake, 'rail' | 'legOrder'>,
    faults?: Faults,
    level?: WalletLevel,
  ): Promise<void>
  /** Records a trade and goes no further; with a lease, it is in some process's hands. */
  record(trade: Trade, rail: Intake['rail'], isLeased: boolean): Promise<void>
  /** What an operator's retry does: the settlement is due again, in a new epoch where it was taken back. */
  requeue(trade: Trade, rail: Intake['rail']): Promise<void>
  /** Takes in hand whatever is due. */
  work(faults?: Faults, level?: WalletLevel): Promise<void>
  /** Moves the clock. */
  advance(ms: number): void
  now(): number
  /** The call that applies a leg in the first epoch. */
  legOf(trade: Trade, name: string): Operation
  /** The one call of the atomic rail in the first epoch. */
  settlementOf(trade: Trade): SettlementCall
}

const START = 1_700_000_000_000
const OWNER = '00000000-0000-4000-a000-000000000001'
/** The defaults, without jitter. */
export const POLICY: SettlerOptions['policy'] = {
  retryMaxAttempts: 3,
  retryBackoffMs: 1000,
  retryMaxBackoffMs: 30_000,
  retryJitter: 0,
  undoMaxAttempts: 10,
  undoBackoffMs: 1000,
  undoSlowRetryMs: 60_000,
}

export async function openBooks(database: Database): Promise<Books> {
  await migrate(database, 'store')
  await migrate(database, 'ledger')
  const markets = [BTC_USDT, ETH_EUR]
  const instruments = await openInstruments(database, {
    assets: markets.flatMap(({ base, quote }) => [base, quote]),
    markets,
  })
  let nowMs = START
  const clock = { ...systemClock(), now: () => nowMs }
  const store = createStore(database, instruments)
  const log = createLogger('silent')
  const ledgers = {
    settlements: createLedgerWallet({ database, instruments, clock, log, feeUserId: FEES }),
    basic: createLedgerWallet({ database, instruments, clock, log, feeUserId: FEES, level: 'basic' }),
  }
  const wallet = ledgers.settlements

  async function work(faults: Faults = {}, level: WalletLevel = 'settlements'): Promise<void> {
    const options: SettlerOptions = {
      wallet: withFaults(level === 'basic' ? ledgers.basic : wallet, faults),
      traits: { level, idempotent: true },
      policy: POLICY,
      clock,
      random: () => 0.5,
      log,
      deadLettersEnabled: true,
      record: async record => (await store.record(OWNER, [record]))[0] === true,
      isHeld: () => true,
    }
    for (const claimed of await store.claim({ owner: OWNER, untilMs: nowMs + 30_000 }, 1000, nowMs)) {
      await settle(claimed, options)
    }
  }

  async function insert(trades: readonly Trade[], how: Pick<Intake, 'rail' | 'legOrder' | 'lease'>): Promise<void> {
    await store.recordTrades({ ...how, trades: trades.map(trade => ({ trade, isTimeGiven: true })) }, nowMs)
  }

  return {
    store,
    wallet,
    work,
    advance: ms => {
      nowMs += ms
    },
    now: () => nowMs,
    deposit: async (userId, currency, amount, tradeId) => {
      const key = `deposit:${randomUUID()}`
      const reason = 'DEPOSIT'
      await wallet.apply({ key, tradeId: tradeId ?? null, type: 'credit', userId, currency, amount, reason })
    },
    settle: async (trades, how, faults, level) => {
      await insert(trades, { ...how, lease: null })
      await work(faults, level)
    },
    record: (trade, rail, isLeased) =>
      insert([trade], {
        rail,
        legOrder: 'buyer-first',
        lease: isLeased ? { owner: OWNER, untilMs: nowMs + 30_000 } : null,
      }),
    requeue: async (trade, rail) => {
      const stored = await store.trade(trade.id)
      if (stored?.settlement == null) throw new Error(`trade ${trade.id} has nothing to requeue`)
      const { plan } = planOf(trade, rail, stored.legOrder, TRAITS)
      const { settlement } = next(stored.settlement, { type: 'requeue' }, nowMs, plan, POLICY)
      await storeRequeued(database, trade.id, settlement, nowMs)
    },
    legOf: (trade, name) => {
      const { plan, legs } = planOf(trade, 'saga', 'buyer-first', TRAITS)
      const leg = legs.find(each => each.name === name)
      if (leg === undefined) throw new Error(`trade ${trade.id} has no ${name}`)
      return operationOf(trade, leg, newSettlement(plan))
    },
    settlementOf: trade => {
      const { plan, legs } = planOf(trade, 'atomic', 'buyer-first', TRAITS)
      return settlementCallOf(trade, legs, newSettlement(plan))
    },
  }
}

const TRAITS = { level: 'settlements', idempotent: true } as const

async function storeRequeued(
  database: Database,
  tradeId: string,
  settlement: Settlement,
  nowMs: number,
): Promise<void> {
  await database.query(
    `
    update trades
    set settlement = $2,
      settlement_status = case settlement_status when 'SETTLED' then 'SETTLED' else 'PENDING' end
    where id = $1`,
    [tradeId, JSON.stringify(settlement)],
  )
  await database.query('update open_settlements set due_at = $2 where trade_id = $1', [tradeId, new Date(nowMs)])
  await database.query(`update dead_letters set status = 'retrying' where trade_id = $1`, [tradeId])
}

function withFaults(wallet: BookedWallet, faults: Faults): Wallet {
  const through = <Answer extends Outcome>(key: string, done: () => Promise<Answer>): Promise<Answer> =>
    // What a fault answers carries nothing that a settler reads.
    faults[key] === undefined ? done() : (faults[key](done) as Promise<Answer>)
  return {
    ...wallet,
    apply: operation => through(operation.key, () => wallet.apply(operation)),
    settle: settlement => through(settlement.key, () => wallet.settle(settlement)),
    reverse: key => through(`undo ${key}`, () => wallet.reverse(key)),
  }
}

/** The key of a leg, or of the whole settlement, in an epoch. */
export function legKey(trade: Trade, name: Parameters<typeof keyOf>[2], epoch = 0): string {
  const plan = { rail: 'saga', steps: [], undo: 'reversal', repeatable: true } as const
  return keyOf(trade.id, newSettlement(plan, epoch), name)
}

const silence = { code: 'TIMEOUT', detail: 'no answer', reached: true, retryAfterMs: null } as const

/** By what a caller sees of them. */
export const FAULTS = {
  refused: async () => ({ outcome: 'refused', code: 'INSUFFICIENT_BALANCE', detail: 'spent' }) as const,
  deferred: async () => ({ outcome: 'deferred', ...silence }) as const,
  lostBefore: async () => ({ outcome: 'unanswered', ...silence }) as const,
  lostAfter: async (done: () => Promise<Outcome>) => {
    await done()
    return { outcome: 'unanswered', ...silence } as const
  },
} satisfies Faults
