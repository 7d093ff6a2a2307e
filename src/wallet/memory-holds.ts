/** The holds of the memory wallet: as plain as the rest of it, and sharing no decision with the ledger's (hold-book.ts). */
import type { Asset } from '../core/market.ts'
import { MAX_SCALE } from '../core/money.ts'
import type { Hold, HoldState, Movement, Release, Shortfall } from './wallet.ts'

export interface MemoryAccount {
  balance: bigint
  held: bigint
  entryCount: bigint
}

interface Kept {
  readonly hold: Hold
  remaining: bigint
  isReversed: boolean
}

interface Hindrance {
  readonly code: string
  readonly detail: string
  readonly amounts?: Shortfall
}

const NOT_FOUND: Hindrance = { code: 'HOLD_NOT_FOUND', detail: 'no such hold on this account' }

export interface MemoryHolds {
  place(hold: Hold): HoldState | Hindrance
  release(release: Release): HoldState | Hindrance
  takeBack(key: string): void
  takeBackRelease(key: string): Hindrance | null
  /** Whether a movement names a hold that is not there, or is on another account. */
  hindrance(movements: readonly Movement[]): Hindrance | null
  /** What the movements draw on the holds of an account. */
  drawnOn(userId: string, currency: string, movements: readonly Movement[]): bigint
  draw(movements: readonly Movement[]): void
  /** As it stands now; null: it was never placed. */
  state(key: string): HoldState | null
}

export function createMemoryHolds(
  accountOf: (userId: string, currency: string) => MemoryAccount,
  assets: ReadonlyMap<string, Asset>,
): MemoryHolds {
  const holds = new Map<string, Kept>()
  const released = new Map<string, { readonly kept: Kept; readonly amount: bigint }>()

  function find(key: string): Kept | undefined {
    const kept = holds.get(key)
    return kept?.isReversed === true ? undefined : kept
  }

  function shortage({ userId, currency }: Hold, required: bigint): Hindrance | null {
    const { balance, held } = accountOf(userId, currency)
    const available = balance - held
    if (available >= required) return null
    return { code: 'INSUFFICIENT_BALANCE', detail: 'not enough', amounts: { currency, available, required } }
  }

  /** Moves funds between what is held and what is available. */
  function change(kept: Kept, amount: bigint): void {
    kept.remaining += amount
    accountOf(kept.hold.userId, kept.hold.currency).held += amount
  }

  /** All that is asked of a hold together, but not more than remains. */
  function drawnBy(movements: readonly Movement[]): ReadonlyMap<Kept, bigint> {
    const drawn = new Map<Kept, bigint>()
    for (const { hold: key, amount } of movements) {
      const kept = key === undefined ? undefined : find(key)
      if (kept !== undefined) drawn.set(kept, (drawn.get(kept) ?? 0n) + amount)
    }
    for (const [kept, asked] of drawn) if (asked > kept.remaining) drawn.set(kept, kept.remaining)
    return drawn
  }

  return {
    place(hold) {
      const short = shortage(hold, hold.amount)
      if (short !== null) return short
      const kept = { hold, remaining: 0n, isReversed: false }
      holds.set(hold.key, kept)
      change(kept, hold.amount)
      return stateOf(kept)
    },
    release({ key, hold, amountAtto }) {
      const kept = find(hold)
      if (kept === undefined) return NOT_FOUND
      const { currency } = kept.hold
      const unit = 10n ** BigInt(MAX_SCALE - (assets.get(currency)?.scale ?? MAX_SCALE))
      const required = amountAtto === null ? kept.remaining : amountAtto / unit
      if (amountAtto !== null && required * unit !== amountAtto) {
        return { code: 'INVALID_AMOUNT', detail: `${currency} has fewer places` }
      }
      if (required > kept.remaining) {
        const amounts = { currency, available: kept.remaining, required }
        return { code: 'HOLD_EXCEEDED', detail: 'not so much is left', amounts }
      }
      change(kept, -required)
      released.set(key, { kept, amount: required })
      return stateOf(kept)
    },
    takeBack(key) {
      const kept = find(key)
      if (kept === undefined) return
      change(kept, -kept.remaining)
      kept.isReversed = true
    },
    takeBackRelease(key) {
      const given = released.get(key)
      if (given === undefined || given.kept.isReversed) return NOT_FOUND
      const short = shortage(given.kept.hold, given.amount)
      if (short === null) change(given.kept, given.amount)
      return short
    },
    hindrance(movements) {
      const isWrong = movements.some(({ hold: key, userId, currency }) => {
        if (key === undefined) return false
        const kept = find(key)
        return kept === undefined || kept.hold.userId !== userId || kept.hold.currency !== currency
      })
      return isWrong ? NOT_FOUND : null
    },
    drawnOn(userId, currency, movements) {
      let sum = 0n
      for (const [{ hold }, amount] of drawnBy(movements)) {
        if (hold.userId === userId && hold.currency === currency) sum += amount
      }
      return sum
    },
    draw(movements) {
      for (const [kept, amount] of drawnBy(movements)) change(kept, -amount)
    },
    state(key) {
      const kept = holds.get(key)
      return kept === undefined ? null : stateOf(kept)
    },
  }
}

function stateOf({ hold: { userId, currency, amount }, remaining }: Kept): HoldState {
  return { userId, currency, amount, remaining }
}
