import { type Leg, type LegOrder, legsOf } from '../core/legs.ts'
import { keyOf, type Plan, type Rail, type Settlement, type StepName } from '../core/settlement.ts'
import type { Trade } from '../core/trade.ts'
import type { Capabilities, Movement, Operation, SettlementCall } from '../wallet/wallet.ts'

/** What a worker needs to know of the wallet to plan. */
export interface WalletTraits {
  readonly level: Capabilities['level']
  /** Whether the wallet recognises a repeated key. */
  readonly idempotent: boolean
}

/** A settlement's plan with the legs it stands for. */
export interface PlannedSettlement {
  readonly plan: Plan
  readonly legs: readonly Leg[]
}

export function planOf(trade: Trade, rail: Rail, legOrder: LegOrder, wallet: WalletTraits): PlannedSettlement {
  const legs = legsOf(trade, legOrder)
  if (rail === 'atomic') {
    const steps: readonly StepName[] = legs.length === 0 ? [] : ['settlement']
    return { plan: { rail, steps, undo: 'reversal', repeatable: true }, legs }
  }
  // A wallet that forgets keys can't be told by key what to take back.
  const undo = wallet.level === 'basic' || !wallet.idempotent ? 'opposite' : 'reversal'
  return { plan: { rail, steps: legs.map(leg => leg.name), undo, repeatable: wallet.idempotent }, legs }
}

/** The rail that is used: the one asked for, or the best the wallet has; null when it can't do what was asked. */
export function railFor(asked: Rail | 'auto', wallet: WalletTraits): Rail | null {
  const hasSettlements = wallet.level === 'settlements' && wallet.idempotent
  if (asked === 'auto') return hasSettlements ? 'atomic' : 'saga'
  return asked === 'atomic' && !hasSettlements ? null : asked
}

/** The call that applies a leg. */
export function operationOf(trade: Trade, leg: Leg, settlement: Settlement): Operation {
  return { key: keyOf(trade.id, settlement, leg.name), tradeId: trade.id, ...movementOf(trade, leg) }
}

/** The opposite of a leg, under a key of its own, for wallets without reversals. */
export function oppositeOf(trade: Trade, leg: Leg, settlement: Settlement): Operation {
  return {
    key: `${keyOf(trade.id, settlement, leg.name)}:undo`,
    tradeId: trade.id,
    type: leg.type === 'debit' ? 'credit' : 'debit',
    userId: leg.userId,
    currency: leg.currency,
    amount: leg.amount,
    reason: 'SETTLEMENT_ROLLBACK',
  }
}

/** The one call of the atomic rail. */
export function settlementCallOf(trade: Trade, legs: readonly Leg[], settlement: Settlement): SettlementCall {
  return {
    key: keyOf(trade.id, settlement, 'settlement'),
    tradeId: trade.id,
    legs: legs.map(leg => movementOf(trade, leg)),
  }
}

function movementOf(trade: Trade, { name, type, userId, currency, amount }: Leg): Movement {
  const reason = name === 'fee' ? 'FEE_COLLECTION' : 'TRADE_SETTLEMENT'
  const hold = type === 'debit' ? holdOf(trade, name) : null
  return { type, userId, currency, amount, reason, ...(hold === null ? {} : { hold }) }
}

function holdOf({ terms }: Trade, leg: Leg['name']): string | null {
  if (leg === 'buyer-debit') return terms?.buyerHold ?? null
  return leg === 'seller-debit' ? (terms?.sellerHold ?? null) : null
}
