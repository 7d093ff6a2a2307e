import { rateUnits, WHOLE } from '../core/fees.ts'
import type { Market } from '../core/market.ts'
import { mostLotsWithin, type NotionalRule, notionalOfLots, notionalRuleOf } from '../core/notional.ts'
import { notionalPaidBy } from '../core/order-fees.ts'
import type { OrderCommand, SelfTradePrevention, Side } from './commands.ts'
import type { ExpiryReason } from './events.ts'
import type { Levels, RestingOrder } from './levels.ts'

/** What a book has to know of its market. */
export interface BookRules {
  readonly notional: NotionalRule
  /** In units of 10^-18: what a budget pays besides the notional. */
  readonly takerRate: bigint
}

/** The rules of a market that can be traded. */
export function bookRulesOf(market: Market): BookRules {
  return { notional: notionalRuleOf(market), takerRate: rateUnits(market.takerFee) }
}

/** An order on its way through the book. It changes as it fills. */
export interface Taker {
  readonly userId: string
  readonly side: Side
  /** The worst price it takes; null: any. */
  readonly ticks: number | null
  readonly selfTradePrevention: SelfTradePrevention
  /** What is left of its quantity; null for an order by budget. */
  lots: number | null
  /** What is left of its budget, exactly: in units of 10^-18 of the quote asset's smallest unit. */
  budget: bigint
}

/** What the walk comes upon, in order. An order may be taken out of the book as it is named. */
export interface Visitor {
  trades(maker: RestingOrder, lots: number, notional: bigint): void
  /** An own order that has to expire. */
  expires(maker: RestingOrder): void
}

export function takerOf(order: OrderCommand): Taker {
  const { userId, selfTradePrevention } = order
  const side = order.type === 'budget' ? 'buy' : order.side
  const ticks = order.type === 'limit' ? order.ticks : null
  const lots = order.type === 'budget' ? null : order.lots
  const budget = order.type === 'budget' ? order.budget * WHOLE : 0n
  return { userId, side, ticks, selfTradePrevention, lots, budget }
}

/**
 * Takes what the order can have, by price and time, and says why it ended before it was filled; null: it is filled.
 * An own order only counts where something would trade with it.
 */
export function walk(rules: BookRules, makers: Levels, taker: Taker, visitor: Visitor): ExpiryReason | null {
  const { sorted } = makers
  const { userId, selfTradePrevention: mode } = taker
  for (let at = sorted.length - 1; at >= 0; at--) {
    const level = sorted[at]
    if (level === undefined || !takes(taker, level.ticks)) break
    let maker = level.first
    while (maker !== null) {
      // The maker may be taken out of the queue below.
      const { next, lots: offered } = maker
      if (taker.lots === 0) return null
      const lots = affordable(rules, taker, maker)
      if (lots === 0) return 'budget_spent'
      if (maker.userId === userId && mode !== 'none') {
        if (mode !== 'expire_taker') visitor.expires(maker)
        if (mode !== 'expire_maker') return 'self_trade'
      } else {
        const notional = notionalOfLots(rules.notional, maker.ticks, lots)
        pay(rules, taker, lots, notional)
        visitor.trades(maker, lots, notional)
        if (lots < offered) return taker.lots === null ? 'budget_spent' : null
      }
      maker = next
    }
  }
  return taker.lots === 0 ? null : 'immediate'
}

/** Whether its price lets an order take a level. */
export function takes({ side, ticks: worst }: Taker, ticks: number): boolean {
  if (worst === null) return true
  return side === 'buy' ? ticks <= worst : ticks >= worst
}

/** How many of the maker's lots the taker can have. */
function affordable({ notional, takerRate }: BookRules, taker: Taker, maker: RestingOrder): number {
  if (taker.lots !== null) return Math.min(taker.lots, maker.lots)
  const most = mostLotsWithin(notional, maker.ticks, notionalPaidBy(taker.budget, takerRate))
  return most < maker.lots ? Number(most) : maker.lots
}

function pay({ takerRate }: BookRules, taker: Taker, lots: number, notional: bigint): void {
  if (taker.lots === null) taker.budget -= notional * (WHOLE + takerRate)
  else taker.lots -= lots
}

/** Whether an order can be filled whole at once by others' orders alone. */
export function canFill(makers: Levels, taker: Taker): boolean {
  const { sorted } = makers
  const { userId, selfTradePrevention: mode } = taker
  let missing = taker.lots ?? 0
  for (let at = sorted.length - 1; at >= 0; at--) {
    const level = sorted[at]
    if (level === undefined || !takes(taker, level.ticks)) return false
    for (let maker = level.first; maker !== null; maker = maker.next) {
      if (maker.userId !== userId) missing -= maker.lots
      else if (mode === 'expire_taker' || mode === 'expire_both') return false
      if (missing <= 0) return true
    }
  }
  return false
}
