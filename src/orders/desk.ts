/**
 * The order desk: it takes orders for all markets, sets aside what they can cost, matches them and stores what came of it,
 * a batch at a time, before it answers. One process at a time has the books; the others stand by.
 *
 * An order passes through: its client order id; the market's rules; its funds (each order by itself, side by side); then, one
 * after the other, the book. What the commands of a moment have changed is one transaction: orders, trades with the lease
 * under which this process settles them, books, holds. Where that fails nobody knows whether it was taken: all that is in
 * memory is thrown away, and the books are read anew.
 */
import { createBatcher } from '../batcher.ts'
import type { Clock } from '../clock.ts'
import type { LegOrder } from '../core/legs.ts'
import type { Order } from '../core/order.ts'
import type { Rail } from '../core/settlement.ts'
import type { Logger } from '../log.ts'
import { type OrderFault, readLots } from '../matching/order-rules.ts'
import type { InstrumentStore } from '../store/instruments.ts'
import type { OrderStore } from '../store/order-store.ts'
import { createUuidV7Source } from '../uuid.ts'
import type { Wallet } from '../wallet/wallet.ts'
import { openWindow, type PoolWindow } from '../worker/intake.ts'
import type { NewOrder } from './accept.ts'
import type { MarketChanges } from './market-desk.ts'
import { type Command, createPlacing, DeskUnavailableError, type PlaceAnswer, UNKNOWN } from './placing.ts'
import { openSession, type Session } from './session.ts'

export { DeskUnavailableError, type OrderRefusal, type PlaceAnswer } from './placing.ts'

export interface OrderDeskOptions {
  readonly store: OrderStore
  readonly instruments: InstrumentStore
  readonly wallet: Wallet
  /** What the wallet can do; throws until it is known. */
  readonly link: { rail(): Rail; hasHolds(): boolean }
  readonly pool: PoolWindow
  readonly clock: Clock
  readonly log: Logger
  readonly legOrder: LegOrder
  readonly feeUserId: string
  readonly pollMs: number
}

export type ChangeAnswer =
  | { readonly order: Order }
  | { readonly refusal: { readonly code: 'NOT_FOUND' | 'ORDER_NOT_OPEN'; readonly detail: string } | OrderFault }

export interface Depth {
  readonly symbol: string
  /** Of the market's last event. */
  readonly sequence: number
  /** Best first: price, quantity, number of orders. */
  readonly bids: readonly (readonly [bigint, bigint, number])[]
  readonly asks: readonly (readonly [bigint, bigint, number])[]
}

/** Neither may throw: what they are told of has happened. */
export interface DeskListener {
  /** What was stored with a batch, in the order of the markets' events. */
  stored(changes: readonly MarketChanges[]): void
  /** The books are here no longer; where they are opened anew, something may have been stored that was never told. */
  lost(): void
}

export interface OrderDesk {
  /** Begins to look after the books; resolves once it has them, or knows that another process does. */
  start(): Promise<void>
  /** Takes nothing new, ends what is under way and gives up the books. */
  stop(): Promise<void>
  /** Whether this process has the books. */
  isLeading(): boolean
  /** In their order; each is answered by itself, once it is durable. Throws `DeskUnavailableError`. */
  place(orders: readonly NewOrder[]): Promise<readonly PlaceAnswer[]>
  /** @param userId whose it has to be; null: anybody's. */
  cancel(orderId: string, userId: string | null): Promise<ChangeAnswer>
  /** All open orders of a user, or those in one market; answers those it has cancelled. */
  cancelAll(userId: string, symbol: string | null): Promise<readonly Order[]>
  /** @param quantity the new total, a decimal text. */
  reduce(orderId: string, quantity: string, userId: string | null): Promise<ChangeAnswer>
  /** As it is stored; null: no such market. */
  depth(symbol: string, limit: number): Promise<Depth | null>
  /** Looks at the books in its turn; what it sees is stored before it is answered. */
  look<Seen>(at: (books: Pick<Session, 'depth' | 'openOrdersOf'>) => Seen): Promise<Seen>
  /** Answers whether there is such a market. */
  setHalted(symbol: string, isHalted: boolean): Promise<boolean>
  /** Told of each batch once it is stored, from one opening of the books on; the returned function ends that. */
  listen(listener: DeskListener): () => void
  /** How many orders were refused for want of funds since the start. */
  refusedForFunds(): number
}

const COMMANDS_PER_BATCH = 1000

