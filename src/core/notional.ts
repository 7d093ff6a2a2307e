import type { Market } from './market.ts'
import { divideRounded, parseStored, type Rounding } from './money.ts'

/** What a tick × a lot is worth: `numerator / denominator` of the quote asset's smallest unit, in lowest terms. */
export interface NotionalRule {
  readonly numerator: bigint
  readonly denominator: bigint
  /** Where the denominator is above 1. */
  readonly rounding: Rounding
  /** The worth as a number where it is whole and small enough for the short way, else 0. */
  readonly shortcut: number
}

/** The rule of a market that can be traded (`marketFault`); throws for one that can't. */
export function notionalRuleOf({ symbol, tickSize, lotSize, base, quote, rounding }: Market): NotionalRule {
  const product = parseStored(tickSize, quote.scale) * parseStored(lotSize, base.scale)
  const one = 10n ** BigInt(base.scale)
  const shared = greatestDivisor(product, one)
  const numerator = product / shared
  const denominator = one / shared
  if (rounding === null && denominator !== 1n)
    throw new Error(`${symbol}: a notional is not even, and no rule rounds it`)
  const isShort = denominator === 1n && numerator <= Number.MAX_SAFE_INTEGER
  return { numerator, denominator, rounding: rounding ?? 'down', shortcut: isShort ? Number(numerator) : 0 }
}

function greatestDivisor(one: bigint, other: bigint): bigint {
  return other === 0n ? one : greatestDivisor(other, one % other)
}

/** The notional of one fill, rounded once. */
export function notionalOfLots(rule: NotionalRule, ticks: number, lots: number): bigint {
  // Most fills fit a number, which is several times as fast; a product that does not is never below 2^53.
  const short = ticks * lots * rule.shortcut
  if (short > 0 && short <= Number.MAX_SAFE_INTEGER) return BigInt(short)
  const product = productOf(rule, ticks, lots)
  return rule.denominator === 1n ? product : divideRounded(product, rule.denominator, rule.rounding)
}

/** Before it is divided by the denominator. */
function productOf({ numerator }: NotionalRule, ticks: number, lots: number): bigint {
  return BigInt(ticks) * BigInt(lots) * numerator
}

/** The most lots whose notional in one fill is within an amount, which is not below zero. */
export function mostLotsWithin(rule: NotionalRule, ticks: number, amount: bigint): bigint {
  const each = productOf(rule, ticks, 1)
  if (rule.denominator === 1n) return amount / each
  return highestProduct(rule, amount) / each
}

/** The highest product that is rounded to the amount or below. */
function highestProduct({ denominator, rounding }: NotionalRule, amount: bigint): bigint {
  const below = (halves: bigint): bigint => (halves * denominator - 1n) / 2n
  switch (rounding) {
    case 'down':
      return below(2n * amount + 2n)
    case 'half_up':
      return below(2n * amount + 1n)
    case 'half_even':
      return amount % 2n === 0n ? ((2n * amount + 1n) * denominator) / 2n : below(2n * amount + 1n)
  }
}

/**
 * No less than the notionals of `lots` at this price in any number of fills add up to. Each fill is rounded on its own: by
 * half a unit at most, and to twice its worth at most.
 */
export function highestNotional(market: Market, ticks: number, lots: number): bigint {
  const rule = notionalRuleOf(market)
  const product = productOf(rule, ticks, lots)
  const { denominator, rounding } = rule
  if (denominator === 1n || rounding === 'down') return divideUp(product, denominator)
  const doubled = divideUp(2n * product, denominator)
  const withHalves = divideUp(2n * product + BigInt(lots) * denominator, 2n * denominator)
  if (doubled < withHalves) return doubled
  return withHalves
}

function divideUp(numerator: bigint, denominator: bigint): bigint {
  return (numerator + denominator - 1n) / denominator
}
