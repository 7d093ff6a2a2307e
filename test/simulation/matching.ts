import { deepStrictEqual } from 'node:assert/strict'
import type { Market } from '../../src/core/market.ts'
import { type Book, bookRulesOf, createBook } from '../../src/matching/book.ts'
import type { Command, OrderCommand, Side } from '../../src/matching/commands.ts'
import type { MarketEvent } from '../../src/matching/events.ts'
import { createNaiveBook, type NaiveBook } from '../support/naive-book.ts'
import { BTC_USDT } from '../support/trades.ts'
import { type Chance, createChance } from './chance.ts'

export interface MatchingStory {
  readonly seed: number
  readonly commands: number
  readonly events: number
  readonly restores: number
  /** How often each thing happened, as `type`, `type reason` or `type code`. */
  readonly seen: Readonly<Record<string, number>>
}

const USERS = 3000
/** They trade so often that they meet themselves. */
const BUSY_USERS = 5
const MIDDLE = 1000
/** Half the width of the band of prices: all that rests is near to what comes. */
const BAND = 12
const MOST_LOTS = 60

const COARSE: Market = {
  ...BTC_USDT,
  base: { code: 'A', scale: 4 },
  quote: { code: 'B', scale: 1 },
  tickSize: '0.1',
  lotSize: '0.0005',
}
/** Notionals that are even; and such that are a few units at most and rarely even, by each rule, and a rebate. */
const MARKETS: readonly Market[] = [
  BTC_USDT,
  { ...COARSE, rounding: 'down', takerFee: '0.25' },
  { ...COARSE, rounding: 'half_even', takerFee: '0.03' },
  { ...COARSE, rounding: 'half_up', takerFee: '-0.1' },
]

/** Random commands through the engine and the oracle: the same events, the same books, also where the engine is restored. */
export function simulateMatching(seed: number, commands: number): MatchingStory {
  const chance = createChance(seed)
  const seen: Record<string, number> = {}
  const story = { seed, commands: 0, events: 0, restores: 0, seen }
  for (const market of MARKETS) {
    const pair = createPair(market, chance)
    for (let count = Math.ceil(commands / MARKETS.length); count > 0; count--) {
      try {
        pair.step(story)
      } catch (cause) {
        const place = `seed ${seed}, command ${story.commands}`
        throw new Error(`${place}: the engine and the oracle differ: ${String(cause)}`, { cause })
      }
    }
  }
  return story
}

interface Tally {
  commands: number
  events: number
  restores: number
  readonly seen: Record<string, number>
}

function createPair(market: Market, chance: Chance): { step(tally: Tally): void } {
  const rules = bookRulesOf(market)
  const naive = createNaiveBook(market)
  let book = createBook(rules)
  let ids: readonly string[] = []
  return {
    step: tally => {
      const command = randomCommand(chance, market, ids, tally.commands++)
      if (command.type !== 'cancel' && command.type !== 'reduce' && chance.is(0.05)) {
        deepStrictEqual(book.costOf(command), naive.costOf(command))
      }
      const events = book.apply(command)
      deepStrictEqual(events, naive.apply(command))
      tally.events += events.length
      for (const event of events) {
        const name = nameOf(event)
        tally.seen[name] = (tally.seen[name] ?? 0) + 1
      }
      if (chance.is(0.05)) ids = compare(book, naive)
      if (!chance.is(0.005)) return
      tally.restores++
      book = createBook(rules, JSON.parse(JSON.stringify(book.state())))
      ids = compare(book, naive)
    },
  }
}

function nameOf(event: MarketEvent): string {
  if (event.type === 'expired') return `${event.type} ${event.reason}`
  return event.type === 'rejected' ? `${event.type} ${event.code}` : event.type
}

/** The ids of the orders that both have. */
function compare(book: Book, naive: NaiveBook): readonly string[] {
  const state = book.state()
  deepStrictEqual(state, naive.state())
  for (const side of ['buy', 'sell'] as const)
    deepStrictEqual(book.depth(side, Number.MAX_SAFE_INTEGER), naive.depth(side))
  const { bestBid, bestAsk } = book
  if (bestBid !== null && bestAsk !== null && bestBid >= bestAsk) throw new Error('the book is crossed')
  return state.orders.map(({ orderId }) => orderId)
}

/** `ids`: of orders that were open not long ago. */
function randomCommand(chance: Chance, market: Market, ids: readonly string[], count: number): Command {
  const known = ids.length > 0 && chance.is(0.9) ? chance.pick(ids) : `order ${chance.int(0, count)}`
  const kind = chance.next()
  if (kind < 0.25) return { type: 'cancel', orderId: known }
  if (kind < 0.33) return { type: 'reduce', orderId: known, lots: chance.int(0, MOST_LOTS) }
  return randomOrder(chance, market, chance.is(0.01) ? known : `order ${count}`)
}

function randomOrder(chance: Chance, market: Market, orderId: string): OrderCommand {
  const userId = `user ${chance.int(1, chance.is(0.4) ? BUSY_USERS : USERS)}`
  const selfTradePrevention = chance.pick(['none', 'expire_taker', 'expire_maker', 'expire_both'] as const)
  const side: Side = chance.pick(['buy', 'sell'])
  const lots = chance.int(1, MOST_LOTS)
  const placed = { orderId, userId, selfTradePrevention }
  const kind = chance.next()
  if (kind < 0.08) return { ...placed, type: 'market', side, lots: chance.is(0.1) ? lots * 20 : lots }
  if (kind < 0.2) return { ...placed, type: 'budget', budget: randomBudget(chance, market) }
  // Toward the other side less often than away from it, so that there is a book to trade with.
  const away = chance.int(-BAND / 3, BAND)
  const ticks = side === 'buy' ? MIDDLE - away : MIDDLE + away
  const timeInForce = chance.pick(['GTC', 'GTC', 'GTC', 'GTC', 'IOC', 'FOK'] as const)
  return { ...placed, type: 'limit', side, ticks, lots, timeInForce, postOnly: timeInForce === 'GTC' && chance.is(0.2) }
}

/** What some orders' worth of lots cost, to the unit or about. */
function randomBudget(chance: Chance, market: Market): bigint {
  const rules = bookRulesOf(market).notional
  const worth = (BigInt(MIDDLE * chance.int(1, 3 * MOST_LOTS)) * rules.numerator) / rules.denominator
  return worth + BigInt(chance.int(1, 9))
}
