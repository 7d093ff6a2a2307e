import type { Trade } from './trade.ts'

export type LegName = 'buyer-debit' | 'buyer-credit' | 'seller-debit' | 'seller-credit' | 'fee'
export type LegOrder = 'buyer-first' | 'debits-first'

/** One wallet movement of a trade. `amount` is above zero, in the smallest unit of `currency`. */
export interface Leg {
  readonly name: LegName
  readonly userId: string
  readonly currency: string
  readonly type: 'debit' | 'credit'
  readonly amount: bigint
}

const ORDERS: Readonly<Record<LegOrder, readonly LegName[]>> = {
  'buyer-first': ['buyer-debit', 'buyer-credit', 'seller-debit', 'seller-credit', 'fee'],
  'debits-first': ['buyer-debit', 'seller-debit', 'buyer-credit', 'seller-credit', 'fee'],
}

/**
 * The movements a trade implies, in the order asked for; they sum to zero in every currency, which is asserted here.
 *
 * A leg of zero vanishes and one below zero turns round (rebates): requirements W-1 to W-5. A trade whose buyer is its
 * seller settles to its fees: `buyer-debit` and `fee`.
 */
export function legsOf(trade: Trade, order: LegOrder): readonly Leg[] {
  const { buyerUserId, sellerUserId, feeUserId, base, quote, quantity, notional, buyerFee, sellerFee } = trade
  const fees = buyerFee + sellerFee
  const isSelfTrade = buyerUserId === sellerUserId
  const changes: Readonly<Record<LegName, readonly [userId: string, currency: string, change: bigint]>> = {
    'buyer-debit': [buyerUserId, quote, isSelfTrade ? -fees : -(notional + buyerFee)],
    'buyer-credit': [buyerUserId, base, isSelfTrade ? 0n : quantity],
    'seller-debit': [sellerUserId, base, isSelfTrade ? 0n : -quantity],
    'seller-credit': [sellerUserId, quote, isSelfTrade ? 0n : notional - sellerFee],
    fee: [feeUserId, quote, fees],
  }
  const legs: Leg[] = []
  for (const name of ORDERS[order]) {
    const [userId, currency, change] = changes[name]
    if (change === 0n) continue
    const type = change < 0n ? 'debit' : 'credit'
    legs.push({ name, userId, currency, type, amount: change < 0n ? -change : change })
  }
  assertBalanced(trade.id, legs, base, quote)
  return legs
}

/** A trade whose legs made or lost money is a bug of ours; nothing of it may reach a wallet. */
export function assertBalanced(tradeId: string, legs: readonly Leg[], base: string, quote: string): void {
  for (const currency of [base, quote]) {
    let sum = 0n
    for (const leg of legs) {
      if (leg.currency === currency) sum += leg.type === 'debit' ? -leg.amount : leg.amount
    }
    if (sum !== 0n) throw new Error(`legs of trade ${tradeId} sum to ${sum} ${currency}, not to zero`)
  }
}
