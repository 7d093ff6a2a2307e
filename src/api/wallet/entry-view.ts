import { hash } from 'node:crypto'
import type { Asset } from '../../core/market.ts'
import { formatDecimal } from '../../core/money.ts'
import type { Entry } from '../../wallet/wallet.ts'
import { formatInstant } from '../instant.ts'
import type { EntryView } from './contract.ts'
import { scaleOf } from './reading.ts'

export function viewEntry(entry: Entry, assets: ReadonlyMap<string, Asset>): EntryView {
  const scale = scaleOf(assets, entry.currency)
  return {
    id: idOf(entry),
    key: entry.key,
    leg: entry.leg,
    trade_id: entry.tradeId,
    user_id: entry.userId,
    currency: entry.currency,
    amount: formatDecimal(entry.amount, scale),
    balance_after: formatDecimal(entry.balanceAfter, scale),
    reason: entry.reason,
    at: formatInstant(entry.atMs),
  }
}

/**
 * An entry is known by its account and its number there; as a UUID of version 7 its id has the entry's time in front,
 * and a hash of those where others have random bits. So it needs no place in the ledger, and is always the same.
 */
function idOf({ userId, currency, seq, atMs }: Entry): string {
  const time = atMs.toString(16).padStart(12, '0')
  const rest = hash('sha256', `${userId} ${currency} ${seq}`, 'hex')
  const variant = (Number.parseInt(rest.slice(3, 4), 16) & 0x3) | 0x8
  return (
    `${time.slice(0, 8)}-${time.slice(8)}-7${rest.slice(0, 3)}-` +
    `${variant.toString(16)}${rest.slice(4, 7)}-${rest.slice(7, 19)}`
  )
}
