/**
 * A deterministic simulation: several processes with their pools and intakes on one store and one wallet, on a virtual
 * clock, while everything goes wrong that a seed can think of: calls that are lost, late or answered in vain, processes that
 * crash, fall asleep or lose their leases, clocks that step, users short of funds. After it all is calm until nothing more
 * happens, and then the money must be where the trades' statuses say (design.md, "What must always be true").
 *
 * What a wallet of level `basic` can't be protected from is left out for it, as the protocol's docs name it: calls that
 * arrive later than they are asked for twice again, and two processes that both believe to hold a lease.
 */
import { type LegOrder, legsOf } from '../../src/core/legs.ts'
import { next, type Rail } from '../../src/core/settlement.ts'
import { acceptTrade, type Trade } from '../../src/core/trade.ts'
import { createLogger } from '../../src/log.ts'
import { createMemoryStore, type MemoryStore } from '../../src/store/memory-store.ts'
import { createMemoryWallet } from '../../src/wallet/memory-wallet.ts'
import type { BookedWallet, WalletLevel } from '../../src/wallet/wallet.ts'
import { createIntake, type TradeIntake } from '../../src/worker/intake.ts'
import { planOf } from '../../src/worker/plan.ts'
import { createWorkerPool, type WorkerPool } from '../../src/worker/pool.ts'
import { ASSETS, BTC_USDT, FEES } from '../support/trades.ts'
import { createVirtualClock, type VirtualClock } from '../support/virtual-clock.ts'
import { type Chance, createChance } from './chance.ts'
import { createHost, type Host } from './host.ts'
import { checkMoment, checkRest, type Ends, rememberOrder } from './invariants.ts'
import { type Network, storeThrough, type Weather, walletThrough } from './network.ts'

export interface Simulated {
  readonly ends: Ends
  /** What happened, in order; the same for the same seed. */
  readonly trace: readonly string[]
}

const START_MS = 1_700_000_000_000
const STORM_MS = 60_000
/** Long enough for every wait and lease to run out, several times over. */
const CALM_MS = 1_200_000
const STEP_MS = 5_000
const LEASE_MS = 15_000

const POLICY = {
  retryMaxAttempts: 3,
  retryBackoffMs: 1_000,
  retryMaxBackoffMs: 30_000,
  retryJitter: 0.2,
  undoMaxAttempts: 3,
  undoBackoffMs: 1_000,
  undoSlowRetryMs: 20_000,
} as const
/** With the time its sender waits: shorter than any two refusals of a leg in doubt take. */
const LATEST_AT_BASIC_MS = 1_400

const SILENT = createLogger('silent')

interface Process {
  readonly host: Host
  readonly pool: WorkerPool
  readonly intake: TradeIntake
}

interface World {
  readonly chance: Chance
  readonly clock: VirtualClock
  readonly store: MemoryStore
  readonly wallet: BookedWallet
  readonly weather: Weather
  readonly level: WalletLevel
  readonly rail: Rail
  readonly legOrder: LegOrder
  readonly userIds: readonly string[]
  readonly processes: Process[]
  readonly trades: Map<string, Trade>
  readonly trace: string[]
  /** What was wrong at some moment. */
  readonly violations: unknown[]
  submissions: number
  keys: number
}

/** Runs one seed to its end; throws, with the seed and what happened to the trade in question, where something is wrong. */
export async function simulate(seed: number): Promise<Simulated> {
  const world = createWorld(seed)
  try {
    await fund(world)
    for (let count = world.chance.int(2, 3); count > 0; count--) world.processes.push(startProcess(world))
    plan(world)
    await world.clock.advance(STORM_MS)
    await calm(world)
    const users = [...world.userIds, FEES]
    const ends = await checkRest([...world.trades.values()], users, FEES, world.store, world.wallet)
    return { ends, trace: world.trace }
  } catch (error) {
    throw explained(seed, world, error)
  }
}

