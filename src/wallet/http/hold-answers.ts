/** What a wallet says of a hold that was placed, or of which a part was given back. */
import type { Asset } from '../../core/market.ts'
import { MAX_SCALE } from '../../core/money.ts'
import type { Hold, HoldState, Release } from '../wallet.ts'
import { type Json, unitsOf } from './json.ts'

type Assets = ReadonlyMap<string, Asset>

/** Undefined: not what was asked. */
export function readPlaced(said: Json, { userId, currency, amount }: Hold, assets: Assets): HoldState | undefined {
  const state = readState(said, assets)
  const isAsked = state?.userId === userId.toLowerCase() && state.currency === currency && state.amount === amount
  return isAsked ? state : undefined
}

/** The same. The release does not name the account; what it does say is how much less may remain. */
export function readReleased(said: Json, { amountAtto }: Release, assets: Assets): HoldState | undefined {
  const state = readState(said, assets)
  if (state === undefined || amountAtto === null) return state?.remaining === 0n ? state : undefined
  const unit = 10n ** BigInt(MAX_SCALE - (assets.get(state.currency)?.scale ?? MAX_SCALE))
  return state.remaining * unit + amountAtto <= state.amount * unit ? state : undefined
}

function readState(said: Json, assets: Assets): HoldState | undefined {
  const { user_id: userId, currency, status } = said
  const scale = typeof currency === 'string' ? assets.get(currency)?.scale : undefined
  if (typeof userId !== 'string' || typeof currency !== 'string' || scale === undefined) return undefined
  const amount = unitsOf(said['amount'], scale)
  const remaining = unitsOf(said['remaining'], scale)
  if (amount === null || remaining === null || remaining < 0n || remaining > amount) return undefined
  // It need not be named, and must not say otherwise.
  const isSo = status === undefined || status === (remaining === 0n ? 'closed' : 'open')
  return isSo ? { userId: userId.toLowerCase(), currency, amount, remaining } : undefined
}
