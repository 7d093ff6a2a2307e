/** From the wallet's calls to the protocol's JSON. */
import type { Asset } from '../../core/market.ts'
import { formatDecimal } from '../../core/money.ts'
import type { Movement, Operation, SettlementCall } from '../wallet.ts'
import type { HttpRequest } from './transport.ts'

type Assets = ReadonlyMap<string, Asset>
type Request = Omit<HttpRequest, 'deadlineMs'>

const NONE: Readonly<Record<string, string>> = {}

export function operationRequest(operation: Operation, assets: Assets): Request {
  const { type, key, tradeId } = operation
  const body = { ...movementOf(operation, assets), ...tradeOf(tradeId) }
  return {
    method: 'POST',
    path: type === 'debit' ? '/v1/debits' : '/v1/credits',
    headers: { 'Idempotency-Key': key },
    body: JSON.stringify(body),
  }
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

function post(path: string, body: unknown): Request {
  return { method: 'POST', path, headers: NONE, body: JSON.stringify(body) }
}

function movementOf({ userId, currency, amount, reason, hold }: Movement, assets: Assets) {
  const asset = assets.get(currency)
  // Of an asset whose places are not known an amount can't be written: that would be other money.
  if (asset === undefined) throw new Error(`the places of ${currency} are not known`)
  const movement = { user_id: userId.toLowerCase(), currency, amount: formatDecimal(amount, asset.scale), reason }
  return hold === undefined ? movement : { ...movement, hold }
}

function tradeOf(tradeId: string | null): { readonly trade_id?: string } {
  return tradeId === null ? {} : { trade_id: tradeId.toLowerCase() }
}
