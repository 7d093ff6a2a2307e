import type { Asset } from '../../src/core/market.ts'
import type { Trade } from '../../src/core/trade.ts'
import { createLogger, type Logger } from '../../src/log.ts'
import { createMemoryStore, type MemoryStore } from '../../src/store/memory-store.ts'
import type { Intake } from '../../src/store/store.ts'
import { createMemoryWallet, type Fault, type FaultScript } from '../../src/wallet/memory-wallet.ts'
import type { BookedWallet, Entry, Outcome, Wallet, WalletLevel } from '../../src/wallet/wallet.ts'
import { createWorkerPool, type PoolOptions, type WorkerPool } from '../../src/worker/pool.ts'
import { type SettlerOptions, settle } from '../../src/worker/settler.ts'
import { ASSETS, BUYER, FEES, SELLER } from './trades.ts'
import { createVirtualClock, type VirtualClock } from './virtual-clock.ts'

/** A call that reached for the wallet, and when; of an operation, what it would move. */
export interface WalletCall {
  readonly call: 'apply' | 'settle' | 'reverse'
  readonly key: string
  readonly atMs: number
  readonly type?: 'debit' | 'credit'
  readonly userId?: string
  readonly currency?: string
  readonly amount?: bigint
  readonly reason?: string
  readonly tradeId?: string | null
}

export type LogLine = Readonly<Record<string, unknown>>

/** The defaults, without jitter. */
export const POLICY = {
  retryMaxAttempts: 3,
  retryBackoffMs: 1_000,
  retryMaxBackoffMs: 30_000,
  retryJitter: 0,
  undoMaxAttempts: 10,
  undoBackoffMs: 1_000,
  undoSlowRetryMs: 60_000,
} as const

export interface RigOptions {
  readonly level?: WalletLevel
  readonly idempotent?: boolean
  readonly faults?: FaultScript
  /** How long the wallet takes for a call; the keys of all calls so far are given, its own last. */
  readonly latencyMs?: number | ((keys: readonly string[]) => number)
}

/** Memory store, memory wallet and a virtual clock, for what workers do with them. */
export interface Rig {
  readonly clock: VirtualClock
  readonly store: MemoryStore
  readonly wallet: BookedWallet
  /** All calls made so far, in order. */
  readonly calls: readonly WalletCall[]
  readonly lines: readonly LogLine[]
  readonly settler: Omit<SettlerOptions, 'record' | 'isHeld'>
  fund(userId: string, currency: string, amount: bigint): Promise<void>
  /** Stores trades for whoever claims first. */
  take(trades: readonly Trade[], how?: Partial<Intake>): Promise<void>
  /** Claims what is due, settles it, moves on to the next due time, until nothing is left before `untilMs` from now. */
  work(untilMs?: number): Promise<void>
  /** Totals in whole smallest units, `CURRENCY of user` by name. */
  balances(): Promise<Readonly<Record<string, bigint>>>
  entriesOf(trade: Trade): Promise<readonly Entry[]>
}

export const OWNER = '00000000-0000-4000-a000-000000000001'
export const LEASE_MS = 30_000
/** Beyond every retry of the way forward and back; slow retries of a parked rollback come after it. */
const WORK_MS = 55_000

const USERS = { buyer: BUYER, seller: SELLER, fees: FEES }

