/** Trades as answers show them. */
import { type Instruments, marketOf } from '../core/instruments.ts'
import { formatDecimal } from '../core/money.ts'
import { keyOf, newSettlement, type Settlement, type Step } from '../core/settlement.ts'
import type { StoredTrade } from '../store/store.ts'
import { planOf } from '../worker/plan.ts'
import type { LegView, TradeDetail, TradeView } from './contract.ts'
import { formatInstant } from './instant.ts'

type Shown = Pick<StoredTrade, 'trade' | 'status' | 'settledAtMs' | 'retryCount' | 'failureReason'>

export function viewTrade(stored: Shown, instruments: Instruments): TradeView {
  const { trade } = stored
  const { base, quote } = marketOf(instruments, trade.symbol)
  const { isBuyerMaker, buyerOrderId, sellerOrderId } = trade
  return {
    id: trade.id,
    symbol: trade.symbol,
    price: formatDecimal(trade.price, quote.scale),
    quantity: formatDecimal(trade.quantity, base.scale),
    notional: formatDecimal(trade.notional, quote.scale),
    maker_order_id: isBuyerMaker === null ? null : isBuyerMaker ? buyerOrderId : sellerOrderId,
    taker_order_id: isBuyerMaker === null ? null : isBuyerMaker ? sellerOrderId : buyerOrderId,
    buyer_order_id: buyerOrderId,
    seller_order_id: sellerOrderId,
    buyer_user_id: trade.buyerUserId,
    seller_user_id: trade.sellerUserId,
    buyer_fee: formatDecimal(trade.buyerFee, quote.scale),
    seller_fee: formatDecimal(trade.sellerFee, quote.scale),
    buyer_fee_rate: trade.terms?.buyerFeeRate ?? null,
    seller_fee_rate: trade.terms?.sellerFeeRate ?? null,
    is_buyer_maker: isBuyerMaker,
    settlement_status: stored.status,
    settled_at: stored.settledAtMs === null ? null : formatInstant(stored.settledAtMs),
    settlement_retry_count: stored.retryCount,
    failure_reason: stored.failureReason,
    executed_at: formatInstant(trade.executedAtMs),
  }
}

export function viewTradeDetail(stored: StoredTrade, instruments: Instruments): TradeDetail {
  const { legs, settlement } = settlementOf(stored)
  const { base, quote } = marketOf(instruments, stored.trade.symbol)
  const isAtomic = stored.rail === 'atomic'
  return {
    ...viewTrade(stored, instruments),
    legs: legs.map((leg, index): LegView => {
      const step = settlement.steps[isAtomic ? 0 : index]
      return {
        leg: leg.name,
        user_id: leg.userId,
        currency: leg.currency,
        type: leg.type,
        amount: formatDecimal(leg.amount, leg.currency === base.code ? base.scale : quote.scale),
        state: stateOf(step),
        key: keyOf(stored.trade.id, settlement, isAtomic ? 'settlement' : leg.name),
        attempts: step?.attempts ?? 0,
        last_error: errorOf(step),
      }
    }),
    rollback: settlement.rollback,
    epoch: settlement.epoch,
    rail: stored.rail,
  }
}

/** The stored settlement; where none is, nothing but its status is to be known: nobody has begun, or all went well. */
function settlementOf({ trade, rail, legOrder, status, settlement }: StoredTrade) {
  const { plan, legs } = planOf(trade, rail, legOrder, { level: 'settlements', idempotent: true })
  if (settlement !== null) return { legs, settlement }
  const fresh = newSettlement(plan)
  if (status !== 'SETTLED') return { legs, settlement: fresh }
  const steps = fresh.steps.map((step): Step => ({ ...step, state: 'applied', attempts: 1 }))
  const settled: Settlement = { ...fresh, phase: 'settled', steps }
  return { legs, settlement: settled }
}

/** An undo that was sent and may not be repeated leaves open what the leg is: whoever looks must not read that it is applied. */
function stateOf(step: Step | undefined): LegView['state'] {
  if (step === undefined) return 'waiting'
  return step.state === 'applied' && step.undoSent ? 'unanswered' : step.state
}

function errorOf(step: Step | undefined): string | null {
  const error = step?.lastError ?? null
  return error === null ? null : `${error.code}: ${error.detail}`
}
