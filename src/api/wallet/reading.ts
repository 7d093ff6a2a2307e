/** From the protocol's JSON to the wallet's calls. */
import type { Asset } from '../../core/market.ts'
import { MAX_SCALE, parseDecimal } from '../../core/money.ts'
import { words } from '../../core/trade.ts'
import type { Hold, Movement, Operation, Release, SettlementCall } from '../../wallet/wallet.ts'
import type { Problem } from '../contract.ts'
import { invalid } from '../faults.ts'
import type { HoldBody, OperationBody, ReleaseBody, SettlementItem } from './contract.ts'

export type Assets = ReadonlyMap<string, Asset>
/** What was read, or why it can't be. */
export type Read<Value> = { readonly value: Value } | { readonly problem: Problem }

/** The places amounts of a currency have; of one that is not known the most there can be: the wallet refuses it. */
export function scaleOf(assets: Assets, currency: string): number {
  return assets.get(currency)?.scale ?? MAX_SCALE
}

export function readOperation(
  body: OperationBody,
  identity: { readonly key: string; readonly type: 'debit' | 'credit' },
  assets: Assets,
): Read<Operation> {
  const units = readAmount(body, assets, '')
  if (typeof units !== 'bigint') return units
  const { user_id, currency, reason, trade_id, hold } = body
  const tradeId = trade_id?.toLowerCase() ?? null
  const { key, type } = identity
  const value = { key, type, userId: user_id.toLowerCase(), currency, amount: units, reason, tradeId }
  return { value: hold === undefined ? value : { ...value, hold } }
}

export function readSettlement(item: SettlementItem, assets: Assets): Read<SettlementCall> {
  const legs: Movement[] = []
  for (const [index, leg] of item.legs.entries()) {
    const units = readAmount(leg, assets, `/legs/${index}`)
    if (typeof units !== 'bigint') return units
    const { type, user_id, currency, reason, hold } = leg
    const movement = { type, userId: user_id.toLowerCase(), currency, amount: units, reason }
    legs.push(hold === undefined ? movement : { ...movement, hold })
  }
  return { value: { key: item.key, tradeId: item.trade_id.toLowerCase(), legs } }
}

export function readHold(body: HoldBody, key: string, assets: Assets): Read<Hold> {
  const units = readAmount(body, assets, '')
  if (typeof units !== 'bigint') return units
  return { value: { key, userId: body.user_id.toLowerCase(), currency: body.currency, amount: units } }
}

/** Only the wallet knows the currency of the hold, and so how many places the amount may have. */
export function readRelease({ key: hold, amount }: ReleaseBody, key: string): Read<Release> {
  if (amount === undefined) return { value: { key, hold, amountAtto: null } }
  const amountAtto = parseDecimal(amount, MAX_SCALE)
  if (typeof amountAtto === 'bigint') return { value: { key, hold, amountAtto } }
  return { problem: invalid('/amount', `has ${words(amountAtto, MAX_SCALE, 'any asset')}`, 'INVALID_AMOUNT') }
}

function readAmount(
  { currency, amount }: { readonly currency: string; readonly amount: string },
  assets: Assets,
  pointer: string,
): bigint | { readonly problem: Problem } {
  const scale = scaleOf(assets, currency)
  const units = parseDecimal(amount, scale)
  if (typeof units === 'bigint') return units
  return { problem: invalid(`${pointer}/amount`, `has ${words(units, scale, currency)}`, 'INVALID_AMOUNT') }
}