export function createRig(options: RigOptions = {}): Rig {
  const { level = 'settlements', idempotent = true, faults, latencyMs = 0 } = options
  const clock = createVirtualClock()
  const store = createMemoryStore()
  const books = createMemoryWallet({
    assets: ASSETS,
    clock,
    feeUserId: FEES,
    level,
    ...(faults === undefined ? {} : { faults }),
  })
  const calls: WalletCall[] = []
  const lines: LogLine[] = []
  const wallet = slow(observed(books, calls, clock), latencyMs, clock)
  const settler = {
    wallet,
    traits: { level, idempotent },
    policy: POLICY,
    clock,
    random: () => 0.5,
    log: capture(lines),
    deadLettersEnabled: true,
  }
  let funded = 0

  async function work(forMs = WORK_MS): Promise<void> {
    const untilMs = clock.now() + forMs
    for (;;) {
      for (const claimed of await store.claim({ owner: OWNER, untilMs: clock.now() + LEASE_MS }, 1000, clock.now())) {
        const record: SettlerOptions['record'] = async each => (await store.record(OWNER, [each]))[0] === true
        await settle(claimed, { ...settler, record, isHeld: () => true })
      }
      const nextMs = await store.nextDueMs()
      if (nextMs === null || nextMs > untilMs) return
      await clock.advance(nextMs - clock.now())
    }
  }

  return {
    clock,
    store,
    wallet: books,
    calls,
    lines,
    settler,
    fund: async (userId, currency, amount) => {
      const key = `fund-${funded++}`
      const outcome = await books.apply({
        key,
        tradeId: null,
        type: 'credit',
        userId,
        currency,
        amount,
        reason: 'DEPOSIT',
      })
      if (outcome.outcome !== 'applied') throw new Error(`deposit ${outcome.outcome}`)
    },
    take: async (trades, how = {}) => {
      const given = trades.map(trade => ({ trade, isTimeGiven: true }))
      await store.recordTrades(
        { trades: given, rail: 'saga', legOrder: 'buyer-first', lease: null, ...how },
        clock.now(),
      )
    },
    work,
    balances: async () => {
      const balances: Record<string, bigint> = {}
      for (const [who, userId] of Object.entries(USERS)) {
        for (const { code } of ASSETS.values() as Iterable<Asset>) {
          const total = (await books.balance(userId, code))?.total ?? 0n
          if (total !== 0n) balances[`${code} of ${who}`] = total
        }
      }
      return balances
    },
    entriesOf: trade => books.entries({ of: { tradeId: trade.id }, after: null, limit: 1000 }),
  }
}

/** Deposits of enough for `count` trades as `makeTrade` makes them. */
export async function fundBoth(rig: Rig, count = 1): Promise<void> {
  await rig.fund(BUYER, 'USDT', units(60_000 * count))
  await rig.fund(SELLER, 'BTC', units(count))
}

/** Whole coins in the smallest unit of the test assets. */
export function units(coins: number): bigint {
  return BigInt(coins) * 100_000_000n
}

/** A log whose lines are kept as the objects they were written as. */
export function capture(lines: LogLine[]): Logger {
  return createLogger('info', { write: line => lines.push(JSON.parse(line)) })
}

/** The fault for every call whose key ends in `:name`, from its first attempt to the last named. */
export function faultAt(name: string, fault: Fault, attempts = Number.POSITIVE_INFINITY): FaultScript {
  return (call, key, attempt) => (call !== 'reverse' && key.endsWith(`:${name}`) && attempt <= attempts ? fault : null)
}

function observed(wallet: BookedWallet, calls: WalletCall[], clock: VirtualClock): Wallet {
  return {
    ...wallet,
    apply: operation => {
      calls.push({ call: 'apply', atMs: clock.now(), ...operation })
      return wallet.apply(operation)
    },
    settle: settlement => {
      calls.push({ call: 'settle', atMs: clock.now(), key: settlement.key })
      return wallet.settle(settlement)
    },
    reverse: (...args) => {
      calls.push({ call: 'reverse', atMs: clock.now(), key: args[0] })
      return wallet.reverse(...args)
    },
  }
}

/** Answers after a while; what the call does, it does at once. */
function slow(wallet: Wallet, latency: NonNullable<RigOptions['latencyMs']>, clock: VirtualClock): Wallet {
  if (latency === 0) return wallet
  const keys: string[] = []
  const later = async <Done>(key: string, outcome: Promise<Outcome<Done>>): Promise<Outcome<Done>> => {
    keys.push(key)
    const ms = typeof latency === 'number' ? latency : latency(keys)
    await new Promise<void>(resolve => clock.after(ms, resolve))
    return await outcome
  }
  return {
    ...wallet,
    apply: operation => later(operation.key, wallet.apply(operation)),
    settle: settlement => later(settlement.key, wallet.settle(settlement)),
    reverse: (...args) => later(args[0], wallet.reverse(...args)),
  }
}

/** A pool on the rig's store and wallet, with the defaults, changed as the test wants it. */
export function createPool(rig: Rig, change: Partial<PoolOptions> = {}): WorkerPool {
  return createWorkerPool({
    ...rig.settler,
    store: rig.store,
    owner: OWNER,
    workerPoolSize: 10,
    queueCapacity: 1000,
    leaseMs: LEASE_MS,
    pollMs: 1000,
    ...change,
  })
}
