import type { Market } from './market.ts'
import { type DecimalFault, divideRounded, hasTooManyDigits, parseDecimal } from './money.ts'

/** A match of two orders, as it is kept: nothing of it ever changes but `terms`. Amounts are in the smallest unit of their asset. */
export interface Trade {
  readonly id: string
  readonly symbol: string
  readonly base: string
  readonly quote: string
  readonly buyerUserId: string
  readonly sellerUserId: string
  /** Price of one whole base unit, in the quote asset's smallest unit. */
  readonly price: bigint
  readonly quantity: bigint
  /** price × quantity, rounded once; both sides use this number. */
  readonly notional: bigint
  /** In the quote asset; below zero for a rebate. */
  readonly buyerFee: bigint
  readonly sellerFee: bigint
  /** Who collects the fees; kept with the trade, since its keys must always name the same movement. */
  readonly feeUserId: string
  readonly isBuyerMaker: boolean | null
  readonly buyerOrderId: string | null
  readonly sellerOrderId: string | null
  /** Milliseconds since the epoch. */
  readonly executedAtMs: number
  /** Null: of a matching engine elsewhere. */
  readonly terms: Terms | null
}

/** What the order desk knows of a trade. */
export interface Terms {
  /** The keys of the holds that the debits draw on; null: of what is available, from the start or since a retry. */
  readonly buyerHold: string | null
  readonly sellerHold: string | null
  /** Decimal texts; who was the maker says which of the market's rates it is. */
  readonly buyerFeeRate: string
  readonly sellerFeeRate: string
}

/** A trade as somebody hands it in: numbers are texts. */
export interface TradeInput {
  readonly id: string
  readonly symbol: string
  readonly buyerUserId: string
  readonly sellerUserId: string
  readonly price: string
  readonly quantity: string
  readonly buyerFee: string
  readonly sellerFee: string
  readonly isBuyerMaker: boolean | null
  readonly buyerOrderId: string | null
  readonly sellerOrderId: string | null
  readonly executedAtMs: number
}

/** What is wrong with which field of a trade that was handed in. */
export interface TradeFault {
  readonly field: 'symbol' | 'price' | 'quantity' | 'buyer_fee' | 'seller_fee'
  readonly code:
    | 'UNKNOWN_SYMBOL'
    | 'INVALID_PRICE'
    | 'INVALID_QUANTITY'
    | 'INVALID_FEE'
    | 'TOO_MANY_PLACES'
    | 'FEE_EXCEEDS_NOTIONAL'
    | 'REBATE_EXCEEDS_NOTIONAL'
  readonly detail: string
}

/** Makes the trade that is kept from the one handed in, or says everything that is wrong with it. */
export function acceptTrade(
  input: TradeInput,
  market: Market | undefined,
  feeUserId: string,
): { readonly trade: Trade } | { readonly faults: readonly TradeFault[] } {
  if (market === undefined) {
    return { faults: [{ field: 'symbol', code: 'UNKNOWN_SYMBOL', detail: `no market ${input.symbol} is configured` }] }
  }
  const faults: TradeFault[] = []
  const price = readPositive(faults, 'price', input.price, market.quote.scale, market.quote.code)
  const quantity = readPositive(faults, 'quantity', input.quantity, market.base.scale, market.base.code)
  const buyerFee = readFee(faults, 'buyer_fee', input.buyerFee, market)
  const sellerFee = readFee(faults, 'seller_fee', input.sellerFee, market)
  if (price === null || quantity === null || buyerFee === null || sellerFee === null) return { faults }

  const notional = notionalOf(price, quantity, market)
  if (notional === null) {
    const detail =
      `price × quantity = ${input.price} × ${input.quantity} does not fit the ${market.quote.scale} places of ` +
      `${market.quote.code}, and market ${market.symbol} names no rounding rule`
    return { faults: [{ field: 'quantity', code: 'TOO_MANY_PLACES', detail }] }
  }
  const { base, quote } = market
  const trade = { ...input, base: base.code, quote: quote.code, price, quantity, notional, feeUserId, terms: null }
  return withFees({ ...trade, buyerFee: 0n, sellerFee: 0n }, market, buyerFee, sellerFee)
}

/** The trade with other fees, or what is wrong with them: an amount of it may not exceed what an edge can show. */
export function withFees(
  trade: Trade,
  { quote }: Market,
  buyerFee: bigint,
  sellerFee: bigint,
): { readonly trade: Trade } | { readonly faults: readonly TradeFault[] } {
  const { notional } = trade
  const faults = [...feeFaults(notional, buyerFee, sellerFee)]
  const amounts = [notional, notional + buyerFee, notional - sellerFee, -(buyerFee + sellerFee)]
  if (amounts.some(amount => hasTooManyDigits(amount, quote.scale))) {
    faults.push({ field: 'price', code: 'INVALID_PRICE', detail: 'price × quantity with its fees has over 38 digits' })
  }
  return faults.length > 0 ? { faults } : { trade: { ...trade, buyerFee, sellerFee } }
}

/** price × quantity in the quote asset's smallest unit; null when it does not come out even and no rule rounds it. */
function notionalOf(price: bigint, quantity: bigint, market: Market): bigint | null {
  const product = price * quantity
  const one = 10n ** BigInt(market.base.scale)
  if (product % one === 0n) return product / one
  return market.rounding === null ? null : divideRounded(product, one, market.rounding)
}

function feeFaults(notional: bigint, buyerFee: bigint, sellerFee: bigint): readonly TradeFault[] {
  const faults: TradeFault[] = []
  if (sellerFee > notional) {
    faults.push({ field: 'seller_fee', code: 'FEE_EXCEEDS_NOTIONAL', detail: "the seller's fee is above the notional" })
  }
  const rebates = [
    ['buyer_fee', buyerFee],
    ['seller_fee', sellerFee],
  ] as const
  for (const [field, fee] of rebates) {
    if (-fee > notional) {
      faults.push({ field, code: 'REBATE_EXCEEDS_NOTIONAL', detail: 'the rebate is above the notional' })
    }
  }
  return faults
}

function readPositive(
  faults: TradeFault[],
  field: 'price' | 'quantity',
  text: string,
  scale: number,
  code: string,
): bigint | null {
  const invalid = field === 'price' ? 'INVALID_PRICE' : 'INVALID_QUANTITY'
  const units = parseDecimal(text, scale)
  if (typeof units !== 'bigint') {
    faults.push({
      field,
      code: units === 'too_many_places' ? 'TOO_MANY_PLACES' : invalid,
      detail: words(units, scale, code),
    })
    return null
  }
  if (units <= 0n) {
    faults.push({ field, code: invalid, detail: `${field} must be above zero` })
    return null
  }
  return units
}

function readFee(faults: TradeFault[], field: 'buyer_fee' | 'seller_fee', text: string, market: Market): bigint | null {
  const units = parseDecimal(text, market.quote.scale)
  if (typeof units === 'bigint') return units
  const detail = words(units, market.quote.scale, market.quote.code)
  faults.push({ field, code: units === 'too_many_places' ? 'TOO_MANY_PLACES' : 'INVALID_FEE', detail })
  return null
}

/** A fault of a number in words, for whoever sent it. */
export function words(fault: DecimalFault, scale: number, code: string): string {
  switch (fault) {
    case 'not_a_number':
      return 'not a decimal number'
    case 'too_many_digits':
      return 'more than 38 digits'
    case 'too_many_places':
      return `more than the ${scale} places of ${code}`
  }
}
