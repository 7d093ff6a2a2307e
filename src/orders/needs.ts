/** What must be set aside for an order, and what its trades will take of that. */
import { legsOf } from '../core/legs.ts'
import type { Market } from '../core/market.ts'
import { highestNotional } from '../core/notional.ts'
import { type FeeAccount, highestFee } from '../core/order-fees.ts'
import type { Trade } from '../core/trade.ts'

/**
 * The most that the rest of a limit purchase can cost: its price × its quantity and the highest fee, whatever share of it
 * makes and whatever takes, and in however many fills.
 */
export function purchaseNeed(market: Market, ticks: number, lots: number, fees: FeeAccount): bigint {
  if (lots === 0) return 0n
  const notional = highestNotional(market, ticks, lots)
  return notional + highestFee(fees, notional, market)
}

/** What the settlement of a trade takes of the buyer in the quote asset, and of the seller in the base asset. */
export function debitsOf(trade: Trade): { readonly buyer: bigint; readonly seller: bigint } {
  let [buyer, seller] = [0n, 0n]
  for (const { name, type, amount } of legsOf(trade, 'buyer-first')) {
    if (type !== 'debit') continue
    if (name === 'buyer-debit') buyer = amount
    if (name === 'seller-debit') seller = amount
  }
  return { buyer, seller }
}
