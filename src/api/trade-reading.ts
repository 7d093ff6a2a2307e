/** From the trades of a request to those that are kept. */
import { acceptTrade, type TradeInput } from '../core/trade.ts'
import type { NewTrade } from '../store/store.ts'
import type { Fault, NewTradeBody, Problem } from './contract.ts'
import { parseInstant } from './instant.ts'
import { type ProblemCode, problemOf } from './problem.ts'
import type { TradeServices } from './routes/trade-services.ts'

/** All trades, or everything that is wrong with any of them. */
export function readTrades(
  given: readonly NewTradeBody[],
  { instruments, feeUserId, clock }: Pick<TradeServices, 'instruments' | 'feeUserId' | 'clock'>,
): { readonly trades: readonly NewTrade[] } | { readonly problem: Problem } {
  const nowMs = clock.now()
  const trades: NewTrade[] = []
  const errors: (Fault & { readonly code: ProblemCode })[] = []
  for (const [index, body] of given.entries()) {
    const input = inputOf(body, nowMs)
    const result = acceptTrade(input, instruments.markets.get(input.symbol), feeUserId)
    if ('trade' in result) trades.push({ trade: result.trade, isTimeGiven: body.executed_at !== undefined })
    else
      for (const { field, code, detail } of result.faults)
        errors.push({ pointer: `/trades/${index}/${field}`, code, detail })
  }
  const [first] = errors
  if (first === undefined) return { trades }
  const more = errors.length === 1 ? '' : `, and ${errors.length - 1} more`
  return { problem: problemOf(first.code, `${first.pointer}: ${first.detail}${more}`, { errors }) }
}

function inputOf(given: NewTradeBody, nowMs: number): TradeInput {
  return {
    id: given.id.toLowerCase(),
    symbol: given.symbol,
    buyerUserId: given.buyer_user_id.toLowerCase(),
    sellerUserId: given.seller_user_id.toLowerCase(),
    price: given.price,
    quantity: given.quantity,
    buyerFee: given.buyer_fee ?? '0',
    sellerFee: given.seller_fee ?? '0',
    isBuyerMaker: given.is_buyer_maker ?? null,
    buyerOrderId: given.buyer_order_id?.toLowerCase() ?? null,
    sellerOrderId: given.seller_order_id?.toLowerCase() ?? null,
    executedAtMs: (given.executed_at === undefined ? null : parseInstant(given.executed_at)) ?? nowMs,
  }
}
