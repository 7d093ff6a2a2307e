import { placesOf, type Rounding } from './money.ts'

/** Something that can be owned: `code` is `[A-Z0-9]{1,20}`, `scale` the places of its smallest unit, 0 to 18. */
export interface Asset {
  readonly code: string
  readonly scale: number
}

/** A pair that is traded. Sizes and rates are decimal texts, as the configuration names them. */
export interface Market {
  readonly symbol: string
  readonly base: Asset
  readonly quote: Asset
  /** Smallest step of a price, in the quote asset. */
  readonly tickSize: string
  /** Smallest step of a quantity, in the base asset. */
  readonly lotSize: string
  readonly minNotional: string
  /** Share of the notional the maker pays; below zero for a rebate. */
  readonly makerFee: string
  readonly takerFee: string
  /** How a notional that does not fit the quote asset is rounded; null: the market may have no such notional. */
  readonly rounding: Rounding | null
}

export const ASSET_CODE = /^[A-Z0-9]{1,20}$/
export const SYMBOL = /^([A-Z0-9]{1,20})\/([A-Z0-9]{1,20})$/

/** The two asset codes of `BASE/QUOTE`; null when the text is not a symbol. */
export function splitSymbol(symbol: string): { readonly base: string; readonly quote: string } | null {
  const match = SYMBOL.exec(symbol)
  const [, base, quote] = match ?? []
  return base === undefined || quote === undefined || base === quote ? null : { base, quote }
}

/**
 * Why a market can't be traded, in words with the numbers; null when it can.
 *
 * Price places + quantity places may not exceed the quote asset's scale, since then every notional is exact; a market
 * that names a rounding rule may exceed it (ViaBTC's start-up proof, field-notes.md 1.6).
 */
export function marketFault(market: Market): string | null {
  const { symbol, base, quote, tickSize, lotSize } = market
  const tickPlaces = placesOf(tickSize)
  const lotPlaces = placesOf(lotSize)
  if (tickPlaces > quote.scale) {
    return `market ${symbol}: tick_size ${tickSize} has ${tickPlaces} places, but ${quote.code} has ${quote.scale}`
  }
  if (lotPlaces > base.scale) {
    return `market ${symbol}: lot_size ${lotSize} has ${lotPlaces} places, but ${base.code} has ${base.scale}`
  }
  if (market.rounding === null && tickPlaces + lotPlaces > quote.scale) {
    return (
      `market ${symbol}: price places ${tickPlaces} (tick_size ${tickSize}) + quantity places ${lotPlaces} ` +
      `(lot_size ${lotSize}) = ${tickPlaces + lotPlaces}, more than the ${quote.scale} places of ${quote.code}; ` +
      `raise the scale of ${quote.code}, coarsen tick_size or lot_size, or name a rounding rule (half_even, half_up, down)`
    )
  }
  return null
}
