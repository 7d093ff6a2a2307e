/**
 * The workers: they take settlements in hand under a lease and drive them side by side. The database is the queue; what is
 * here is only its window, bounded by `queueCapacity`. A wait is a time in the database, never a sleeping worker.
 */
import { createBatcher } from '../batcher.ts'
import type { Trade } from '../core/trade.ts'
import { isAway } from '../db.ts'
import type { Claimed, Lease, SettlementRecord, Store } from '../store/store.ts'
import { type Left, type SettlerOptions, settle } from './settler.ts'

export interface PoolOptions extends Omit<SettlerOptions, 'record' | 'isHeld'> {
  readonly store: Store
  /** This process among all that share the database: a UUID of its own, new at each start. */
  readonly owner: string
  readonly workerPoolSize: number
  readonly queueCapacity: number
  readonly leaseMs: number
  readonly pollMs: number
  /** Whether settlement is paused, by whatever process; asked at each poll. Not given: it never is. */
  isPaused?(): Promise<boolean>
  /** Told when a pending trade is settled or has failed, with the time from its recording until then. */
  onEnd?(trade: Trade, left: Left & { how: 'rest' }, latencyMs: number): void
}

export interface PoolStatus {
  readonly queueDepth: number
  readonly queueCapacity: number
  readonly workersBusy: number
  readonly workersTotal: number
  readonly inFlight: number
}

export interface WorkerPool {
  /** Begins to claim what is due. */
  start(): void
  /** Room in the window for `count` more, kept until they are admitted or given back; null when it has none. */
  reserve(count: number): Lease | null
  /** The same once there is room, in the order of asking; null when there never will be, or the pool stops. */
  reserveWhenRoom(count: number): Promise<Lease | null>
  /** Takes what was inserted under the lease of a reservation of `reserved`. */
  admit(claimed: readonly Claimed[], reserved: number): void
  /** Something may be due: looks at once. */
  wake(): void
  /** Paused, nothing is claimed or begun, and what was not begun is given back; what is under way goes on to its end. */
  setPaused(isPaused: boolean): void
  /** The same, for as long as the wallet can't be called: what is begun would only be put off again and again. */
  setAway(isAway: boolean): void
  status(): PoolStatus
  /** Claims no more, finishes what is under way (at most `deadlineMs`), gives the rest back. */
  stop(deadlineMs: number): Promise<void>
}

/** How many settlements one worker drives side by side: each waits for the wallet nearly all of its time. */
const SETTLEMENTS_PER_WORKER = 100

const INTERRUPTIONS_MS = 1000
const RECORDS_PER_BATCH = 1000

/** A settlement in hand, waiting in the window or under way. */
interface Hand {
  readonly claimed: Claimed
  leaseUntilMs: number
}

/** False for what goes on after the end: a fee that is owed, a parked rollback. */
function wasPending({ settlement }: Claimed): boolean {
  return settlement === null || settlement.phase === 'forward' || settlement.phase === 'backward'
}

