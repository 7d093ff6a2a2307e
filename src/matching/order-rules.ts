import type { Market } from '../core/market.ts'
import { type DecimalFault, formatDecimal, hasTooManyDigits, parseDecimal, parseStored } from '../core/money.ts'
import { notionalOfLots, notionalRuleOf } from '../core/notional.ts'
import { words } from '../core/trade.ts'
import type { NamelessOrder, SelfTradePrevention, Side, TimeInForce } from './commands.ts'

/** An order as somebody gives it: numbers are decimal texts, null is what was left out. */
export interface OrderInput {
  readonly userId: string
  readonly side: Side
  readonly type: 'limit' | 'market'
  /** Of a limit order, and of no other. */
  readonly price: string | null
  readonly quantity: string | null
  /** Of a purchase at the market, in place of the quantity: the most it may cost, fees included. */
  readonly quoteQuantity: string | null
  /** Null: GTC of a limit order. A market order has none, or IOC. */
  readonly timeInForce: TimeInForce | null
  readonly postOnly: boolean
  /** Null: `expire_taker`. */
  readonly selfTradePrevention: SelfTradePrevention | null
}

/** Why an order is not acceptable, and which field of it. */
export interface OrderFault {
  readonly code: 'INVALID_REQUEST' | 'INVALID_PRICE' | 'INVALID_QUANTITY' | 'PRICE_TICK' | 'LOT_SIZE' | 'MIN_NOTIONAL'
  readonly field: 'price' | 'quantity' | 'quote_quantity' | 'time_in_force' | 'post_only'
  readonly detail: string
}

type Fault = { readonly fault: OrderFault }

/** Turns an order into the command that places it, or says the first thing that is wrong with it. */
export function readOrder(market: Market, input: OrderInput): { readonly command: NamelessOrder } | Fault {
  const [fault] = shapeFaults(input)
  if (fault !== undefined) return { fault }
  const { userId, side, price, quantity, quoteQuantity, postOnly } = input
  const placed = { userId, selfTradePrevention: input.selfTradePrevention ?? 'expire_taker' }
  if (quoteQuantity !== null) {
    const budget = readBudget(market, quoteQuantity)
    return typeof budget === 'bigint' ? { command: { ...placed, type: 'budget', budget } } : budget
  }
  const ticks = price === null ? null : readTicks(market, price)
  if (ticks !== null && typeof ticks !== 'number') return ticks
  const lots = readLots(market, quantity ?? '')
  if (typeof lots !== 'number') return lots
  if (ticks === null) return { command: { ...placed, type: 'market', side, lots } }
  const worthFault = notionalFault(market, ticks, lots)
  if (worthFault !== null) return { fault: worthFault }
  const timeInForce = input.timeInForce ?? 'GTC'
  return { command: { ...placed, type: 'limit', side, ticks, lots, timeInForce, postOnly } }
}

/** What goes together in an order and what does not, whatever its market: all that is wrong. */
export function shapeFaults(input: Omit<OrderInput, 'userId'>): readonly OrderFault[] {
  const faults = input.type === 'limit' ? limitFaults(input) : marketFaults(input)
  return faults.flatMap(([isFault, field, detail]) => (isFault ? [{ code: 'INVALID_REQUEST', field, detail }] : []))
}

type ShapeRule = readonly [isFault: boolean, field: OrderFault['field'], detail: string]

function limitFaults({ price, quantity, quoteQuantity, timeInForce, postOnly }: Omit<OrderInput, 'userId'>) {
  const mayRest = timeInForce === null || timeInForce === 'GTC'
  return [
    [price === null, 'price', 'a limit order has a price'],
    [quantity === null, 'quantity', 'a limit order has a quantity'],
    [quoteQuantity !== null, 'quote_quantity', 'only a purchase at the market has a budget'],
    [postOnly && !mayRest, 'post_only', `a ${timeInForce} order never rests, a post-only order only does`],
  ] as const satisfies readonly ShapeRule[]
}

function marketFaults({ side, price, quantity, quoteQuantity, timeInForce, postOnly }: Omit<OrderInput, 'userId'>) {
  const hasBudget = quoteQuantity !== null
  const isOneOfTwo = (quantity === null) === hasBudget || (hasBudget && side === 'sell')
  return [
    [price !== null, 'price', 'a market order has no price'],
    [postOnly, 'post_only', 'a market order never rests'],
    [timeInForce !== null && timeInForce !== 'IOC', 'time_in_force', 'a market order has none, or IOC'],
    [hasBudget && side === 'sell', 'quote_quantity', 'only a purchase has a budget'],
    [!isOneOfTwo, 'quantity', 'a market order has a quantity, or for a purchase quote_quantity: one of the two'],
  ] as const satisfies readonly ShapeRule[]
}

