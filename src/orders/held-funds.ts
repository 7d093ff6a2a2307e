/**
 * Funds that are set aside at the wallet, by a hold for each order, whose key is the order's id. A hold whose order never came
 * to be is taken back, whoever died in between: its id is of a block that is noted (order-ids.ts). What is free again is stored
 * with the batch that freed it, and released until the wallet has done it.
 */
import { createBatcher } from '../batcher.ts'
import type { Clock } from '../clock.ts'
import type { Instruments } from '../core/instruments.ts'
import { MAX_SCALE } from '../core/money.ts'
import type { Logger } from '../log.ts'
import type { HoldRelease, Leadership, OrderStore, UnusedIds } from '../store/order-store.ts'
import { uuidV7 } from '../uuid.ts'
import type { HoldState, Outcome, Wallet } from '../wallet/wallet.ts'
import { type Claim, claimAll, type Funds, type FundsRefusal, type Need } from './funds.ts'
import { createOrderIds } from './order-ids.ts'

export interface HeldFundsOptions {
  readonly wallet: Pick<Wallet, 'hold' | 'release' | 'reverse'>
  readonly store: Pick<OrderStore, 'reserveIds' | 'forgetIds' | 'released' | 'releaseRefused' | 'releasesOfOperators'>
  readonly leadership: Leadership
  readonly instruments: Instruments
  readonly clock: Clock
  readonly log: Logger
  /** Between two looks for what operators have made free. */
  readonly pollMs: number
  readonly newId: () => string
  /** Left by who had the books before. */
  readonly unusedIds: readonly UnusedIds[]
  readonly releases: readonly HoldRelease[]
}

const PER_BATCH = 1000
/** Of what goes on by itself: calls at once, since a wallet takes many in one step; and waits between tries. */
const LANES = 500
const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 30_000

