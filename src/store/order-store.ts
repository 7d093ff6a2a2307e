/** The port to orders, books and what is held for them. One process at a time writes here: the one that leads. */
import type { LegOrder } from '../core/legs.ts'
import type { Order, OrderStatus } from '../core/order.ts'
import type { Rail } from '../core/settlement.ts'
import type { Trade } from '../core/trade.ts'
import type { Lease, StoredTrade } from './store.ts'

/** The right to run the books, for as long as no other process has taken it over. */
export interface Leadership {
  /** Named by each write. */
  readonly token: bigint
  /** Gives it up. */
  end(): Promise<void>
}

/** Another process runs the books by now: nothing of the write was taken. */
export class NoLongerLeadingError extends Error {
  constructor() {
    super('another process runs the order books by now')
  }
}

export interface StoredBook {
  readonly symbol: string
  /** Of its last event. */
  readonly sequence: number
  readonly isHalted: boolean
}

/** A part of a hold that is free, or (`amount` null) all that remains of it. */
export interface HoldRelease {
  /** Of the call: a UUID. */
  readonly key: string
  readonly hold: string
  readonly currency: string
  /** In the smallest unit. */
  readonly amount: bigint | null
}

/** All that is to be known when the books are begun anew. */
export interface DeskState {
  /** In the order in which they came to rest. */
  readonly openOrders: readonly Order[]
  readonly books: readonly StoredBook[]
  /** Ids that were to be given to orders, and are none's: each may be the key of a hold. */
  readonly unusedIds: readonly UnusedIds[]
  readonly releases: readonly HoldRelease[]
}

/** A block of ids that is one process's to give to orders, in sequence from the first one on (`uuidAfter`). */
export interface IdBlock {
  readonly first: string
  readonly size: number
}

/** Those of a block that no order has. */
export interface UnusedIds {
  readonly first: string
  readonly ids: readonly string[]
}

/** What one batch of commands has made: stored in one transaction. */
export interface DeskBatch {
  readonly token: bigint
  readonly atMs: number
  readonly placed: readonly Order[]
  /** Orders of earlier batches, as they are now. */
  readonly changed: readonly Order[]
  readonly trades: readonly Trade[]
  readonly rail: Rail
  readonly legOrder: LegOrder
  /** Of the trades, as `Intake` has it. */
  readonly lease: Lease | null
  readonly books: readonly StoredBook[]
  readonly releases: readonly HoldRelease[]
}

export interface OrderQuery {
  readonly userIds: readonly string[]
  readonly symbols: readonly string[]
  readonly statuses: readonly OrderStatus[]
  /** Orders whose ids are below this one only. */
  readonly belowId: string | null
  readonly limit: number
}

export interface OrderStore {
  /**
   * Takes over the books; null: another process has them, and is alive.
   *
   * @param onLost the connection that stands for it broke: somebody else may take over.
   */
  lead(onLost: () => void): Promise<Leadership | null>
  load(leadership: Leadership): Promise<DeskState>
  /** Before any of the ids is used; throws `NoLongerLeadingError`. */
  reserveIds(leadership: Leadership, block: IdBlock): Promise<void>
  /** Each of its ids is an order's, or nothing is left of it at the wallet. */
  forgetIds(firsts: readonly string[]): Promise<void>
  /** All of it, or none; throws `NoLongerLeadingError`. */
  commit(batch: DeskBatch): Promise<void>
  released(keys: readonly string[]): Promise<void>
  /** The wallet will not do it: kept for a person. */
  releaseRefused(key: string, why: string): Promise<void>
  /** What operators have made free, and the wallet has not given back yet. */
  releasesOfOperators(): Promise<readonly HoldRelease[]>
  /** Of each pair the order that was accepted, where there is one. */
  byClientOrderIds(
    pairs: readonly { readonly userId: string; readonly clientOrderId: string }[],
  ): Promise<readonly Order[]>
  order(id: string): Promise<Order | null>
  /** Symbols of the markets that take no orders. */
  haltedMarkets(): Promise<ReadonlySet<string>>
  /** Newest first: their ids are given in sequence. */
  orders(query: OrderQuery): Promise<readonly Order[]>
  /** What the order took when it was placed, in the order of execution. */
  tradesTaken(order: Order): Promise<readonly StoredTrade[]>
  /** The users' trades of the order desk that are not settled, and will yet take of each currency; not those resolved. */
  unsettledDebits(userIds: readonly string[]): Promise<readonly UnsettledDebit[]>
}

export interface UnsettledDebit {
  readonly userId: string
  readonly trade: Trade
}