export function createOrderDesk(options: OrderDeskOptions): OrderDesk {
  const { store, pool, clock, log, link, legOrder } = options
  const listeners = new Set<DeskListener>()
  const newId = createUuidV7Source(clock)
  let session: Session | null = null
  let isStopped = false
  let cancelPoll = (): void => {}
  let opening: Promise<void> | null = null

  const commands = createBatcher<Command, unknown>(runBatch, COMMANDS_PER_BATCH)
  const placing = createPlacing({
    store,
    log,
    link,
    legOrder,
    leading,
    lose,
    perform: command => commands.add(command),
  })

  // The books, and who has them

  async function open(): Promise<void> {
    if (isStopped || session !== null) return
    try {
      session = await openSession({
        ...options,
        newId,
        onLost: made => lose(made, 'the connection that stands for it broke'),
      })
      if (session === null) log.info('another process has the order books; this one stands by')
    } catch (error) {
      log.error({ err: error }, 'the order books can not be opened; it is tried again')
    }
    if (session === null && !isStopped) cancelPoll = clock.after(options.pollMs, reopen)
  }

  function reopen(): void {
    opening = open()
  }

  /** What is in memory may not be what is stored: it is read anew. */
  function lose(lost: Session, why: string): void {
    if (session !== lost) return
    session = null
    for (const listener of listeners) listener.lost()
    log.warn(`the order books are given up: ${why}`)
    void lost.close().finally(reopen)
  }

  function leading(): Session {
    if (session === null)
      throw new DeskUnavailableError('this process does not have the order books; try again shortly')
    return session
  }

  // Batches

  async function runBatch(batch: readonly Command[]): Promise<readonly unknown[]> {
    const current = leading()
    current.begin()
    try {
      const answers: unknown[] = []
      for (const command of batch) {
        const answer = command(current)
        answers.push(answer instanceof Promise ? await answer : answer)
      }
      await storeChanges(current)
      return answers
    } catch (error) {
      if (!(error instanceof DeskUnavailableError)) log.error({ err: error }, 'a batch of orders could not be stored')
      lose(current, 'a batch could not be stored')
      throw new DeskUnavailableError(UNKNOWN)
    }
  }

  async function storeChanges(current: Session): Promise<void> {
    const changes = current.takeChanges()
    if (changes.length === 0) return
    const funds = current.funds.take(changes)
    const trades = changes.length === 1 ? (changes[0] as MarketChanges).trades : changes.flatMap(each => each.trades)
    const rail = link.rail()
    const atMs = current.now()
    const window = trades.length === 0 ? null : await openWindow(pool, trades.length)
    try {
      await store.commit({
        ...{ token: current.token, atMs, trades, rail, legOrder, lease: window?.lease ?? null, ...funds },
        placed: changes.flatMap(each => each.placed),
        changed: changes.flatMap(each => each.changed),
        books: changes.map(each => each.book),
      })
      window?.admit(trades, { rail, legOrder, recordedAtMs: atMs })
    } finally {
      window?.close()
    }
    current.funds.stored(funds)
    for (const listener of listeners) listener.stored(changes)
  }

  // Changing

  async function change(
    orderId: string,
    userId: string | null,
    apply: (current: Session, symbol: string) => Order | OrderFault | null,
  ): Promise<ChangeAnswer> {
    const current = leading()
    const before = await store.order(orderId)
    if (before === null || (userId !== null && before.userId !== userId)) {
      return { refusal: { code: 'NOT_FOUND', detail: `there is no order ${orderId}` } }
    }
    const made = (await commands.add(now => (now === current ? apply(now, before.symbol) : null))) as
      | Order
      | OrderFault
      | null
    if (made !== null) return 'code' in made ? { refusal: made } : { order: made }
    const after = await store.order(orderId)
    if (after?.status === 'cancelled') return { order: after }
    if (after !== null && (after.status === 'open' || after.status === 'partially_filled')) {
      throw new DeskUnavailableError('the order books were opened anew; try again')
    }
    return { refusal: { code: 'ORDER_NOT_OPEN', detail: `order ${orderId} is ${after?.status}` } }
  }

  async function look<Seen>(at: (books: Session) => Seen): Promise<Seen> {
    leading()
    // As a command in the order of the book nothing is shown that is not stored before it is answered.
    return (await commands.add(at)) as Seen
  }

  return {
    start() {
      opening = open()
      return opening
    },
    async stop() {
      isStopped = true
      cancelPoll()
      await opening
      await commands.idle()
      const last = session
      session = null
      for (const listener of listeners) listener.lost()
      await last?.close()
    },
    isLeading: () => session !== null,
    place: placing.place,
    cancel: (orderId, userId) =>
      change(orderId, userId, (current, symbol) => current.market(symbol)?.cancel(orderId) ?? null),
    async cancelAll(userId, symbol) {
      leading()
      return (await commands.add(current =>
        current
          .markets()
          .filter(({ market }) => symbol === null || market.symbol === symbol)
          .flatMap(desk => desk.openOrdersOf(userId).map(id => desk.cancel(id) as Order)),
      )) as readonly Order[]
    },
    reduce: (orderId, quantity, userId) =>
      change(orderId, userId, (current, symbol) => {
        const desk = current.market(symbol)
        if (desk === null) return null
        return reduceOf(desk, orderId, quantity)
      }),
    depth: (symbol, limit) => look(books => books.depth(symbol, limit)),
    look,
    async setHalted(symbol, isHalted) {
      leading()
      return (await commands.add(current => {
        const desk = current.market(symbol)
        if (desk === null) return false
        desk.isHalted = isHalted
        return true
      })) as boolean
    },
    listen(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    refusedForFunds: placing.refusedForFunds,
  }
}

function reduceOf(
  desk: NonNullable<ReturnType<Session['market']>>,
  orderId: string,
  quantity: string,
): Order | OrderFault | null {
  const order = desk.openOrder(orderId)
  if (order === null || order.quantity === null) return null
  const lots = readLots(desk.market, quantity)
  // To nothing is to cancel; what is no quantity at all is a fault.
  if (typeof lots !== 'number' && !/^0+(?:\.0*)?$/.test(quantity)) return lots.fault
  const wanted = typeof lots === 'number' ? desk.unitsOf(lots) : 0n
  if (wanted <= order.quantity) return desk.reduce(orderId, wanted)
  return { code: 'INVALID_QUANTITY', field: 'quantity', detail: 'an order can only be reduced: to more, place another' }
}
