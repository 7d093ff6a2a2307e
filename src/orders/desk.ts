/**
 * The order desk: it takes orders for all markets, sets aside what they can cost, matches them and stores what came of it,
 * a batch at a time, before it answers. One process at a time has the books; the others stand by.
 *
 * An order passes through: the market's rules; its client order id; its funds (each order by itself, side by side); then, one
 * after the other, the book. What the commands of a moment have changed is one transaction: orders, trades with the lease
 * under which this process settles them, books, holds. Where that fails nobody knows whether it was taken: all that is in
 * memory is thrown away, and the books are read anew.
 */
import { createBatcher } from '../batcher.ts'
import type { Clock } from '../clock.ts'
import type { LegOrder } from '../core/legs.ts'
import { isSameOrder, type Order, type OrderTerms } from '../core/order.ts'
import type { Rail } from '../core/settlement.ts'
import type { Trade } from '../core/trade.ts'
import type { Logger } from '../log.ts'
import type { OrderCommand } from '../matching/commands.ts'
import type { RejectionCode } from '../matching/events.ts'
import { type OrderFault, readLots } from '../matching/order-rules.ts'
import type { InstrumentStore } from '../store/instruments.ts'
import type { OrderStore } from '../store/order-store.ts'
import type { StoredTrade } from '../store/store.ts'
import { createUuidV7Source } from '../uuid.ts'
import type { Wallet } from '../wallet/wallet.ts'
import { openWindow, type PoolWindow } from '../worker/intake.ts'
import { acceptOrder, type NewOrder } from './accept.ts'
import type { Claim, FundsRefusal } from './funds.ts'
import type { MarketChanges } from './market-desk.ts'
import { openSession, type Session } from './session.ts'

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

/** Why an order was not taken. */
export type OrderRefusal =
  | OrderFault
  | FundsRefusal
  | {
      readonly code: 'UNKNOWN_SYMBOL' | 'MARKET_HALTED' | 'CLIENT_ORDER_ID_REUSED' | RejectionCode
      readonly detail: string
    }

/** `isNew` false: it was accepted before, under its client order id. */
export type PlaceAnswer =
  | { readonly order: Order; readonly trades: readonly StoredTrade[]; readonly isNew: boolean }
  | { readonly refusal: OrderRefusal }

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

/** What was stored with a batch, in the order of the markets' events. */
export type DeskListener = (changes: readonly MarketChanges[]) => void

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
  /** Answers whether there is such a market. */
  setHalted(symbol: string, isHalted: boolean): Promise<boolean>
  isHalted(symbol: string): boolean
  /** Told of each batch once it is stored; the returned function ends that. */
  listen(listener: DeskListener): () => void
  /** How many orders were refused for want of funds since the start. */
  refusedForFunds(): number
}

/** The books are not here, or what became of the call is not known. */
export class DeskUnavailableError extends Error {}

const COMMANDS_PER_BATCH = 1000

/** One step of the desk in the order of the book; what it throws fails the whole batch. */
type Command = (session: Session) => Promise<unknown> | unknown

