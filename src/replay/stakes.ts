import { feeOf } from '../core/fees.ts'
import type { Market } from '../core/market.ts'
import { MAX_SCALE, parseDecimal } from '../core/money.ts'
import type { Cast } from './cast.ts'
import type { RecordedTrade } from './trade-file.ts'

/** What a user needs so that no trade of the file can find it short. `amount` in the asset's smallest unit. */
export interface Stake {
  readonly userId: string
  readonly currency: string
  readonly amount: bigint
}

/** Sums up what each user gives in all trades of a file. The memory held depends on users and markets, not on trades. */
export interface Stakes {
  add(trade: RecordedTrade): void
  /** Rounded up, and with the highest fee of every trade. */
  list(marketOf: (symbol: string) => Market | undefined): readonly Stake[]
}

/** Of one user in one market, exactly: quantities in 10^-18, notionals in 10^-36. */
interface Given {
  readonly userId: string
  readonly symbol: string
  sold: bigint
  paid: bigint
  purchases: bigint
}

export function createStakes(castOf: (symbol: string) => Cast): Stakes {
  const given = new Map<string, Given>()

  function of(userId: string, symbol: string): Given {
    const key = `${userId} ${symbol}`
    const known = given.get(key)
    if (known !== undefined) return known
    const fresh: Given = { userId, symbol, sold: 0n, paid: 0n, purchases: 0n }
    given.set(key, fresh)
    return fresh
  }

  return {
    add({ line, symbol, price, quantity }) {
      const priceUnits = parseDecimal(price, MAX_SCALE)
      const quantityUnits = parseDecimal(quantity, MAX_SCALE)
      // What has more places than any asset will be rejected, and needs no funds.
      if (typeof priceUnits !== 'bigint' || typeof quantityUnits !== 'bigint') return
      const { buyerUserId, sellerUserId } = castOf(symbol).sidesOf(line)
      const buyer = of(buyerUserId, symbol)
      buyer.paid += priceUnits * quantityUnits
      buyer.purchases += 1n
      of(sellerUserId, symbol).sold += quantityUnits
    },
    list(marketOf) {
      const amounts = new Map<string, Stake>()
      const need = (userId: string, currency: string, amount: bigint): void => {
        const key = `${userId} ${currency}`
        amounts.set(key, { userId, currency, amount: (amounts.get(key)?.amount ?? 0n) + amount })
      }
      for (const { userId, symbol, sold, paid, purchases } of given.values()) {
        const market = marketOf(symbol)
        if (market === undefined) continue
        need(userId, market.base.code, ceil(sold, MAX_SCALE - market.base.scale))
        const notional = ceil(paid, 2 * MAX_SCALE - market.quote.scale)
        const fee = [market.makerFee, market.takerFee].map(rate => feeOf(notional, rate)).reduce(larger, 0n)
        // Each notional and each fee may have been rounded up by a unit.
        need(userId, market.quote.code, notional + fee + 2n * purchases)
      }
      return [...amounts.values()].filter(({ amount }) => amount > 0n)
    },
  }
}

function ceil(units: bigint, places: number): bigint {
  const one = 10n ** BigInt(places)
  return (units + one - 1n) / one
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
