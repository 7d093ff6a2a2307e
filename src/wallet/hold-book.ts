/**
 * The holds while a batch of calls is decided (ledger.ts). A hold that is closed, since nothing remains of it, is still
 * there: a debit that names it takes all of what is available. One that was reversed is not.
 */
import { MAX_SCALE } from '../core/money.ts'
import type { AccountBook } from './account-book.ts'
import { type HoldChange, type HoldRow, type LedgerView, type Refusal, StaleError } from './ledger-rows.ts'
import type { Hold, HoldState, Movement, Release } from './wallet.ts'

/** What is taken out of a hold, as it stands before. */
export interface Draw {
  readonly hold: HoldRow
  readonly amount: bigint
}

const NO_DRAWS: readonly Draw[] = []

export class HoldBook {
  readonly #view: LedgerView
  readonly #accounts: AccountBook
  readonly #holds = new Map<string, HoldChange>()
  readonly #missing = new Set<string>()

  constructor(view: LedgerView, accounts: AccountBook) {
    this.#view = view
    this.#accounts = accounts
  }

  /** All on whose remainder something was decided. */
  changes(): readonly HoldChange[] {
    return [...this.#holds.values()]
  }

  missing(): readonly string[] {
    return [...this.#missing]
  }

  place({ key, userId, currency, amount }: Hold): HoldState | Refusal {
    const shortage = this.#accounts.shortage(userId, currency, amount)
    if (shortage !== null) return shortage
    const state = { userId, currency, amount, remaining: amount }
    this.#holds.set(key, { before: null, after: { key, ...state, isReversed: false } })
    this.#accounts.setAside(state, amount)
    return state
  }

  /** What the hold has left then; a refusal for the form of the amount (`INVALID_AMOUNT`) is one of the request. */
  release({ hold: key, amountAtto }: Release): { readonly released: bigint; readonly state: HoldState } | Refusal {
    const hold = this.#standing(key)
    if (hold === null) return notFound(key)
    const { userId, currency, amount, remaining } = hold
    const released = amountAtto === null ? remaining : this.#unitsOf(amountAtto, currency)
    if (released === null) return { code: 'INVALID_AMOUNT', detail: `the amount has more places than ${currency}` }
    if (released > remaining) {
      const amounts = { currency, available: remaining, required: released }
      return { code: 'HOLD_EXCEEDED', detail: `hold ${key} has not so much left`, amounts }
    }
    this.#change(hold, -released)
    return { released, state: { userId, currency, amount, remaining: remaining - released } }
  }

  /**
   * What the movements draw on the holds they name, one for each hold; each takes what those before it have left. They are
   * not drawn yet.
   */
  drawsOf(movements: readonly Movement[]): readonly Draw[] | Refusal {
    if (movements.every(({ hold }) => hold === undefined)) return NO_DRAWS
    const draws = new Map<string, Draw>()
    for (const { hold: key, userId, currency, amount } of movements) {
      if (key === undefined) continue
      const hold = this.#standing(key)
      if (hold === null || hold.userId !== userId || hold.currency !== currency) return notFound(key)
      const drawn = draws.get(key)?.amount ?? 0n
      const left = hold.remaining - drawn
      draws.set(key, { hold, amount: drawn + (amount < left ? amount : left) })
    }
    return [...draws.values()]
  }

  draw(draws: readonly Draw[]): void {
    for (const { hold, amount } of draws) this.#change(hold, -amount)
  }

  /** What was drawn on it is spent; what remains is available again, and nothing is drawn on it any more. */
  takeBack(key: string): void {
    const hold = this.#standing(key)
    // What is known of the key was read before the hold was taken back.
    if (hold === null) throw new StaleError(`hold ${key} is applied, and is not there`)
    this.#change(hold, -hold.remaining, true)
  }

  /** Sets aside again what was released; why it can't be, or null. */
  takeBackRelease(key: string, released: bigint): Refusal | null {
    const hold = this.#standing(key)
    if (hold === null) return notFound(key)
    const shortage = this.#accounts.shortage(hold.userId, hold.currency, released)
    if (shortage === null) this.#change(hold, released)
    return shortage
  }

  /** The hold as a call left it. */
  stateOf(key: string, remaining: bigint | null): HoldState {
    const hold = this.#placed(key)
    if (hold === undefined) throw new Error(`hold ${key} is not there`)
    const { userId, currency, amount } = hold
    return { userId, currency, amount, remaining: remaining ?? amount }
  }

  #change(hold: HoldRow, change: bigint, isReversed = false): void {
    const before = this.#holds.get(hold.key)?.before
    const after = { ...hold, remaining: hold.remaining + change, isReversed }
    this.#holds.set(hold.key, { before: before === undefined ? hold : before, after })
    this.#accounts.setAside(hold, change)
  }

  #placed(key: string): HoldRow | undefined {
    return this.#holds.get(key)?.after ?? this.#view.hold(key)
  }

  /** One that is taken back is so for ever; anything else may have changed by the time it is written what rests on it. */
  #standing(key: string): HoldRow | null {
    const hold = this.#placed(key)
    if (hold === undefined) this.#missing.add(key)
    if (hold === undefined || hold.isReversed) return null
    if (!this.#holds.has(key)) this.#holds.set(key, { before: hold, after: hold })
    return hold
  }

  /** Null: the currency has not so many places. */
  #unitsOf(atto: bigint, currency: string): bigint | null {
    const unit = 10n ** BigInt(MAX_SCALE - (this.#view.assets.get(currency)?.scale ?? MAX_SCALE))
    return atto % unit === 0n ? atto / unit : null
  }
}

function notFound(key: string): Refusal {
  return { code: 'HOLD_NOT_FOUND', detail: `the account has no hold ${key}` }
}
