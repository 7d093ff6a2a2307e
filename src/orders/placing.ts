/** From an order as a client sends it to the book: the market's rules, its client order id, its funds, its turn. */
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
import { acceptOrder, type NewOrder } from './accept.ts'
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
  done(): void
}

const LOOKUPS_PER_BATCH = 1000

export function createPlacing(options: PlacingOptions): Placing {
  const { store, log, link, legOrder, leading, lose, perform } = options
  /** Client order ids that are on their way, by user: whoever repeats one waits for the first. */
  const underWay = new Map<string, Promise<unknown>>()
  const lookups = createBatcher<OrderTerms, Order | null>(lookUp, LOOKUPS_PER_BATCH, { count: 2 })
  let refusedForFunds = 0

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
    } catch (error) {
      if (error instanceof DeskUnavailableError) throw error
      // Holds may have been placed that nobody knows of; whoever opens the books takes them back.
      log.error({ err: error }, 'orders could not be taken')
      lose(current, 'orders could not be taken')
      throw new DeskUnavailableError(UNKNOWN)
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

  async function placeAll(current: Session, asked: readonly Asked[], answers: (PlaceAnswer | null)[]): Promise<void> {
    const isKnown = await Promise.all(
      asked.map(async ({ terms }) => (terms.clientOrderId === null ? null : await lookups.add(terms))),
    )
    const fresh = asked.filter((_, at) => isKnown[at] === null)
    const claims = await current.funds.claim(fresh.map(({ terms, command }) => current.askOf(terms, command)))
    await Promise.all([
      ...asked.map(async (each, at) => {
        const before = isKnown[at] ?? null
        if (before !== null) answers[each.index] = await answerKnown(before, each.terms)
      }),
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
