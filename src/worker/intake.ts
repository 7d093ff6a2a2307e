import { type Batcher, createBatcher } from '../batcher.ts'
import type { Clock } from '../clock.ts'
import type { LegOrder } from '../core/legs.ts'
import type { Rail } from '../core/settlement.ts'
import type { Claimed, IntakeResult, NewTrade, SettlementStatus, Store } from '../store/store.ts'
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
    2,
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
  const lease = waitsForRoom ? await pool.reserveWhenRoom(trades.length) : pool.reserve(trades.length)
  const admitted: Claimed[] = []
  try {
    const nowMs = clock.now()
    const result = await store.recordTrades({ trades, rail, legOrder, lease }, nowMs)
    if (lease !== null) {
      const accepted = new Set(result.acceptedIds)
      for (const { trade } of trades) {
        if (!accepted.delete(trade.id)) continue
        admitted.push({
          trade,
          rail,
          legOrder,
          settlement: null,
          token: 1,
          leaseUntilMs: lease.untilMs,
          resumed: false,
          recordedAtMs: nowMs,
        })
      }
    }
    return result
  } finally {
    if (lease === null) pool.wake()
    else pool.admit(admitted, trades.length)
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
