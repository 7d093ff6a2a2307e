import { type Asset, type Market, marketFault } from '../core/market.ts'
import { placesOf } from '../core/money.ts'
import { type ConfigFault, fault } from './faults.ts'
import type { Origin, Raw } from './raw.ts'
import type { MarketEntry } from './settings.ts'

/** The configured list, each item right by itself, and where it was written. */
interface Listed<T> {
  readonly items: readonly T[]
  readonly raw: Raw
}

/**
 * The markets with their assets. What only shows between the items is checked here, and added to the faults. A default
 * market whose assets are not configured is left out, so that whoever configures assets alone need not name markets.
 */
export function resolveMarkets(
  assets: Listed<Asset>,
  markets: Listed<MarketEntry>,
  faults: ConfigFault[],
): readonly Market[] {
  checkUnique(assets, 'assets', 'code', asset => asset.code, faults)
  checkUnique(markets, 'markets', 'symbol', market => market.symbol, faults)
  const byCode = new Map(assets.items.map(asset => [asset.code, asset]))
  return markets.items
    .map((entry, index) => resolveMarket(entry, index, markets.raw, byCode, faults))
    .filter(market => market !== null)
}

function checkUnique<T>(
  { items, raw }: Listed<T>,
  list: string,
  field: string,
  nameOf: (item: T) => string,
  faults: ConfigFault[],
): void {
  const firsts = new Map<string, number>()
  for (const [index, item] of items.entries()) {
    const name = nameOf(item)
    const first = firsts.get(name)
    if (first === undefined) firsts.set(name, index)
    else {
      const details = { value: `"${name}"`, allowed: `each ${field} once` }
      faults.push(
        fault(originOf(raw, index, field), `${list}[${index}].${field}`, `the same as ${list}[${first}]`, details),
      )
    }
  }
}

function resolveMarket(
  entry: MarketEntry,
  index: number,
  raw: Raw,
  byCode: ReadonlyMap<string, Asset>,
  faults: ConfigFault[],
): Market | null {
  const codes = entry.symbol.split('/')
  const [base, quote] = codes.map(code => byCode.get(code))
  const origin = originOf(raw, index, 'symbol')
  if (base === undefined || quote === undefined) {
    if (origin.source === 'default') return null
    const missing = codes.filter(code => !byCode.has(code))
    const problem = `${missing.join(' and ')} not among the assets`
    const allowed = `two different ones of ${[...byCode.keys()].join(', ') || 'assets, which is empty'}`
    faults.push(fault(origin, `markets[${index}].symbol`, problem, { value: `"${entry.symbol}"`, allowed }))
    return null
  }
  const market = { ...entry, base, quote }
  const reason = marketFault(market)
  if (reason !== null) faults.push(fault(origin, `markets[${index}]`, reason))
  const places = placesOf(entry.minNotional)
  if (places > quote.scale) {
    const problem = `${places} places, but ${quote.code} has ${quote.scale}`
    const details = { value: `"${entry.minNotional}"`, allowed: `at most ${quote.scale} places` }
    faults.push(fault(originOf(raw, index, 'min_notional'), `markets[${index}].min_notional`, problem, details))
  }
  return market
}

/** Where a field of a list's item was written; the list itself if the item does not name it. */
function originOf(list: Raw, index: number, field: string): Origin {
  const item = list.kind === 'list' ? list.items[index] : undefined
  const entry = item?.kind === 'mapping' ? item.entries.find(({ key }) => key === field) : undefined
  return entry?.value.at ?? list.at
}
