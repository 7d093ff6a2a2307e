/** From the wallet's calls to the protocol's JSON. */
import type { Asset } from '../../core/market.ts'
import { formatDecimal, MAX_SCALE } from '../../core/money.ts'
import type { Hold, Movement, Operation, Release, SettlementCall } from '../wallet.ts'
import type { HttpRequest } from './transport.ts'

type Assets = ReadonlyMap<string, Asset>
type Request = Omit<HttpRequest, 'deadlineMs'>

const NONE: Readonly<Record<string, string>> = {}

export function operationRequest(operation: Operation, assets: Assets): Request {
  const { type, key, tradeId } = operation
  const body = { ...movementOf(operation, assets), ...tradeOf(tradeId) }
  return post(type === 'debit' ? '/v1/debits' : '/v1/credits', body, key)
}

export function holdRequest(hold: Hold, assets: Assets): Request {
  return post('/v1/holds', amountOf(hold, assets), hold.key)
}

/** The key in the head is the call's own, the one in the body the hold's. */
export function releaseRequest({ key, hold, amountAtto }: Release): Request {
  const amount = amountAtto === null ? {} : { amount: formatDecimal(amountAtto, MAX_SCALE) }
  return post('/v1/holds/release', { key: hold, ...amount }, key)
}

export function reversalRequest(key: string): Request {
  return post('/v1/reversals', { key, reason: 'SETTLEMENT_ROLLBACK' })
}

/** What travels in a batch: an operation, or the key of one to take back. */
export type BatchItem = { readonly operation: Operation } | { readonly reversal: string }

export function batchRequest(items: readonly BatchItem[], assets: Assets): Request {
  const operations = items.map(item => {
    if ('reversal' in item) return { key: item.reversal, type: 'reversal', reason: 'SETTLEMENT_ROLLBACK' }
    const { key, type, tradeId } = item.operation
    return { key, type, ...movementOf(item.operation, assets), ...tradeOf(tradeId) }
  })
  return post('/v1/batch', { operations })
}

export function settlementsRequest(calls: readonly SettlementCall[], assets: Assets): Request {
  const settlements = calls.map(({ key, tradeId, legs }) => ({
    key,
    trade_id: tradeId.toLowerCase(),
    legs: legs.map(leg => ({ type: leg.type, ...movementOf(leg, assets) })),
  }))
  return post('/v1/settlements', { settlements })
}

export function balanceRequest(userId: string, currency: string): Request {
  const path = `/v1/balances/${encodeURIComponent(userId.toLowerCase())}/${encodeURIComponent(currency)}`
  return { method: 'GET', path, headers: NONE, body: null }
}

export const CAPABILITIES_REQUEST: Request = { method: 'GET', path: '/v1/capabilities', headers: NONE, body: null }

/** @param key of a call that has no other. */
function post(path: string, body: unknown, key?: string): Request {
  const headers = key === undefined ? NONE : { 'Idempotency-Key': key }
  return { method: 'POST', path, headers, body: JSON.stringify(body) }
}

function movementOf(movement: Movement, assets: Assets) {
  const { reason, hold } = movement
  const body = { ...amountOf(movement, assets), reason }
  return hold === undefined ? body : { ...body, hold }
}

function amountOf({ userId, currency, amount }: Omit<Hold, 'key'>, assets: Assets) {
  const asset = assets.get(currency)
  // Of an asset whose places are not known an amount can't be written: that would be other money.
  if (asset === undefined) throw new Error(`the places of ${currency} are not known`)
  return { user_id: userId.toLowerCase(), currency, amount: formatDecimal(amount, asset.scale) }
}

function tradeOf(tradeId: string | null): { readonly trade_id?: string } {
  return tradeId === null ? {} : { trade_id: tradeId.toLowerCase() }
}
