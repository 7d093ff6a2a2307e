/** The accounts while a batch of calls is decided (ledger.ts): what is on them, and whether it is enough. */
import type { Draw } from './hold-book.ts'
import { type Account, type AccountChange, AccountMap, type LedgerView, type Refusal } from './ledger-rows.ts'
import { changeOf } from './protocol.ts'
import type { Movement } from './wallet.ts'

export interface Looked {
  readonly before: Account
  after: Account
}

export class AccountBook {
  readonly #view: LedgerView
  readonly #accounts = new AccountMap<Looked>()

  constructor(view: LedgerView) {
    this.#view = view
  }

  look(userId: string, currency: string): Looked {
    let looked = this.#accounts.get(userId, currency)
    if (looked === undefined) {
      const before = this.#view.account(userId, currency)
      looked = { before, after: before }
      this.#accounts.set(userId, currency, looked)
    }
    return looked
  }

  /** All that were looked at. */
  changes(): readonly AccountChange[] {
    return this.#accounts.values()
  }

  /** Why the movements can't be made: of what is available, on the sum per account, not movement by movement. */
  obstacle(movements: readonly Movement[], draws: readonly Draw[]): Refusal | null {
    const changes = new Map<Looked, bigint>()
    for (const movement of movements) {
      const looked = this.look(movement.userId, movement.currency)
      changes.set(looked, (changes.get(looked) ?? 0n) + changeOf(movement))
    }
    for (const { hold, amount } of draws) {
      const looked = this.look(hold.userId, hold.currency)
      changes.set(looked, (changes.get(looked) ?? 0n) + amount)
    }
    for (const [{ after }, change] of changes) {
      if (change >= 0n || availableOn(after) + change >= 0n || after.mayOverdraw) continue
      return notEnough(after, -change)
    }
    return null
  }

  /** Why an amount can't be set aside: what is not there can't be, also where an account may be overdrawn. */
  shortage(userId: string, currency: string, amount: bigint): Refusal | null {
    const { after } = this.look(userId, currency)
    return availableOn(after) >= amount ? null : notEnough(after, amount)
  }

  /** @param amount below zero: it is available again. */
  setAside({ userId, currency }: Pick<Account, 'userId' | 'currency'>, amount: bigint): void {
    const looked = this.look(userId, currency)
    looked.after = { ...looked.after, held: looked.after.held + amount }
  }
}

function availableOn({ balance, held }: Account): bigint {
  return balance - held
}

function notEnough(account: Account, required: bigint): Refusal {
  const { userId, currency } = account
  const amounts = { currency, available: availableOn(account), required }
  return { code: 'INSUFFICIENT_BALANCE', detail: `not enough ${currency} in account ${userId}`, amounts }
}
