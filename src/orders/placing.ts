/** From an order as a client sends it to the book: its client order id, the market's rules, its funds, its turn. */
import { createBatcher } from '../batcher.ts'
import type { LegOrder } from '../core/legs.ts'
import { isSameOrder, type Order, type OrderTerms } from '../core/order.ts'
import type { Rail } from '../core/settlement.ts'
import type { Trade } from '../core/trade.ts'
import type { Logger } from '../log.ts'
import type { NamelessOrder } from '../matching/commands.ts'
import type { RejectionCode } from '../matching/events.ts'
import type { OrderFault } from '../matching/order-rules.ts'
import type { OrderStore } from '../store/order-store.ts'
import type { StoredTrade } from '../store/store.ts'
import { acceptOrder, type NewOrder, termsOf } from './accept.ts'
import type { Claim, FundsRefusal } from './funds.ts'
import type { Session } from './session.ts'

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

/** The books are not here, or what became of the call is not known. */
export class DeskUnavailableError extends Error {}

/** One step of the desk in the order of the book; its answer may be a promise. What it throws fails the whole batch. */
export type Command = (session: Session) => unknown

export interface PlacingOptions {
  readonly store: Pick<OrderStore, 'byClientOrderIds' | 'tradesTaken'>
  readonly log: Logger
  readonly link: { rail(): Rail }
  readonly legOrder: LegOrder
  /** Throws where this process does not have the books. */
  readonly leading: () => Session
  /** The books are to be read anew. */
  readonly lose: (session: Session, why: string) => void
  readonly perform: (command: Command) => Promise<unknown>
}

export interface Placing {
  readonly place: (orders: readonly NewOrder[]) => Promise<readonly PlaceAnswer[]>
  readonly refusedForFunds: () => number
}

/** An order that keeps the market's rules; `index` is its place in the call. */
interface Asked {
  readonly index: number
  readonly terms: OrderTerms
  readonly command: NamelessOrder
}

/** Of a call, in its order. */
type Answers = (PlaceAnswer | null)[]

const LOOKUPS_PER_BATCH = 1000