export function createHeldFunds(options: HeldFundsOptions): Funds {
  const { wallet, store, leadership, instruments, clock, log, pollMs } = options
  let isClosed = false
  /** Ids of orders that the next batch stores, or that the one under way does. */
  let kept: string[] = []
  let storing: string[] = []
  let releases: HoldRelease[] = []
  /** Keys of releases that are in work: one that is stored may be found there before it is heard of here. */
  const releasing = new Set<string>()
  let cancelLook = (): void => {}
  let looking: Promise<void> | null = null

  const ids = createOrderIds({ store, leadership, newId: options.newId })
  const released = createBatcher<string, void>(async keys => {
    await store.released(keys)
    return keys.map(() => undefined)
  }, PER_BATCH)
  const work = createLanes()

  for (const unused of options.unusedIds) takeAllBack(unused)
  for (const release of options.releases) giveBack(release)
  lookLater()

  /** Where it is not known whether the wallet has set it aside, it is taken back. */
  async function place(id: string, need: Need): Promise<'placed' | FundsRefusal> {
    const outcome = await wallet.hold({ key: id, ...need }).catch(error => {
      log.warn({ err: error, hold: id }, 'the call to the wallet failed')
      return null
    })
    if (outcome?.outcome === 'applied') return 'placed'
    if (outcome?.outcome === 'refused') {
      ids.decided(id)
      return refusalOf(need, outcome)
    }
    if (outcome?.outcome === 'fault') {
      // Under its key somebody else's money has moved, which is not ours to take back.
      log.error({ hold: id, code: outcome.code }, `funds can not be held: ${outcome.detail}`)
      ids.decided(id)
      return { code: 'UNAVAILABLE', detail: outcome.detail }
    }
    takeBack(id)
    return { code: 'UNAVAILABLE', detail: outcome?.detail ?? 'the call to the wallet failed' }
  }

  async function claim(need: Need): Promise<Claim> {
    let id = await ids.next()
    let placed = need.amount === 0n ? null : await place(id, need)
    let amount = placed === 'placed' ? need.amount : 0n

    /** What was set aside is not enough: it is given back, and all that is needed asked for. */
    async function anew(wanted: bigint): Promise<FundsRefusal | null> {
      if (placed === 'placed') {
        const reversed = await wallet.reverse(id).catch(() => null)
        if (reversed?.outcome === 'applied') ids.decided(id)
        else takeBack(id)
      }
      if (placed !== null) id = await ids.next()
      amount = 0n
      placed = await place(id, { ...need, amount: wanted })
      if (placed !== 'placed') return placed
      amount = wanted
      return null
    }

    return {
      get id() {
        return id
      },
      get hold() {
        return placed === 'placed' ? id : null
      },
      get amount() {
        return amount
      },
      get isShort() {
        return placed !== null && placed !== 'placed' && placed.code === 'INSUFFICIENT_BALANCE'
      },
      confirm(wanted) {
        if (wanted <= amount) return null
        // Less was refused already: it need not be asked again while the book waits.
        if (placed !== null && placed !== 'placed' && wanted >= need.amount) return requiring(placed, wanted)
        return anew(wanted)
      },
      keep() {
        kept.push(id)
      },
      giveUp() {
        if (placed === 'placed') takeBack(id)
        // What was refused, or not answered, is decided by itself.
        if (placed === null) ids.decided(id)
      },
    }
  }

  /** Of ids that another process had, and that are no order's: under each there may be a hold. */
  function takeAllBack({ first, ids: unused }: UnusedIds): void {
    let left = unused.length
    if (left === 0) ids.forget(first)
    for (const id of unused) {
      takeBack(id, () => {
        if (--left === 0) ids.forget(first)
      })
    }
  }

  /** Of a hold without an order; what became of the call that placed it need not be known. */
  function takeBack(hold: string, done = () => ids.decided(hold)): void {
    const call = async (): Promise<Outcome> => {
      const outcome = await wallet.reverse(hold)
      if (outcome.outcome === 'applied') done()
      // Not remembered: the same reversal may succeed later. Until then the money of nobody's order stands aside.
      if (outcome.outcome === 'refused' || outcome.outcome === 'fault') {
        log.error({ hold, code: outcome.code }, `a hold without an order can not be taken back: ${outcome.detail}`)
      }
      return outcome
    }
    work.add(call, `a hold without an order is not taken back yet: ${hold}`, outcome => !isApplied(outcome))
  }

  function giveBack(release: HoldRelease): void {
    const { key, hold, currency, amount } = release
    if (releasing.has(key)) return
    releasing.add(key)
    const scale = instruments.assets.get(currency)?.scale ?? MAX_SCALE
    const amountAtto = amount === null ? null : amount * 10n ** BigInt(MAX_SCALE - scale)
    const call = async (): Promise<Outcome> => {
      const outcome = await wallet.release({ key, hold, amountAtto })
      if (outcome.outcome === 'applied') await released.add(key)
      if (outcome.outcome === 'refused' || outcome.outcome === 'fault') {
        log.error({ hold, currency, code: outcome.code }, `what is free of a hold is not released: ${outcome.detail}`)
        await store.releaseRefused(key, `${outcome.code}: ${outcome.detail}`)
      }
      if (outcome.outcome !== 'deferred' && outcome.outcome !== 'unanswered') releasing.delete(key)
      return outcome
    }
    work.add(call, `what is free of a hold is not released yet: ${hold}`, isUnknown)
  }

  function lookLater(): void {
    if (isClosed) return
    cancelLook = clock.after(pollMs, () => {
      looking = look().finally(lookLater)
    })
  }

  async function look(): Promise<void> {
    try {
      for (const release of await store.releasesOfOperators()) giveBack(release)
    } catch (error) {
      log.warn({ err: error }, 'what operators have made free of holds can not be read; it is tried again')
    }
  }

  /** Calls that are repeated until they are answered, some at a time; those that wait hold nobody up. */
  function createLanes() {
    const waiting: (() => Promise<void>)[] = []
    let busy = 0
    const idle: (() => void)[] = []
    const timers = new Set<() => void>()

    function next(): void {
      while (busy < LANES && !isClosed) {
        const run = waiting.shift()
        if (run === undefined) break
        busy++
        void run().finally(() => {
          busy--
          next()
        })
      }
      if (busy === 0) for (const listener of idle.splice(0)) listener()
    }

    function add(
      call: () => Promise<Outcome>,
      words: string,
      isOpen: (outcome: Outcome | Error) => boolean,
      waitMs = FIRST_WAIT_MS,
    ): void {
      if (isClosed) return
      waiting.push(async () => {
        const outcome = await call().catch(error => error as Error)
        if (isClosed || !isOpen(outcome)) return
        if (waitMs > FIRST_WAIT_MS) log.warn({ err: outcome instanceof Error ? outcome : undefined }, words)
        const askedMs = 'retryAfterMs' in outcome ? (outcome.retryAfterMs ?? 0) : 0
        const cancel = clock.after(Math.max(waitMs, askedMs), () => {
          timers.delete(cancel)
          add(call, words, isOpen, Math.min(waitMs * 2, LONGEST_WAIT_MS))
        })
        timers.add(cancel)
      })
      next()
    }

    return {
      add,
      close: async () => {
        for (const cancel of timers) cancel()
        waiting.length = 0
        if (busy > 0) await new Promise<void>(resolve => idle.push(resolve))
      },
    }
  }

  return {
    claim: needs => claimAll(needs, claim),
    take(changes) {
      for (const { freed } of changes) {
        for (const { order, currency, amount } of freed) {
          if (order.hold !== null) releases.push({ key: uuidV7(clock.now()), hold: order.hold, currency, amount })
        }
      }
      const taken = { releases }
      releases = []
      storing = kept
      kept = []
      return taken
    },
    stored({ releases: toDo }) {
      for (const id of storing.splice(0)) ids.decided(id)
      for (const release of toDo) giveBack(release)
    },
    async close() {
      isClosed = true
      cancelLook()
      await looking
      await work.close()
      await Promise.all([ids.close(), released.idle()])
    },
  }
}

function isApplied(outcome: Outcome | Error): boolean {
  return !(outcome instanceof Error) && outcome.outcome === 'applied'
}

/** Nobody has said what became of the call. */
function isUnknown(outcome: Outcome | Error): boolean {
  return outcome instanceof Error || outcome.outcome === 'deferred' || outcome.outcome === 'unanswered'
}

function requiring(refusal: FundsRefusal, required: bigint): FundsRefusal {
  return refusal.code === 'INSUFFICIENT_BALANCE' ? { ...refusal, required } : refusal
}

function refusalOf({ currency, amount }: Need, outcome: Outcome<HoldState> & { outcome: 'refused' }): FundsRefusal {
  if (outcome.code === 'INSUFFICIENT_BALANCE' || outcome.code === 'UNKNOWN_CURRENCY') {
    const { available = 0n, required = amount } = outcome.amounts ?? {}
    return { code: 'INSUFFICIENT_BALANCE', currency, available, required }
  }
  return { code: 'UNAVAILABLE', detail: `the wallet refuses to hold funds: ${outcome.code}: ${outcome.detail}` }
}