export function createWorkerPool(options: PoolOptions): WorkerPool {
  const { store, clock, owner, leaseMs, pollMs, queueCapacity, log } = options
  const mostInFlight = options.workerPoolSize * SETTLEMENTS_PER_WORKER
  const hands = new Map<string, Hand>()
  let queue: Hand[] = []
  let head = 0
  let inFlight = 0
  let reservedRoom = 0
  let claiming: Promise<void> | null = null
  let claimAgain = false
  let stopped = false
  let interruptions = 0
  let paused = false
  let away = false
  /** How often somebody has told whether it is paused. */
  let switches = 0
  let isKept = true
  let poll: { readonly atMs: number; readonly cancel: () => void } | null = null
  let cancelRenewal = (): void => {}
  let cancelLook = (): void => {}
  const idleListeners: (() => void)[] = []
  const roomWanted: { readonly count: number; readonly resolve: (lease: Lease | null) => void }[] = []

  const recorder = createBatcher<SettlementRecord, boolean>(records => store.record(owner, records), RECORDS_PER_BATCH)
  const settler: SettlerOptions = {
    ...options,
    record: record => recorder.add(record),
    isHeld: claimed => {
      const hand = hands.get(claimed.trade.id)
      // Another claim of the same settlement is another lease, also where both are this process's own.
      return hand !== undefined && hand.claimed.token === claimed.token && hand.leaseUntilMs > clock.now()
    },
  }

  const isResting = (): boolean => stopped || paused || away
  const depth = (): number => queue.length - head
  const room = (): number => queueCapacity - depth() - reservedRoom

  function reserve(count: number): Lease {
    reservedRoom += count
    return { owner, untilMs: clock.now() + leaseMs }
  }

  function enqueue(claimed: Claimed): void {
    const hand: Hand = { claimed, leaseUntilMs: claimed.leaseUntilMs }
    hands.set(claimed.trade.id, hand)
    queue.push(hand)
  }

  /** Begins what the workers have room for; then looks whether the window wants filling. */
  function pump(): void {
    while (depth() > 0 && inFlight < mostInFlight && !isResting()) {
      const hand = queue[head++] as Hand
      inFlight++
      void work(hand)
    }
    if (head > 1024 && head * 2 > queue.length) {
      queue = queue.slice(head)
      head = 0
    }
    if (claimAgain && depth() <= queueCapacity / 2) claim()
    while (roomWanted[0] !== undefined && (isResting() || roomWanted[0].count <= room())) {
      const { count, resolve } = roomWanted.shift() as (typeof roomWanted)[number]
      resolve(isResting() ? null : reserve(count))
    }
    if (inFlight === 0 && depth() === 0) {
      for (const listener of idleListeners.splice(0)) listener()
    }
  }

  async function work(hand: Hand): Promise<void> {
    const { claimed } = hand
    const tradeId = claimed.trade.id
    let left: Left = { how: 'lost' }
    try {
      if (hands.get(tradeId) === hand) left = await settle(claimed, settler)
    } catch (error) {
      if (isAway(error)) interrupted(error)
      else
        log.error(
          { trade_id: tradeId, symbol: claimed.trade.symbol, err: error },
          'settlement interrupted; it is resumed',
        )
      abandon(hand)
    }
    if (hands.get(tradeId) === hand) hands.delete(tradeId)
    inFlight--
    if (left.how === 'waiting') schedule(left.untilMs)
    if (left.how === 'rest') {
      if (left.againAtMs !== null) schedule(left.againAtMs)
      if (wasPending(claimed)) options.onEnd?.(claimed.trade, left, clock.now() - claimed.recordedAtMs)
    }
    pump()
  }

  /** A database that goes away interrupts whatever is in hand: one line tells of all that it does within a second. */
  function interrupted(error: unknown): void {
    interruptions++
    if (interruptions > 1) return
    clock.after(INTERRUPTIONS_MS, () => {
      log.error({ err: error, settlements: interruptions }, 'the database is away; settlements in hand are resumed')
      interruptions = 0
    })
  }

  /** Not stored where it stands: due after a poll, for anybody, who then takes it as resumed. */
  function abandon({ claimed }: Hand): void {
    const dueMs = clock.now() + pollMs
    store.renew({ owner, untilMs: dueMs }, [{ tradeId: claimed.trade.id, token: claimed.token }]).then(
      () => schedule(dueMs),
      () => {}, // The database is away: the lease runs out by itself.
    )
  }

  function claim(): void {
    claimAgain = true
    if (claiming !== null || isResting()) return
    const limit = room()
    if (limit <= 0) return
    claimAgain = false
    const nowMs = clock.now()
    claiming = store
      .claim({ owner, untilMs: nowMs + leaseMs }, limit, nowMs)
      .then(async claimed => {
        if (isResting()) return await giveBack(claimed)
        for (const each of claimed) enqueue(each)
        if (claimed.length === limit) claimAgain = true
        else schedule((await store.nextDueMs()) ?? Number.POSITIVE_INFINITY)
      })
      .catch((error: unknown) => {
        log.error({ err: error }, 'claiming due settlements failed; tried again at the next poll')
      })
      .finally(() => {
        claiming = null
        schedule(clock.now() + pollMs)
        pump()
      })
  }

  /** One timer: the earliest moment at which something may be due, and a poll at the latest. */
  function schedule(atMs: number): void {
    const wanted = Math.min(atMs, clock.now() + pollMs)
    if (stopped || (poll !== null && poll.atMs <= wanted)) return
    poll?.cancel()
    const cancel = clock.after(Math.max(wanted - clock.now(), 1), () => {
      poll = null
      claim()
    })
    poll = { atMs: wanted, cancel }
  }

  /** Keeps the leases of what is still in hand; what is no longer ours is dropped. */
  function renewLater(): void {
    cancelRenewal = clock.after(leaseMs / 3, () => {
      void renew().finally(() => {
        if (isKept) renewLater()
      })
    })
  }

  async function renew(): Promise<void> {
    const nowMs = clock.now()
    const untilMs = nowMs + leaseMs
    const ending = [...hands.values()].filter(hand => hand.leaseUntilMs < nowMs + (leaseMs * 2) / 3)
    if (ending.length === 0) return
    try {
      const held = ending.map(({ claimed }) => ({ tradeId: claimed.trade.id, token: claimed.token }))
      const kept = await store.renew({ owner, untilMs }, held)
      for (const hand of ending) {
        const { id } = hand.claimed.trade
        if (kept.has(id)) hand.leaseUntilMs = untilMs
        else if (hands.get(id) === hand) hands.delete(id)
      }
    } catch (error) {
      log.warn({ err: error, held: ending.length }, 'leases could not be renewed; what runs out is left to others')
    }
  }

  async function isPaused(): Promise<boolean> {
    return (await options.isPaused?.()) === true
  }

  /** Another process may have paused settlement, or let it go on. */
  function lookLater(): void {
    if (options.isPaused === undefined) return
    cancelLook = clock.after(pollMs, () => {
      const seen = switches
      void isPaused()
        .then(
          isPausedNow => {
            // What was told meanwhile is newer than what was read.
            if (switches === seen) setPaused(isPausedNow)
          },
          () => {}, // The database is away: what was known last stays.
        )
        .finally(() => {
          if (!stopped) lookLater()
        })
    })
  }

  function setPaused(isPaused: boolean): void {
    switches++
    if (paused === isPaused || stopped) return
    paused = isPaused
    log.warn(isPaused ? 'settlement is paused' : 'settlement goes on')
    changed()
  }

  function setAway(isAway: boolean): void {
    if (away === isAway || stopped) return
    away = isAway
    changed()
  }

  /** Whether work is begun may have changed. */
  function changed(): void {
    if (isResting()) void giveBack(takeWaiting())
    else claim()
    pump()
  }

  /** Empties the window of what is still ours and not begun. */
  function takeWaiting(): readonly Claimed[] {
    const waiting = queue.slice(head).filter(hand => hands.get(hand.claimed.trade.id) === hand)
    queue = []
    head = 0
    for (const { claimed } of waiting) hands.delete(claimed.trade.id)
    return waiting.map(({ claimed }) => claimed)
  }

  async function idle(): Promise<void> {
    if (inFlight > 0 || depth() > 0) await new Promise<void>(resolve => idleListeners.push(resolve))
  }

  async function within(deadlineMs: number, done: Promise<unknown>): Promise<void> {
    let callOff = (): void => {}
    const late = new Promise<void>(resolve => {
      callOff = clock.after(deadlineMs, resolve)
    })
    await Promise.race([done, late])
    callOff()
  }

  return {
    start() {
      renewLater()
      lookLater()
      // It is claimed from the store that knows whether settlement is paused; what is handed in here must wait for the answer.
      if (options.isPaused === undefined) return claim()
      void isPaused()
        .then(setPaused, () => {})
        .finally(claim)
    },
    reserve(count) {
      return isResting() || claimAgain || roomWanted.length > 0 || count > room() ? null : reserve(count)
    },
    async reserveWhenRoom(count) {
      if (isResting() || count > queueCapacity) return null
      if (roomWanted.length === 0 && count <= room()) return reserve(count)
      return await new Promise(resolve => roomWanted.push({ count, resolve }))
    },
    admit(claimed, reserved) {
      reservedRoom -= reserved
      if (isResting()) void giveBack(claimed)
      else for (const each of claimed) enqueue(each)
      pump()
    },
    wake: claim,
    setPaused,
    setAway,
    status: () => ({
      queueDepth: depth(),
      queueCapacity,
      workersBusy: Math.ceil(inFlight / SETTLEMENTS_PER_WORKER),
      workersTotal: options.workerPoolSize,
      inFlight,
    }),
    async stop(deadlineMs) {
      stopped = true
      poll?.cancel()
      cancelLook()
      const waiting = takeWaiting()
      pump()
      await within(deadlineMs, Promise.all([giveBack(waiting), claiming, idle()]))
      isKept = false
      cancelRenewal()
      if (hands.size > 0)
        log.warn({ in_flight: hands.size }, 'stopped before everything under way had ended; it is resumed')
    },
  }

  async function giveBack(waiting: readonly Claimed[]): Promise<void> {
    const held = (entries: readonly Claimed[]) => entries.map(({ trade, token }) => ({ tradeId: trade.id, token }))
    const begun = waiting.filter(({ resumed }) => resumed)
    const fresh = waiting.filter(({ resumed }) => !resumed)
    try {
      // Of what somebody had begun before us the doubt must stay: it is let go as an expired lease, not given back.
      if (begun.length > 0) await store.renew({ owner, untilMs: clock.now() }, held(begun))
      if (fresh.length > 0) await store.release(owner, held(fresh), clock.now())
    } catch (error) {
      log.warn({ err: error, held: waiting.length }, 'leases could not be given back; they run out by themselves')
    }
  }
}
