/** From the protocol's JSON to the wallet's calls. */
import type { Asset } from '../../core/market.ts'
import { MAX_SCALE, parseDecimal } from '../../core/money.ts'
import { words } from '../../core/trade.ts'
import type { Movement, Operation, SettlementCall } from '../../wallet/wallet.ts'
import type { Problem } from '../contract.ts'
import { invalid } from '../faults.ts'
import type { OperationBody, SettlementItem } from './contract.ts'

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
  const movement = readMovement({ ...body, type: identity.type }, assets, '')
  if ('problem' in movement) return movement
  return { value: { ...movement.value, key: identity.key, tradeId: body.trade_id?.toLowerCase() ?? null } }
}

export function readSettlement(item: SettlementItem, assets: Assets): Read<SettlementCall> {
  const legs: Movement[] = []
  for (const [index, leg] of item.legs.entries()) {
    const movement = readMovement(leg, assets, `/legs/${index}`)
    if ('problem' in movement) return movement
    legs.push(movement.value)
  }
  return { value: { key: item.key, tradeId: item.trade_id.toLowerCase(), legs } }
}

function readMovement(
  { type, user_id, currency, amount, reason }: SettlementItem['legs'][number],
  assets: Assets,
  pointer: string,
): Read<Movement> {
  const scale = scaleOf(assets, currency)
  const units = parseDecimal(amount, scale)
  if (typeof units !== 'bigint') {
    return { problem: invalid(`${pointer}/amount`, `has ${words(units, scale, currency)}`, 'INVALID_AMOUNT') }
  }
  return { value: { type, userId: user_id.toLowerCase(), currency, amount: units, reason } }
}