/** A quantity as lots: also the new one of an order that is reduced. */
export function readLots({ lotSize, base }: Market, text: string): number | Fault {
  return readSteps(text, lotSize, base, 'quantity')
}

function readTicks({ tickSize, quote }: Market, text: string): number | Fault {
  return readSteps(text, tickSize, quote, 'price')
}

const CODES = {
  price: { invalid: 'INVALID_PRICE', step: 'PRICE_TICK', stepName: 'tick size' },
  quantity: { invalid: 'INVALID_QUANTITY', step: 'LOT_SIZE', stepName: 'lot size' },
} as const

/** How many steps a text is: a whole number from 1 to 2^53 − 1. */
function readSteps(text: string, step: string, asset: Market['base'], field: keyof typeof CODES): number | Fault {
  const { invalid, step: stepCode, stepName } = CODES[field]
  const units = readPositive(text, asset, field, invalid)
  const stepFault = { code: stepCode, field, detail: `${field} is not a multiple of the ${stepName} ${step}` }
  if (units === 'too_many_places') return { fault: stepFault }
  if (typeof units !== 'bigint') return units
  const size = parseStored(step, asset.scale)
  if (units % size !== 0n) return { fault: stepFault }
  const steps = units / size
  if (steps <= Number.MAX_SAFE_INTEGER) return Number(steps)
  return { fault: { code: invalid, field, detail: `${field} is more than 2^53 − 1 times the ${stepName} ${step}` } }
}

function readBudget(market: Market, text: string): bigint | Fault {
  const field = 'quote_quantity'
  const { quote, minNotional } = market
  const budget = readPositive(text, quote, field, 'INVALID_QUANTITY')
  if (budget === 'too_many_places') {
    return { fault: { code: 'INVALID_QUANTITY', field, detail: words(budget, quote.scale, quote.code) } }
  }
  if (typeof budget !== 'bigint' || budget >= parseStored(minNotional, quote.scale)) return budget
  return { fault: { code: 'MIN_NOTIONAL', field, detail: `the budget is below the least notional ${minNotional}` } }
}

/** Too many places are told apart, since what they mean depends on the field. */
function readPositive(
  text: string,
  { scale, code: assetCode }: Market['base'],
  field: OrderFault['field'],
  code: 'INVALID_PRICE' | 'INVALID_QUANTITY',
): bigint | 'too_many_places' | Fault {
  const units: bigint | DecimalFault = parseDecimal(text, scale)
  if (units === 'too_many_places') return text.startsWith('-') ? notPositive(field, code) : units
  if (typeof units !== 'bigint') return { fault: { code, field, detail: words(units, scale, assetCode) } }
  return units > 0n ? units : notPositive(field, code)
}

function notPositive(field: OrderFault['field'], code: OrderFault['code']): Fault {
  return { fault: { code, field, detail: `${field} must be above zero` } }
}

function notionalFault(market: Market, ticks: number, lots: number): OrderFault | null {
  const { quote, minNotional } = market
  const rule = notionalRuleOf(market)
  // With its fee, which is below the notional, it must still be a number that an edge can show.
  if (hasTooManyDigits(2n * notionalOfLots(rule, ticks, lots), quote.scale)) {
    return { code: 'INVALID_PRICE', field: 'price', detail: 'price × quantity with its fee has over 38 digits' }
  }
  const least = parseStored(minNotional, quote.scale)
  // Compared before it is rounded.
  if (BigInt(ticks) * BigInt(lots) * rule.numerator >= least * rule.denominator) return null
  return {
    code: 'MIN_NOTIONAL',
    field: 'quantity',
    detail: `price × quantity is below the least notional ${minNotional}`,
  }
}

/** A price as a decimal text. */
export function priceText({ tickSize, quote }: Market, ticks: number): string {
  return formatDecimal(BigInt(ticks) * parseStored(tickSize, quote.scale), quote.scale)
}

/** A quantity as a decimal text; zero lots are `"0"`. */
export function quantityText({ lotSize, base }: Market, lots: number): string {
  return formatDecimal(BigInt(lots) * parseStored(lotSize, base.scale), base.scale)
}
