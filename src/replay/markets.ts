import type { Instruments } from '../core/instruments.ts'
import { type Asset, type Market, splitSymbol } from '../core/market.ts'
import { formatDecimal, MAX_SCALE } from '../core/money.ts'
import type { SurveyedMarket } from './trade-file.ts'

/** What has to be added so that the trades of a file can be taken. */
export interface MadeMarkets {
  readonly assets: readonly Asset[]
  readonly markets: readonly Market[]
}

/** Of an asset nobody configured; what most venues keep. */
const USUAL_SCALE = 8
/** The fees of a market that nobody configured: those of the default market. */
const FEES = { makerFee: '0.0005', takerFee: '0.001' } as const

/**
 * Makes the markets that the configuration lacks from the file's own places: ticks and lots as fine as the file's, and
 * assets fine enough that every notional is exact. Where that takes more than 18 places, notionals are rounded half even.
 */
export function makeMarkets(
  known: Instruments,
  surveyed: ReadonlyMap<string, Pick<SurveyedMarket, 'pricePlaces' | 'quantityPlaces'>>,
): MadeMarkets {
  const scales = new Map<string, number>()
  const scaleOf = (code: string): number => scales.get(code) ?? known.assets.get(code)?.scale ?? USUAL_SCALE
  const lacking = [...surveyed].flatMap(([symbol, places]) => {
    const codes = splitSymbol(symbol)
    return codes === null || known.markets.has(symbol) ? [] : [{ symbol, ...codes, ...places }]
  })
  for (const { base, quote, pricePlaces, quantityPlaces } of lacking) {
    scales.set(base, Math.max(scaleOf(base), quantityPlaces))
    scales.set(quote, Math.max(scaleOf(quote), Math.min(pricePlaces + quantityPlaces, MAX_SCALE)))
  }
  const assetOf = (code: string): Asset => ({ code, scale: scaleOf(code) })
  const markets = lacking.map(({ symbol, base, quote, pricePlaces, quantityPlaces }): Market => {
    const isExact = pricePlaces + quantityPlaces <= MAX_SCALE
    return {
      symbol,
      base: assetOf(base),
      quote: assetOf(quote),
      tickSize: formatDecimal(1n, pricePlaces),
      lotSize: formatDecimal(1n, quantityPlaces),
      minNotional: '0',
      ...FEES,
      rounding: isExact ? null : 'half_even',
    }
  })
  return { assets: [...scales.keys()].map(assetOf), markets }
}