export function createPlacing(options: PlacingOptions): Placing {
  const { store, log, link, legOrder, leading, lose, perform } = options
  /** Client order ids that are on their way, by user: whoever repeats one waits for the first. */
  const underWay = new Map<string, Promise<unknown>>()
  const lookups = createBatcher<NewOrder, Order | null>(lookUp, LOOKUPS_PER_BATCH, { count: 2 })
  let refusedForFunds = 0

  async function place(orders: readonly NewOrder[]): Promise<readonly PlaceAnswer[]> {
    const answers: PlaceAnswer[] = []
    while (answers.length < orders.length) answers.push(...(await placeNext(orders.slice(answers.length))))
    return answers
  }

  /** The first of the orders: up to one whose client order id is on its way, be it with one before it. */
  async function placeNext(orders: readonly NewOrder[]): Promise<readonly PlaceAnswer[]> {
    const [first] = orders
    for (let before = underWayOf(first); before !== undefined; before = underWayOf(first)) await before
    const current = leading()
    const next: NewOrder[] = []
    const keys: string[] = []
    const done = Promise.withResolvers<void>()
    for (const order of orders) {
      if (underWayOf(order) !== undefined) break
      const key = keyOf(order)
      if (key !== null) {
        keys.push(key)
        underWay.set(key, done.promise)
      }
      next.push(order)
    }
    try {
      return await placeAll(current, next)
    } catch (error) {
      if (error instanceof DeskUnavailableError) throw error
      // Holds may have been placed that nobody knows of; whoever opens the books takes them back.
      log.error({ err: error }, 'orders could not be taken')
      lose(current, 'orders could not be taken')
      throw new DeskUnavailableError(UNKNOWN)
    } finally {
      for (const key of keys) underWay.delete(key)
      done.resolve()
    }
  }

  function underWayOf(order: NewOrder | undefined): Promise<unknown> | undefined {
    const key = order === undefined ? null : keyOf(order)
    return key === null ? undefined : underWay.get(key)
  }

  /** One that was accepted before is answered so, whatever its market takes by now. */
  async function placeAll(current: Session, orders: readonly NewOrder[]): Promise<readonly PlaceAnswer[]> {
    const known = await Promise.all(
      orders.map(async order => (order.clientOrderId === null ? null : await lookups.add(order))),
    )
    const answers: Answers = new Array(orders.length).fill(null)
    const fresh: Asked[] = []
    for (const [index, order] of orders.entries()) {
      if ((known[index] ?? null) !== null) continue
      const read = readNew(current, order)
      if ('refusal' in read) answers[index] = read
      else fresh.push({ ...read, index })
    }
    await Promise.all([
      ...orders.map(async (order, index) => {
        const before = known[index] ?? null
        if (before !== null) answers[index] = await answerKnown(current, before, order)
      }),
      enterAll(current, fresh, answers),
    ])
    return answers as readonly PlaceAnswer[]
  }

  function readNew(
    current: Session,
    order: NewOrder,
  ): { readonly terms: OrderTerms; readonly command: NamelessOrder } | { readonly refusal: OrderRefusal } {
    const desk = current.market(order.symbol)
    if (desk === null) return refused('UNKNOWN_SYMBOL', `no market ${order.symbol} is configured`)
    if (desk.isHalted) return refused('MARKET_HALTED', haltedWords(order.symbol))
    const accepted = acceptOrder(order, desk.market)
    return 'fault' in accepted ? { refusal: accepted.fault } : accepted
  }

  async function lookUp(orders: readonly NewOrder[]): Promise<readonly (Order | null)[]> {
    const pairs = orders.map(({ userId, clientOrderId }) => ({ userId, clientOrderId: clientOrderId ?? '' }))
    const found = new Map<string, Order>()
    for (const order of await store.byClientOrderIds(pairs)) found.set(keyOf(order) ?? '', order)
    return orders.map(order => found.get(keyOf(order) ?? '') ?? null)
  }

  async function answerKnown(current: Session, order: Order, given: NewOrder): Promise<PlaceAnswer> {
    const desk = current.market(order.symbol)
    if (desk === null) return refused('UNKNOWN_SYMBOL', `no market ${order.symbol} is configured any more`)
    const terms = termsOf(given, desk.market)
    if (terms === null || !isSameOrder(order, terms)) {
      return refused(
        'CLIENT_ORDER_ID_REUSED',
        `order ${order.id} was accepted under this client_order_id, and is another`,
      )
    }
    return { order, trades: await store.tradesTaken(order), isNew: false }
  }

  /**
   * All at once, as far as each has its funds. One that has not, behind one of the same user that has, waits until that is
   * matched: what it gave back, since it left the book or was filled for less, is asked for first.
   */
  async function enterAll(current: Session, asked: readonly Asked[], answers: Answers): Promise<void> {
    const claimsOf = (some: readonly Asked[]): Promise<readonly Claim[]> =>
      current.funds.claim(some.map(({ terms, command }) => current.askOf(terms, command)))
    const turns = (await claimsOf(asked)).map((claim, at) => ({ ...(asked[at] as Asked), claim }))
    /** Users that may have got something back since their claims were made. */
    const freed = new Set<string>()
    for (let from = 0, to = 0; from < turns.length; from = to) {
      const first = turns[from] as (typeof turns)[number]
      if (first.claim.isShort && freed.has(first.terms.userId)) {
        const again = turns.slice(from).filter(({ terms }) => freed.has(terms.userId))
        for (const { claim } of again) claim.giveUp()
        const claims = await claimsOf(again)
        for (const [at, turn] of again.entries()) turn.claim = claims[at] as Claim
        freed.clear()
      }
      to = endOfTurns(turns, from, freed)
      await Promise.all(
        turns.slice(from, to).map(async turn => {
          const answer = await enter(current, turn, turn.claim)
          answers[turn.index] = answer
          if (mayHaveFreed(answer)) freed.add(turn.terms.userId)
        }),
      )
    }
  }

  /** Into the book, when its turn comes. */
  async function enter(asked: Session, { terms, command }: Asked, claim: Claim): Promise<PlaceAnswer> {
    const answer = (await perform(current =>
      current === asked ? match(current, terms, command, claim) : null,
    )) as PlaceAnswer | null
    // The funds were set aside for a desk that is no more; whoever has the books now takes them back.
    if (answer === null) throw new DeskUnavailableError('the order books were opened anew; the order was not taken')
    if ('refusal' in answer && answer.refusal.code === 'INSUFFICIENT_BALANCE') tellOfFunds(terms, answer.refusal)
    return answer
  }

  async function match(
    current: Session,
    terms: OrderTerms,
    command: NamelessOrder,
    claim: Claim,
  ): Promise<PlaceAnswer> {
    const desk = current.market(terms.symbol)
    if (desk === null || desk.isHalted) {
      claim.giveUp()
      return refused('MARKET_HALTED', haltedWords(terms.symbol))
    }
    const isShort = await claim.confirm(current.needOf(terms, command).amount)
    if (isShort !== null) {
      claim.giveUp()
      return { refusal: isShort }
    }
    const placed = desk.place({ id: claim.id, terms, command, hold: claim.hold, held: claim.amount })
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

  return { place, refusedForFunds: () => refusedForFunds }
}

function keyOf({ userId, clientOrderId }: Pick<NewOrder, 'userId' | 'clientOrderId'>): string | null {
  return clientOrderId === null ? null : `${userId} ${clientOrderId}`
}

/** From one on, those that need not wait for one another: the first is not asked. */
function endOfTurns(
  turns: readonly { readonly terms: OrderTerms; readonly claim: Claim }[],
  from: number,
  freed: ReadonlySet<string>,
): number {
  const users = new Set(freed)
  for (let at = from; at < turns.length; at++) {
    const { terms, claim } = turns[at] as (typeof turns)[number]
    if (!claim.isShort) users.add(terms.userId)
    else if (at > from && users.has(terms.userId)) return at
  }
  return turns.length
}

/** Whether some of what was set aside for it, at the wallet, is free again. */
function mayHaveFreed(answer: PlaceAnswer): boolean {
  if ('refusal' in answer) return answer.refusal.code !== 'INSUFFICIENT_BALANCE'
  return answer.order.status !== 'open' || answer.trades.length > 0
}

function refused(
  code: (OrderRefusal & { readonly detail: string })['code'] &
    ('UNKNOWN_SYMBOL' | 'MARKET_HALTED' | 'CLIENT_ORDER_ID_REUSED' | RejectionCode),
  detail: string,
): { readonly refusal: OrderRefusal } {
  return { refusal: { code, detail } }
}

/** What a client whose call failed can do. */
export const UNKNOWN = 'it is not known whether it was taken; look it up, or send it again under its client_order_id'

function haltedWords(symbol: string): string {
  return `market ${symbol} takes no orders just now`
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