function createWorld(seed: number): World {
  const chance = createChance(seed)
  const level = chance.pick<WalletLevel>(['basic', 'reversals', 'settlements'])
  const clock = createVirtualClock(START_MS)
  const world: World = {
    chance,
    clock,
    level,
    store: createMemoryStore(),
    wallet: createMemoryWallet({ assets: ASSETS, clock, feeUserId: FEES, level }),
    weather: {
      walletFaults: chance.pick([0.02, 0.1, 0.3, 0.5]),
      storeFaults: chance.pick([0, 0.02, 0.1, 0.3]),
      outage: null,
      mayRefuse: level === 'basic',
      mayFailToRenew: level !== 'basic',
      latestMs: level === 'basic' ? LATEST_AT_BASIC_MS : chance.pick([500, 5_000, 40_000]),
    },
    rail: level === 'settlements' && chance.is(0.7) ? 'atomic' : 'saga',
    legOrder: chance.pick<LegOrder>(['buyer-first', 'debits-first']),
    userIds: Array.from({ length: 4 }, () => chance.uuid()),
    processes: [],
    trades: new Map(),
    trace: [],
    violations: [],
    submissions: 0,
    keys: 0,
  }
  return { ...world, wallet: watched(world) }
}

function tell({ trace, clock }: World, what: string): void {
  trace.push(`${clock.now() - START_MS} ${what}`)
}

/** After every call that could have moved money the trade's legs are counted. */
function watched(world: World): BookedWallet {
  const { wallet, weather, chance } = world
  const checked = async <Done>(key: string, done: Promise<Done>): Promise<Done> => {
    const outcome = await done
    const trade = world.trades.get(key.split(':')[0] ?? '')
    if (trade === undefined) return outcome
    try {
      checkMoment(
        trade,
        world.legOrder,
        await wallet.entries({ of: { tradeId: trade.id }, after: null, limit: 10_000 }),
      )
    } catch (error) {
      world.violations.push(error)
    }
    return outcome
  }
  return {
    ...wallet,
    apply: async operation => {
      const outcome = await checked(operation.key, wallet.apply(operation))
      // Who has been given something may spend it at once.
      const isGiven = operation.type === 'credit' && operation.reason === 'TRADE_SETTLEMENT'
      if (isGiven && weather.walletFaults > 0 && chance.is(0.03)) {
        await transfer(world, 'debit', operation.userId, operation.currency, operation.amount)
      }
      return outcome
    },
    settle: settlement => checked(settlement.key, wallet.settle(settlement)),
    reverse: (...args) => checked(args[0], wallet.reverse(...args)),
  }
}

async function fund(world: World): Promise<void> {
  const { chance, userIds } = world
  for (const userId of userIds) {
    // Some are rich, some run out on the way, some have nothing at all.
    for (const currency of ASSETS.keys()) {
      const coins = chance.pick([0, 2, 5, 100]) * (currency === 'USDT' ? 100 : 1)
      if (coins > 0) await transfer(world, 'credit', userId, currency, BigInt(coins) * 100_000_000n)
    }
  }
}

async function transfer(
  world: World,
  type: 'debit' | 'credit',
  userId: string,
  currency: string,
  amount: bigint,
): Promise<void> {
  const reason = type === 'debit' ? 'WITHDRAWAL' : 'DEPOSIT'
  const key = `outside-${world.keys++}`
  const { outcome } = await world.wallet.apply({ key, tradeId: null, type, userId, currency, amount, reason })
  tell(world, `${type} of ${amount} ${currency} for ${userId}: ${outcome}`)
}

function startProcess(world: World): Process {
  const { chance, clock, store, wallet, weather, level, rail, legOrder } = world
  const offsetMs = level === 'basic' ? 0 : chance.pick([0, 0, chance.int(-20_000, 20_000)])
  const host = createHost(clock, chance, offsetMs)
  const owner = chance.uuid()
  const network: Network = { host, chance, weather, tell: what => tell(world, `${owner.slice(0, 4)} ${what}`) }
  const processStore = storeThrough(network, { ...store, record: recordsOf(world) })
  const pool = createWorkerPool({
    store: processStore,
    wallet: walletThrough(network, wallet),
    traits: { level, idempotent: true },
    policy: POLICY,
    clock: host.clock,
    random: () => chance.next(),
    log: SILENT,
    deadLettersEnabled: true,
    owner,
    workerPoolSize: 1,
    queueCapacity: chance.pick([1, 4, 50]),
    leaseMs: LEASE_MS,
    pollMs: chance.pick([1_000, 3_000]),
  })
  const waitsForRoom = chance.is(0.3)
  const intake = createIntake({ store: processStore, pool, clock: host.clock, rail, legOrder, waitsForRoom })
  tell(world, `${owner.slice(0, 4)} starts, its clock ${offsetMs} ms off`)
  pool.start()
  return { host, pool, intake }
}

