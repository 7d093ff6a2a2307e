import type { Asset, Market } from './market.ts'

/** The assets and markets in force, by code and by symbol. */
export interface Instruments {
  readonly assets: ReadonlyMap<string, Asset>
  readonly markets: ReadonlyMap<string, Market>
}

/** Throws for a symbol that is not there: whatever is stored was checked when it was taken. */
export function marketOf(instruments: Instruments, symbol: string): Market {
  const market = instruments.markets.get(symbol)
  if (market === undefined) throw new Error(`market ${symbol} is neither configured nor stored`)
  return market
}
