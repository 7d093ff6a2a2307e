import { type Batcher, createBatcher } from '../batcher.ts'
import type { Clock } from '../clock.ts'
import type { LegOrder } from '../core/legs.ts'
import type { Rail } from '../core/settlement.ts'
import type { Trade } from '../core/trade.ts'
import type { Claimed, IntakeResult, Lease, NewTrade, SettlementStatus, Store } from '../store/store.ts'
import type { WorkerPool } from './pool.ts'

/** What became of one call's trades; when `reusedIds` is not empty, none of the call was taken. */
export interface Taken {
  readonly acceptedIds: readonly string[]
  readonly duplicates: readonly { readonly id: string; readonly status: SettlementStatus }[]
  readonly reusedIds: readonly string[]
}

export interface IntakeOptions {
  readonly store: Store
  readonly pool: WorkerPool
  readonly clock: Clock
  readonly rail: Rail
  readonly legOrder: LegOrder
  /**
   * Whether to wait until the workers have room. A caller with trades by the million does: it loses nothing by waiting,
   * and what is inserted without room has to be claimed again. One that somebody waits for does not.
   */
  readonly waitsForRoom: boolean
}

export interface TradeIntake {
  /** Answers once the trades are durable: all of the call, or none. Calls that arrive together share a transaction. */
  take(trades: readonly NewTrade[]): Promise<Taken>
}

const CALLS_PER_BATCH = 64

export function createIntake(options: IntakeOptions): TradeIntake {
  const calls: Batcher<readonly NewTrade[], Taken> = createBatcher(
    batch => takeCalls(options, batch),
    CALLS_PER_BATCH,
    { count: 2 },
  )
  return { take: trades => (trades.length === 0 ? Promise.resolve(NOTHING) : calls.add(trades)) }
}

const NOTHING: Taken = { acceptedIds: [], duplicates: [], reusedIds: [] }

async function takeCalls(options: IntakeOptions, calls: readonly (readonly NewTrade[])[]): Promise<readonly Taken[]> {
  const result = await insert(options, calls.flat())
  if (result.reusedIds.length === 0) return shareOut(calls, result)
  const [only] = calls
  if (calls.length === 1 && only !== undefined) return [{ ...NOTHING, reusedIds: result.reusedIds }]
  // One call is at fault, and the others must not pay for it.
  const taken: Taken[] = []
  for (const call of calls) taken.push(...(await takeCalls(options, [call])))
  return taken
}

/** Inserts under a lease of ours where the window has room, which saves the claim; else for whoever claims first. */
async function insert(
  { store, pool, clock, rail, legOrder, waitsForRoom }: IntakeOptions,
  trades: readonly NewTrade[],
): Promise<IntakeResult> {
  const window = await openWindow(pool, trades.length, waitsForRoom)
  try {
    const nowMs = clock.now()
    const result = await store.recordTrades({ trades, rail, legOrder, lease: window.lease }, nowMs)
    const accepted = new Set(result.acceptedIds)
    window.admit(
      trades.flatMap(({ trade }) => (accepted.delete(trade.id) ? [trade] : [])),
      { rail, legOrder, recordedAtMs: nowMs },
    )
    return result
  } finally {
    window.close()
  }
}

/** What the pool has room for: trades that are inserted under its lease need not be claimed. */
export interface Window {
  readonly lease: Lease | null
  /** Those that were inserted: settled by this process, if it has the lease. */
  admit(trades: readonly Trade[], of: Pick<Claimed, 'rail' | 'legOrder' | 'recordedAtMs'>): void
  /** Gives back the room that was not taken; always called. */
  close(): void
}

export type PoolWindow = Pick<WorkerPool, 'reserve' | 'reserveWhenRoom' | 'admit' | 'wake'>

export async function openWindow(pool: PoolWindow, count: number, waitsForRoom = false): Promise<Window> {
  const lease = waitsForRoom ? await pool.reserveWhenRoom(count) : pool.reserve(count)
  let claimed: readonly Claimed[] = []
  return {
    lease,
    admit(trades, of) {
      if (lease === null) return
      const held = { ...of, settlement: null, token: 1, leaseUntilMs: lease.untilMs, resumed: false }
      claimed = trades.map(trade => ({ trade, ...held }))
    },
    close() {
      if (lease === null) pool.wake()
      else pool.admit(claimed, count)
    },
  }
}

/** Whose trades were accepted: of an id that several calls brought, the first call's; the others have a duplicate. */
function shareOut(calls: readonly (readonly NewTrade[])[], result: IntakeResult): readonly Taken[] {
  const open = new Set(result.acceptedIds)
  const known = new Map(result.duplicates.map(({ id, status }) => [id, status]))
  return calls.map(call => {
    const acceptedIds: string[] = []
    const duplicates: { id: string; status: SettlementStatus }[] = []
    for (const { trade } of call) {
      if (open.delete(trade.id)) acceptedIds.push(trade.id)
      else duplicates.push({ id: trade.id, status: known.get(trade.id) ?? 'PENDING' })
    }
    return { acceptedIds, duplicates, reusedIds: [] }
  })
}