/** What the model refuses (a settled trade made anything else) is a violation, whoever is told of it. */
function recordsOf(world: World): MemoryStore['record'] {
  return async (...args) => {
    try {
      const stored = await world.store.record(...args)
      args[1].forEach(({ tradeId, token, status, settlement, dueAtMs }, at) => {
        const state =
          settlement === null ? 'derivable' : `${settlement.phase}, epoch ${settlement.epoch}, fee ${settlement.fee}`
        tell(
          world,
          `${args[0].slice(0, 4)} record ${tradeId} ${token} ${status} (${state}, due ${dueAtMs}): ${stored[at]}`,
        )
      })
      return stored
    } catch (error) {
      world.violations.push(error)
      throw error
    }
  }
}

// What happens during the storm

function plan(world: World): void {
  const { chance, clock, level } = world
  const at = (run: () => void): void => {
    clock.after(chance.int(0, STORM_MS), run)
  }
  const often = (least: number, most: number, run: () => void): void => {
    for (let count = chance.int(least, most); count > 0; count--) at(run)
  }
  often(5, 25, () => submit(world, newTrades(world)))
  often(0, 5, () => crash(world))
  often(0, 2, () => void stopGently(world))
  often(0, 4, () => sleep(world))
  often(0, 3, () => outage(world))
  often(0, 15, () => void transfer(world, chance.pick(['debit', 'credit']), ...anyMoney(world)))
  often(0, 6, () => void requeueOne(world))
  if (level !== 'basic') {
    often(0, 2, () => anyAlive(world)?.host.stepClock(chance.int(-20_000, 20_000)))
    // Done by mistake while others work; each of them goes on until it notices.
    often(0, 4, () => void world.store.expireLeases(clock.now()))
  }
}

function anyMoney({ chance, userIds }: World): [userId: string, currency: string, amount: bigint] {
  const currency = chance.pick([...ASSETS.keys()])
  return [chance.pick(userIds), currency, BigInt(chance.int(1, 3)) * 100_000_000n * (currency === 'USDT' ? 100n : 1n)]
}

function anyAlive({ processes, chance }: World): Process | null {
  const alive = processes.filter(({ host }) => host.isAlive())
  return alive.length === 0 ? null : chance.pick(alive)
}

function newTrades(world: World): readonly Trade[] {
  const { chance, userIds, trades, legOrder } = world
  return Array.from({ length: chance.pick([1, 1, 1, 4]) }, () => {
    const fee = () => chance.pick(['0', '0.5', '1.25', '-0.5', '-2'])
    const input = {
      id: chance.uuid(),
      symbol: BTC_USDT.symbol,
      buyerUserId: chance.pick(userIds),
      sellerUserId: chance.pick(userIds),
      price: chance.pick(['100', '99.5']),
      quantity: chance.pick(['1', '0.5', '2']),
      buyerFee: fee(),
      sellerFee: fee(),
      isBuyerMaker: null,
      buyerOrderId: null,
      sellerOrderId: null,
      executedAtMs: START_MS,
    }
    const result = acceptTrade(input, BTC_USDT, FEES)
    if ('faults' in result) throw new Error(JSON.stringify(result.faults))
    const { trade } = result
    trades.set(trade.id, trade)
    rememberOrder(
      trade,
      legsOf(trade, legOrder).map(leg => leg.name),
    )
    return trade
  })
}

