import { type CallKind, callOf, type WalletCall } from '../../../wallet/faults/rules.ts'
import type { WireRequest } from '../../lean/request-reader.ts'

/** The wallet calls that a request makes, as a script of faults sees them. */
export type RequestCalls =
  | { readonly kind: 'one'; readonly call: WalletCall }
  | {
      readonly kind: 'many'
      readonly field: 'operations' | 'settlements'
      readonly items: readonly unknown[]
      /** One for each item; null for what is no call. */
      readonly calls: readonly (WalletCall | null)[]
    }

/** Null: the request makes none, or one that has no key: the wallet refuses it as it always does. */
export function callsOf({ method, target, headers, body }: WireRequest): RequestCalls | null {
  if (method !== 'POST') return null
  const [path = ''] = target.split('?', 1)
  switch (path) {
    case '/v1/debits':
    case '/v1/credits':
      return one(keyed('apply', headers['idempotency-key'], jsonOf(body)))
    case '/v1/holds':
      return one(keyed('hold', headers['idempotency-key'], null))
    case '/v1/holds/release':
      return one(keyed('release', headers['idempotency-key'], null))
    case '/v1/reversals': {
      const parsed = jsonOf(body)
      return one(keyed('reverse', fieldOf(parsed, 'key'), parsed))
    }
    case '/v1/batch':
      return many('operations', jsonOf(body), item => (fieldOf(item, 'type') === 'reversal' ? 'reverse' : 'apply'))
    case '/v1/settlements':
      return many('settlements', jsonOf(body), () => 'settle')
    default:
      return null
  }
}

/** The keys that a request asks to take back: reversals, and at level 0 the opposite operations. */
export function keysTakenBack(calls: RequestCalls): readonly string[] {
  const all = calls.kind === 'one' ? [calls.call] : calls.calls
  return all.flatMap(call => (call?.call === 'reverse' ? [call.key.replace(/:undo$/, '')] : []))
}

function one(call: WalletCall | null): RequestCalls | null {
  return call === null ? null : { kind: 'one', call }
}

function many(
  field: 'operations' | 'settlements',
  parsed: unknown,
  kindOf: (item: unknown) => CallKind,
): RequestCalls | null {
  const items = fieldOf(parsed, field)
  if (!Array.isArray(items)) return null
  return { kind: 'many', field, items, calls: items.map(item => keyed(kindOf(item), fieldOf(item, 'key'), item)) }
}

function keyed(kind: CallKind, key: unknown, body: unknown): WalletCall | null {
  if (typeof key !== 'string' || key === '') return null
  const tradeId = fieldOf(body, 'trade_id')
  return callOf(kind, key, typeof tradeId === 'string' ? tradeId.toLowerCase() : null)
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return null
  }
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}