export function createOrderDesk(options: OrderDeskOptions): OrderDesk {
  const { store, pool, clock, log, link, legOrder } = options
  const listeners = new Set<DeskListener>()
  /** Client order ids that are on their way, by user: whoever repeats one waits for the first. */
  const underWay = new Map<string, Promise<unknown>>()
  const newId = createUuidV7Source(clock)
  let session: Session | null = null
  let isStopped = false
  let refusedForFunds = 0
  let cancelPoll = (): void => {}
  let opening: Promise<void> | null = null

  const commands = createBatcher<Command, unknown>(runBatch, COMMANDS_PER_BATCH)
  const lookups = createBatcher<OrderTerms, Order | null>(lookUp, COMMANDS_PER_BATCH, 2)

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
      throw new DeskUnavailableError(
        'it is not known whether it was taken; look it up, or send it again under its client_order_id',
      )
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
    for (const listener of listeners) listener(changes)
  }

  // Placing

  async function place(orders: readonly NewOrder[]): Promise<readonly PlaceAnswer[]> {
    const current = leading()
    // Of a client order id that comes twice in one call the second waits for the first, and the ones between do not.
    const waits: Promise<unknown>[] = []
    const answers = new Array<PlaceAnswer | null>(orders.length).fill(null)
    const asked: Asked[] = []
    const repeated: number[] = []
    for (const [index, order] of orders.entries()) {
      const key = order.clientOrderId === null ? null : `${order.userId} ${order.clientOrderId}`
      const before = key === null ? undefined : underWay.get(key)
      if (before !== undefined) {
        repeated.push(index)
        waits.push(before)
        continue
      }
      const read = readNew(current, order)
      if ('refusal' in read) {
        answers[index] = read
        continue
      }
      const done = Promise.withResolvers<void>()
      if (key !== null) underWay.set(key, done.promise)
      asked.push({
        ...read,
        index,
        done: () => {
          if (key !== null) underWay.delete(key)
          done.resolve()
        },
      })
    }
    try {
      await placeAll(current, asked, answers)
    } finally {
      for (const each of asked) each.done()
    }
    if (repeated.length > 0) {
      await Promise.allSettled(waits)
      const again = await place(repeated.map(index => orders[index] as NewOrder))
      for (const [at, index] of repeated.entries()) answers[index] = again[at] as PlaceAnswer
    }
    return answers as readonly PlaceAnswer[]
  }

  interface Asked {
    readonly index: number
    readonly terms: OrderTerms
    readonly command: OrderCommand
    done(): void
  }

  function readNew(
    current: Session,
    order: NewOrder,
  ): { readonly terms: OrderTerms; readonly command: OrderCommand } | { readonly refusal: OrderRefusal } {
    const desk = current.market(order.symbol)
    if (desk === null) return refused('UNKNOWN_SYMBOL', `no market ${order.symbol} is configured`)
    const accepted = acceptOrder(newId(), order, desk.market)
    return 'fault' in accepted ? { refusal: accepted.fault } : accepted
  }

  async function placeAll(current: Session, asked: readonly Asked[], answers: (PlaceAnswer | null)[]): Promise<void> {
    const isKnown = await Promise.all(
      asked.map(({ terms }) => (terms.clientOrderId === null ? null : lookups.add(terms))),
    )
    const fresh: Asked[] = []
    const known: Promise<void>[] = []
    for (const [at, each] of asked.entries()) {
      const before = isKnown[at] ?? null
      if (before === null) fresh.push(each)
      else {
        known.push(
          answerKnown(before, each.terms).then(answer => {
            answers[each.index] = answer
          }),
        )
      }
    }
    const claims = await current.funds.claim(fresh.map(({ terms, command }) => current.needOf(terms, command)))
    await Promise.all([
      ...known,
      ...fresh.map(async (each, at) => {
        answers[each.index] = await enter(current, each, claims[at] as Claim)
      }),
    ])
  }

  async function lookUp(terms: readonly OrderTerms[]): Promise<readonly (Order | null)[]> {
    const pairs = terms.map(({ userId, clientOrderId }) => ({ userId, clientOrderId: clientOrderId ?? '' }))
    const found = new Map<string, Order>()
    for (const order of await store.byClientOrderIds(pairs)) found.set(`${order.userId} ${order.clientOrderId}`, order)
    return pairs.map(({ userId, clientOrderId }) => found.get(`${userId} ${clientOrderId}`) ?? null)
  }

  async function answerKnown(order: Order, given: OrderTerms): Promise<PlaceAnswer> {
    if (!isSameOrder(order, given)) {
      return refused(
        'CLIENT_ORDER_ID_REUSED',
        `order ${order.id} was accepted under this client_order_id, and is another`,
      )
    }
    return { order, trades: await store.tradesTaken(order), isNew: false }
  }

  /** Into the book, when its turn comes. */
  async function enter(asked: Session, { terms, command }: Asked, claim: Claim): Promise<PlaceAnswer> {
    const answer = (await commands.add(current =>
      current === asked ? match(current, terms, command, claim) : null,
    )) as PlaceAnswer | null
    // The funds were set aside for a desk that is no more; whoever has the books now takes them back.
    if (answer === null) throw new DeskUnavailableError('the order books were opened anew; the order was not taken')
    if ('refusal' in answer && answer.refusal.code === 'INSUFFICIENT_BALANCE') tellOfFunds(terms, answer.refusal)
    return answer
  }

  async function match(current: Session, terms: OrderTerms, command: OrderCommand, claim: Claim): Promise<PlaceAnswer> {
    const desk = current.market(terms.symbol)
    if (desk === null || desk.isHalted) {
      claim.giveUp()
      return refused('MARKET_HALTED', `market ${terms.symbol} takes no orders just now`)
    }
    const isShort = await claim.confirm(current.needOf(terms, command).amount)
    if (isShort !== null) {
      claim.giveUp()
      return { refusal: isShort }
    }
    const placed = desk.place({ terms, command, hold: claim.hold, held: claim.amount })
    if ('refused' in placed) {
      claim.giveUp()
      return refused(placed.refused, wordsOf(placed.refused))
    }
    claim.keep()
    const { order, trades } = placed
    const rail = link.rail()
    return { order, trades: trades.map(trade => pendingTrade(trade, rail, legOrder, current.now())), isNew: true }
  }

  /** F-1: the attempt is logged and counted. */
  function tellOfFunds({ userId, symbol, side, type }: OrderTerms, refusal: OrderRefusal): void {
    refusedForFunds++
    const { available, required, currency } = refusal as FundsRefusal & { code: 'INSUFFICIENT_BALANCE' }
    const amounts = { currency, available: available.toString(), required: required.toString() }
    log.warn({ user_id: userId, symbol, side, type, ...amounts }, 'an order was refused for want of funds')
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
      await last?.close()
    },
    isLeading: () => session !== null,
    place,
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
    async depth(symbol, limit) {
      if (leading().market(symbol) === null) return null
      // As a command in the order of the book nothing is shown that is not stored before it is answered.
      return (await commands.add(current => current.depth(symbol, limit))) as Depth | null
    },
    async setHalted(symbol, isHalted) {
      leading()
      return (await commands.add(current => {
        const desk = current.market(symbol)
        if (desk === null) return false
        desk.isHalted = isHalted
        return true
      })) as boolean
    },
    isHalted: symbol => session?.market(symbol)?.isHalted ?? false,
    listen(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    refusedForFunds: () => refusedForFunds,
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

function refused(
  code: (OrderRefusal & { readonly detail: string })['code'] &
    ('UNKNOWN_SYMBOL' | 'MARKET_HALTED' | 'CLIENT_ORDER_ID_REUSED' | RejectionCode),
  detail: string,
): { readonly refusal: OrderRefusal } {
  return { refusal: { code, detail } }
}

function wordsOf(code: RejectionCode): string {
  return code === 'POST_ONLY_WOULD_CROSS'
    ? 'a post-only order may not trade at once, and this one would'
    : `the book refuses the order: ${code}`
}

function pendingTrade(trade: Trade, rail: Rail, legOrder: LegOrder, recordedAtMs: number): StoredTrade {
  return {
    ...{ trade, rail, legOrder, recordedAtMs, status: 'PENDING', settledAtMs: null, retryCount: 0 },
    ...{ failureReason: null, settlement: null },
  }
}
