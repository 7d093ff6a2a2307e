/** The books for as long as this process has them: read from the database when it takes over, thrown away when it is lost. */
import type { Clock } from '../clock.ts'
import type { Order, OrderTerms } from '../core/order.ts'
import { NO_FEES } from '../core/order-fees.ts'
import type { Logger } from '../log.ts'
import type { NamelessOrder } from '../matching/commands.ts'
import type { InstrumentStore } from '../store/instruments.ts'
import type { OrderStore } from '../store/order-store.ts'
import type { Wallet } from '../wallet/wallet.ts'
import type { Depth } from './desk.ts'
import type { Funds, Need } from './funds.ts'
import { createHeldFunds } from './held-funds.ts'
import { createMarketDesk, type MarketChanges, type MarketDesk } from './market-desk.ts'
import { purchaseNeed } from './needs.ts'
import { createReservedFunds } from './reserved-funds.ts'

export interface SessionOptions {
  readonly store: OrderStore
  readonly instruments: InstrumentStore
  readonly wallet: Wallet
  readonly link: { hasHolds(): boolean }
  readonly clock: Clock
  readonly log: Logger
  readonly feeUserId: string
  readonly pollMs: number
  readonly newId: () => string
  readonly onLost: (session: Session) => void
}

export interface Session {
  /** Of the leadership; named by each write. */
  readonly token: bigint
  readonly funds: Funds
  /** The time of the batch under way: of all that it makes. */
  now(): number
  /** A batch begins. */
  begin(): void
  market(symbol: string): MarketDesk | null
  markets(): readonly MarketDesk[]
  /** What an order must have set aside as the book stands: a purchase at the market costs what the book asks for. */
  needOf(terms: OrderTerms, command: NamelessOrder): Need
  /** What is asked for ahead of its turn: of a purchase at the market a little more, since the book moves until then. */
  askOf(terms: OrderTerms, command: NamelessOrder): Need
  /** Null: no such market. */
  depth(symbol: string, limit: number): Depth | null
  openOrdersOf(userId: string): readonly Order[]
  /** What the commands since the last call have changed, by market. */
  takeChanges(): readonly MarketChanges[]
  close(): Promise<void>
}

/** The hundredth part: what the price may move by, between the asking and the matching, without the asking again. */
const MARGIN = 100n

/** Null: another process has the books. */
export async function openSession(options: SessionOptions): Promise<Session | null> {
  const { store, instruments, wallet, link, clock, log, feeUserId, newId, pollMs } = options
  let lost = false
  let session: Session | null = null
  const leadership = await store.lead(() => {
    lost = true
    if (session !== null) options.onLost(session)
  })
  if (leadership === null) return null
  try {
    const hasHolds = link.hasHolds()
    const state = await store.load(leadership)
    let nowMs = clock.now()
    const now = (): number => nowMs
    const desks = new Map<string, MarketDesk>()
    const ordersOf = new Map<string, Order[]>()
    for (const order of state.openOrders) {
      const others = ordersOf.get(order.symbol)
      if (others === undefined) ordersOf.set(order.symbol, [order])
      else others.push(order)
    }
    for (const market of instruments.markets.values()) {
      const { symbol } = market
      const book = state.books.find(each => each.symbol === symbol) ?? { symbol, sequence: 0, isHalted: false }
      const openOrders = ordersOf.get(symbol) ?? []
      desks.set(symbol, createMarketDesk({ market, feeUserId, book, openOrders, newId, now }))
    }
    // Before anything goes on by itself.
    if (lost) throw new Error('the books were lost while they were opened')
    const { unusedIds, releases } = state
    const funds = hasHolds
      ? createHeldFunds({ wallet, store, leadership, instruments, clock, log, pollMs, newId, unusedIds, releases })
      : createReservedFunds({
          wallet,
          store,
          log,
          newId,
          open: state.openOrders.map(order => promisedTo(desks, order)),
        })
    log.info({ open_orders: state.openOrders.length, markets: desks.size, holds: hasHolds }, 'the order books are open')

    session = {
      token: leadership.token,
      funds,
      now,
      begin() {
        nowMs = clock.now()
      },
      market: symbol => desks.get(symbol) ?? null,
      markets: () => [...desks.values()],
      needOf: (terms, command) => needOf(desks, terms, command),
      askOf(terms, command) {
        const need = needOf(desks, terms, command)
        const isGuess = command.type === 'market' && command.side === 'buy'
        return isGuess ? { ...need, amount: need.amount + need.amount / MARGIN } : need
      },
      depth(symbol, limit) {
        const desk = desks.get(symbol)
        if (desk === undefined) return null
        return { symbol, sequence: desk.sequence(), bids: desk.depth('buy', limit), asks: desk.depth('sell', limit) }
      },
      openOrdersOf: userId =>
        [...desks.values()].flatMap(desk =>
          desk.openOrdersOf(userId).flatMap(orderId => {
            const order = desk.openOrder(orderId)
            return order === null ? [] : [order]
          }),
        ),
      takeChanges() {
        const changes: MarketChanges[] = []
        for (const desk of desks.values()) {
          const changed = desk.takeChanges()
          if (changed !== null) changes.push(changed)
        }
        return changes
      },
      async close() {
        await funds.close()
        await leadership.end()
      },
    }
    return session
  } catch (error) {
    await leadership.end()
    throw error
  }
}

function promisedTo(desks: ReadonlyMap<string, MarketDesk>, order: Order): Need {
  const desk = desks.get(order.symbol)
  if (desk === undefined) throw new Error(`order ${order.id} is of market ${order.symbol}, which is not there`)
  return { userId: order.userId, currency: desk.currencyOf(order.side), amount: desk.needOf(order) }
}

function needOf(desks: ReadonlyMap<string, MarketDesk>, terms: OrderTerms, command: NamelessOrder): Need {
  const desk = desks.get(terms.symbol)
  if (desk === undefined) throw new Error(`market ${terms.symbol} is not there`)
  return { userId: terms.userId, currency: desk.currencyOf(terms.side), amount: amountOf(desk, terms, command) }
}

function amountOf(desk: MarketDesk, { placedQuantity }: OrderTerms, command: NamelessOrder): bigint {
  if (command.type === 'budget') return command.budget
  if (command.type !== 'limit' && command.type !== 'market') return 0n
  if (command.side === 'sell') return placedQuantity ?? 0n
  if (command.type === 'limit') return purchaseNeed(desk.market, command.ticks, command.lots, NO_FEES)
  const { notional, fee } = desk.costOf(command)
  return fee > 0n ? notional + fee : notional
}
