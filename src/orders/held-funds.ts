/**
 * Funds that are set aside at the wallet, by a hold for each order. That a hold is asked for is stored first, so that one
 * whose order never came to be is taken back, whoever died in between. What is free again is stored with the batch that
 * freed it, and released until the wallet has done it.
 */
import { createBatcher } from '../batcher.ts'
import type { Clock } from '../clock.ts'
import type { Instruments } from '../core/instruments.ts'
import { MAX_SCALE } from '../core/money.ts'
import type { Logger } from '../log.ts'
import type { HoldRelease, Leadership, OrderStore } from '../store/order-store.ts'
import { uuidV7 } from '../uuid.ts'
import type { HoldState, Outcome, Wallet } from '../wallet/wallet.ts'
import { type Claim, claimAll, type Funds, type FundsRefusal, type Need } from './funds.ts'

export interface HeldFundsOptions {
  readonly wallet: Pick<Wallet, 'hold' | 'release' | 'reverse'>
  readonly store: Pick<OrderStore, 'intend' | 'forgetIntents' | 'released' | 'releaseRefused' | 'releasesOfOperators'>
  readonly leadership: Leadership
  readonly instruments: Instruments
  readonly clock: Clock
  readonly log: Logger
  /** Between two looks for what operators have made free. */
  readonly pollMs: number
  /** Left by who had the books before. */
  readonly intents: readonly string[]
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
  let doneIntents: string[] = []
  let releases: HoldRelease[] = []
  /** Keys of releases that are in work: one that is stored may be found there before it is heard of here. */
  const releasing = new Set<string>()
  let cancelLook = (): void => {}
  let looking: Promise<void> | null = null

  const intents = createBatcher<string, void>(async holds => {
    await store.intend(leadership, holds)
    return holds.map(() => undefined)
  }, PER_BATCH)
  const forgotten = createBatcher<string, void>(async holds => {
    await store.forgetIntents(holds)
    return holds.map(() => undefined)
  }, PER_BATCH)
  const released = createBatcher<string, void>(async keys => {
    await store.released(keys)
    return keys.map(() => undefined)
  }, PER_BATCH)
  const work = createLanes()

  for (const hold of options.intents) takeBack(hold)
  for (const release of options.releases) giveBack(release)
  lookLater()

  async function place(need: Need): Promise<{ readonly hold: string } | FundsRefusal> {
    const hold = uuidV7(clock.now())
    await intents.add(hold)
    const outcome = await wallet.hold({ key: hold, ...need }).catch(error => {
      log.warn({ err: error, hold }, 'the call to the wallet failed')
      return null
    })
    if (outcome?.outcome === 'applied') return { hold }
    if (outcome?.outcome === 'refused') {
      void forgotten.add(hold).catch(() => {})
      return refusalOf(need, outcome)
    }
    takeBack(hold)
    return { code: 'UNAVAILABLE', detail: outcome?.detail ?? 'the call to the wallet failed' }
  }

  async function claim(need: Need): Promise<Claim> {
    let placed = need.amount === 0n ? null : await place(need)
    let amount = placed === null || 'hold' in placed ? need.amount : 0n
    const holdNow = (): string | null => (placed !== null && 'hold' in placed ? placed.hold : null)

    /** What was set aside is not enough: it is given back, and all that is needed asked for. */
    async function anew(wanted: bigint): Promise<FundsRefusal | null> {
      const before = holdNow()
      if (before !== null) {
        const reversed = await wallet.reverse(before).catch(() => null)
        if (reversed?.outcome === 'applied') void forgotten.add(before).catch(() => {})
        else takeBack(before)
      }
      amount = 0n
      placed = await place({ ...need, amount: wanted })
      if (!('hold' in placed)) return placed
      amount = wanted
      return null
    }

    return {
      get hold() {
        return holdNow()
      },
      get amount() {
        return amount
      },
      confirm(wanted) {
        if (wanted <= amount) return null
        // Less was refused already: it need not be asked again while the book waits.
        if (placed !== null && 'code' in placed && wanted >= need.amount) return requiring(placed, wanted)
        return anew(wanted)
      },
      keep() {
        const hold = holdNow()
        if (hold !== null) doneIntents.push(hold)
      },
      giveUp() {
        const hold = holdNow()
        if (hold !== null) takeBack(hold)
      },
    }
  }

  /** Of a hold without an order; what became of the call that placed it need not be known. */
  function takeBack(hold: string): void {
    work.add(async () => {
      const outcome = await wallet.reverse(hold)
      if (outcome.outcome === 'applied' || outcome.outcome === 'refused') await forgotten.add(hold)
      return outcome
    }, `a hold without an order is not taken back yet: ${hold}`)
  }

  function giveBack(release: HoldRelease): void {
    const { key, hold, currency, amount } = release
    if (releasing.has(key)) return
    releasing.add(key)
    const scale = instruments.assets.get(currency)?.scale ?? MAX_SCALE
    const amountAtto = amount === null ? null : amount * 10n ** BigInt(MAX_SCALE - scale)
    work.add(async () => {
      const outcome = await wallet.release({ key, hold, amountAtto })
      if (outcome.outcome === 'applied') await released.add(key)
      if (outcome.outcome === 'refused' || outcome.outcome === 'fault') {
        log.error({ hold, currency, code: outcome.code }, `what is free of a hold is not released: ${outcome.detail}`)
        await store.releaseRefused(key, `${outcome.code}: ${outcome.detail}`)
      }
      if (outcome.outcome !== 'deferred' && outcome.outcome !== 'unanswered') releasing.delete(key)
      return outcome
    }, `what is free of a hold is not released yet: ${hold}`)
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

    function add(call: () => Promise<Outcome>, words: string, waitMs = FIRST_WAIT_MS): void {
      if (isClosed) return
      waiting.push(async () => {
        const outcome = await call().catch(error => error as Error)
        const isOpen = outcome instanceof Error || outcome.outcome === 'deferred' || outcome.outcome === 'unanswered'
        if (!isOpen || isClosed) return
        if (waitMs > FIRST_WAIT_MS) log.warn({ err: outcome instanceof Error ? outcome : undefined }, words)
        const cancel = clock.after(waitMs, () => {
          timers.delete(cancel)
          add(call, words, Math.min(waitMs * 2, LONGEST_WAIT_MS))
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
      const taken = { doneIntents, releases }
      doneIntents = []
      releases = []
      return taken
    },
    stored({ releases: toDo }) {
      for (const release of toDo) giveBack(release)
    },
    async close() {
      isClosed = true
      cancelLook()
      await looking
      await work.close()
      await Promise.all([intents.idle(), forgotten.idle(), released.idle()])
    },
  }
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