/** A client that hands trades in until somebody has told it that they are taken. */
function submit(world: World, trades: readonly Trade[]): void {
  const { clock, chance } = world
  world.submissions++
  let isAnswered = false
  const attempt = (): void => {
    if (isAnswered) return
    clock.after(2_000, attempt)
    const process = anyAlive(world)
    if (process === null) return
    const given = trades.map(trade => ({ trade, isTimeGiven: chance.is(0.5) }))
    process.intake.take(given).then(
      ({ reusedIds, acceptedIds, duplicates }) => {
        const known = acceptedIds.length + duplicates.length
        if (reusedIds.length > 0 || known !== given.length) {
          world.violations.push(new Error('the intake miscounted'))
        }
        tell(world, `taken ${trades.map(({ id }) => id).join()}: ${acceptedIds.length} new`)
        if (!isAnswered) world.submissions--
        isAnswered = true
      },
      () => {},
    )
  }
  attempt()
}

function crash(world: World): void {
  const process = anyAlive(world)
  if (process === null) return
  tell(world, 'a process crashes')
  process.host.die()
  restartLater(world)
}

function restartLater(world: World): void {
  world.clock.after(world.chance.int(0, 10_000), () => world.processes.push(startProcess(world)))
}

async function stopGently(world: World): Promise<void> {
  const process = anyAlive(world)
  if (process === null) return
  tell(world, 'a process is stopped')
  restartLater(world)
  await process.pool.stop(world.chance.pick([10, 1_000, 20_000]))
  process.host.die()
}

function sleep(world: World): void {
  const { chance, level } = world
  const process = anyAlive(world)
  const ms = chance.int(100, 40_000)
  tell(world, `a process sleeps for ${ms}`)
  process?.host.sleep(ms, level !== 'basic' && chance.is(0.5))
}

function outage({ weather, clock, chance }: World): void {
  weather.outage = chance.pick(['away', 'busy', 'silent'] as const)
  clock.after(chance.int(100, 20_000), () => {
    weather.outage = null
  })
}

/** An operator retries a dead letter that nobody has in hand. */
async function requeueOne(world: World): Promise<void> {
  const { store, chance, clock, level, rail, legOrder } = world
  const idle = new Set(store.queue().flatMap(({ owner, tradeId }) => (owner === null ? [tradeId] : [])))
  const open = store.letters().filter(({ status, tradeId }) => status === 'open' && idle.has(tradeId))
  if (open.length === 0) return
  const { tradeId } = chance.pick(open)
  const stored = await store.trade(tradeId)
  if (stored?.settlement == null) return
  const traits = { level, idempotent: true }
  const { plan: planned } = planOf(stored.trade, rail, legOrder, traits)
  const { settlement } = next(stored.settlement, { type: 'requeue' }, clock.now(), planned, POLICY)
  tell(world, `an operator retries ${tradeId}`)
  store.requeue(tradeId, settlement, clock.now())
}

// The calm after it

async function calm(world: World): Promise<void> {
  const { weather, clock, processes } = world
  Object.assign(weather, { walletFaults: 0, storeFaults: 0, outage: null })
  tell(world, 'all is calm')
  if (anyAlive(world) === null) processes.push(startProcess(world))
  const calmMs = clock.now()
  while (!isAtRest(world, calmMs)) {
    if (clock.now() - calmMs > CALM_MS) throw new Error('it does not come to rest')
    await clock.advance(STEP_MS)
  }
}

/** Nothing is due but rollbacks that were tried in vain since all is calm. */
function isAtRest(world: World, calmMs: number): boolean {
  if (world.violations.length > 0) throw world.violations[0]
  // Clocks may be off by as much again as they were stepped.
  const triedSinceMs = calmMs + POLICY.undoSlowRetryMs + 100_000
  return (
    world.submissions === 0 &&
    world.store.queue().every(({ dueAtMs, owner }) => owner === null && (dueAtMs === null || dueAtMs > triedSinceMs))
  )
}

function explained(seed: number, world: World, error: unknown): Error {
  const { level, rail, legOrder, trace } = world
  const message = error instanceof Error ? error.message : String(error)
  const [tradeId] = /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(message) ?? []
  const story = trace.filter(line => tradeId === undefined || line.includes(tradeId) || !/[0-9a-f]{8}-/.test(line))
  const hint = `LEGWORK_TEST_SEED=${seed} npx vitest run test/simulation/simulate.test.ts`
  return new Error(
    `seed ${seed} (${level}, ${rail}, ${legOrder}): ${message}\n${hint}\n${story.slice(-80).join('\n')}`,
    {
      cause: error,
    },
  )
}
