import type { EntryQuery } from '../../wallet/wallet.ts'
import { maySee, type Principal } from '../auth.ts'
import type { Problem } from '../contract.ts'
import { problemOf } from '../problem.ts'
import type { EntriesQuery } from './contract.ts'

/** Whose entries the parameters name; null: neither those of a trade nor those of an account. */
export function whoseEntries({
  trade_id,
  user_id,
  currency,
}: Pick<EntriesQuery, 'trade_id' | 'user_id' | 'currency'>): EntryQuery['of'] | null {
  if (trade_id !== undefined) {
    return user_id === undefined && currency === undefined ? { tradeId: trade_id.toLowerCase() } : null
  }
  return user_id === undefined || currency === undefined ? null : { userId: user_id.toLowerCase(), currency }
}

/** What of these entries a caller may read: a trader those of its own accounts alone, and of another's it sees none. */
export function mayRead(principal: Principal, of: EntryQuery['of'] | null): 'all' | 'none' | Problem {
  if (of !== null && 'userId' in of) return maySee(principal, [of.userId]) ? 'all' : 'none'
  // They are those of both sides.
  if (principal.role !== 'trader') return 'all'
  return problemOf(
    'FORBIDDEN',
    `a trader reads entries by user_id and currency${of === null ? '' : ', not by trade_id'}`,
  )
}
