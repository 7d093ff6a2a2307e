import { ASSET_CODE } from '../core/market.ts'
import type { Hold, Movement, Operation, Reason, Release, SettlementCall } from './wallet.ts'

/** Why a request is not even looked at: nothing of it is remembered (wallet-protocol.md, "Common to all calls"). */
export interface RequestFault {
  readonly code: 'INVALID_REQUEST' | 'INVALID_AMOUNT'
  readonly detail: string
}

const KEY = /^[\x20-\x7e]{1,128}$/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

export function keyFault(key: string): RequestFault | null {
  return KEY.test(key) ? null : { code: 'INVALID_REQUEST', detail: 'a key is 1 to 128 printable ASCII characters' }
}

/** Whether money comes in or goes out: for that more is needed than for settlement. */
export function isOutside(reason: Reason | null): boolean {
  return reason === 'DEPOSIT' || reason === 'WITHDRAWAL'
}

export function operationFault(operation: Operation): RequestFault | null {
  const { tradeId, reason, type } = operation
  const fault = keyFault(operation.key) ?? movementFault(operation)
  if (fault !== null) return fault
  if (tradeId === null && !isOutside(reason)) {
    return { code: 'INVALID_REQUEST', detail: `trade_id is needed for ${reason}` }
  }
  if ((reason === 'DEPOSIT' && type === 'debit') || (reason === 'WITHDRAWAL' && type === 'credit')) {
    return { code: 'INVALID_REQUEST', detail: `a ${type} is no ${reason}` }
  }
  return tradeId === null || UUID.test(tradeId) ? null : { code: 'INVALID_REQUEST', detail: 'trade_id is not a UUID' }
}

/** Its legs must be there, be movements within the exchange, and sum to zero in every currency. */
export function settlementFault(settlement: SettlementCall): RequestFault | null {
  const invalid = (detail: string): RequestFault => ({ code: 'INVALID_REQUEST', detail })
  const fault = keyFault(settlement.key)
  if (fault !== null) return fault
  if (!UUID.test(settlement.tradeId)) return invalid('trade_id is not a UUID')
  if (settlement.legs.length === 0) return invalid('a settlement has at least two legs')
  const sums = new Map<string, bigint>()
  for (const leg of settlement.legs) {
    const legFault = movementFault(leg)
    if (legFault !== null) return legFault
    if (isOutside(leg.reason)) return invalid(`${leg.reason} is no leg of a settlement`)
    sums.set(leg.currency, (sums.get(leg.currency) ?? 0n) + changeOf(leg))
  }
  for (const [currency, sum] of sums) if (sum !== 0n) return invalid(`the legs do not sum to zero in ${currency}`)
  return null
}

export function holdFault(hold: Hold): RequestFault | null {
  return keyFault(hold.key) ?? amountFault(hold)
}

export function releaseFault({ key, hold, amountAtto }: Release): RequestFault | null {
  return keyFault(key) ?? keyFault(hold) ?? (amountAtto === null || amountAtto > 0n ? null : NO_AMOUNT)
}

function movementFault(movement: Movement): RequestFault | null {
  const { hold, type } = movement
  if (hold === undefined) return amountFault(movement)
  if (type === 'credit') return { code: 'INVALID_REQUEST', detail: 'a credit draws on no hold' }
  return keyFault(hold) ?? amountFault(movement)
}

function amountFault({
  userId,
  currency,
  amount,
}: Pick<Movement, 'userId' | 'currency' | 'amount'>): RequestFault | null {
  if (!ASSET_CODE.test(currency)) return { code: 'INVALID_REQUEST', detail: 'currency is not an asset code' }
  if (!UUID.test(userId)) return { code: 'INVALID_REQUEST', detail: 'user_id is not a UUID' }
  return amount > 0n ? null : NO_AMOUNT
}

const NO_AMOUNT: RequestFault = { code: 'INVALID_AMOUNT', detail: 'an amount is above zero' }

/** Of a wallet that has no holds: a debit that names one is not understood. */
export const NO_HOLDS: RequestFault = { code: 'INVALID_REQUEST', detail: 'this wallet has no holds' }

/** Of the same: whoever calls has not looked at its capabilities. */
export function withoutHolds(): Error {
  return new Error('a wallet without holds is asked to set funds aside, or to give them back')
}

/** What a movement adds to its account. */
export function changeOf({ type, amount }: Pick<Movement, 'type' | 'amount'>): bigint {
  return type === 'debit' ? -amount : amount
}
