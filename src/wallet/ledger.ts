/**
 * The ledger's rules as a pure function: from what is known (accounts, operations by key) and a list of calls, in order,
 * to the answer of each and the rows to write. The database is only its lock and its log (ledger-wallet.ts), and the
 * memory wallet its reference.
 *
 * A key has one effect, for ever. A refusal for the state of an account spends the key; a reversal spends it too, whether
 * or not there was anything to undo, so that an original that arrives late can do no harm.
 */
import { hash } from 'node:crypto'
import type { Asset } from '../core/market.ts'
import { formatDecimal, MAX_SCALE } from '../core/money.ts'
import { AccountBook } from './account-book.ts'
import { HoldBook } from './hold-book.ts'
import type {
  LedgerCall,
  LedgerChanges,
  LedgerOutcome,
  LedgerView,
  OperationRow,
  Refusal,
  TotalsChange,
} from './ledger-rows.ts'
import {
  changeOf,
  holdFault,
  isOutside,
  keyFault,
  operationFault,
  type RequestFault,
  releaseFault,
  settlementFault,
} from './protocol.ts'
import type { Entry, Hold, HoldState, Movement, Operation, Reason, Release, SettlementCall } from './wallet.ts'

/** The answer to a call that is not even looked at; null: it may be handed to `applyCalls`. */
export function refuseRequest(call: LedgerCall): LedgerOutcome | null {
  const fault = requestFault(call)
  return fault === null ? null : { outcome: 'refused', code: fault.code, detail: fault.detail }
}

function requestFault(call: LedgerCall): RequestFault | null {
  switch (call.kind) {
    case 'operation':
      return operationFault(call.operation)
    case 'settlement':
      return settlementFault(call.settlement)
    case 'reversal':
      return keyFault(call.key)
    case 'hold':
      return holdFault(call.hold)
    case 'release':
      return releaseFault(call.release)
  }
}

/** Answers well-formed calls in order; each stands alone. */
export function applyCalls(
  view: LedgerView,
  calls: readonly LedgerCall[],
  nowMs: number,
): { readonly outcomes: readonly LedgerOutcome[]; readonly changes: LedgerChanges } {
  const batch = new Batch(view, nowMs)
  return { outcomes: calls.map(call => batch.answer(call)), changes: batch.changes() }
}

const NOT_SETTLEMENTS = { code: 'FORBIDDEN', detail: 'what the key did is a deposit or a withdrawal' } as const

interface Posting {
  readonly movement: Movement
  readonly leg: number | null
}

/** The state while a list of calls is answered; nothing outside sees it before it is done. */
class Batch {
  readonly #view: LedgerView
  readonly #nowMs: number
  readonly #accounts: AccountBook
  readonly #holds: HoldBook
  readonly #operations = new Map<string, OperationRow>()
  readonly #new = new Set<string>()
  readonly #legs = new Map<string, readonly Movement[]>()
  readonly #entries: Entry[] = []
  readonly #totals = new Map<string, { -readonly [Sum in keyof TotalsChange]: bigint }>()

  constructor(view: LedgerView, nowMs: number) {
    this.#view = view
    this.#nowMs = nowMs
    this.#accounts = new AccountBook(view)
    this.#holds = new HoldBook(view, this.#accounts)
  }

  answer(call: LedgerCall): LedgerOutcome {
    switch (call.kind) {
      case 'operation':
        return this.#operation(call.operation)
      case 'settlement':
        return this.#settlement(call.settlement)
      case 'reversal':
        return this.#reversal(call)
      case 'hold':
        return this.#hold(call.hold)
      case 'release':
        return this.#release(call.release)
    }
  }

  changes(): LedgerChanges {
    const rows = [...this.#operations.values()]
    return {
      accounts: this.#accounts.changes(),
      newOperations: rows.filter(row => this.#new.has(row.key)),
      changedOperations: rows.filter(row => !this.#new.has(row.key)),
      entries: this.#entries,
      totals: this.#totals,
      holds: this.#holds.changes(),
      missingHolds: this.#holds.missing(),
    }
  }

  #operation(operation: Operation): LedgerOutcome {
    const row = this.#operationRow(operation)
    const known = this.#known(operation.key)
    if (known !== undefined) return this.#repeated(known, isSameOperation(known, row))
    if (!this.#view.assets.has(operation.currency)) return this.#refuse(row, unknownCurrency(operation.currency))
    const draws = this.#holds.drawsOf([operation])
    if ('code' in draws) return this.#refuse(row, draws)
    const obstacle = this.#accounts.obstacle([operation], draws)
    if (obstacle !== null) return this.#refuse(row, obstacle)
    this.#holds.draw(draws)
    const balanceAfter = this.#post(
      operation.key,
      operation.tradeId,
      { movement: operation, leg: null },
      changeOf(operation),
    )
    this.#keep({ ...row, balanceAfter })
    return { outcome: 'applied', replayed: false, done: { balanceAfter, appliedAtMs: this.#nowMs } }
  }

  #settlement(settlement: SettlementCall): LedgerOutcome {
    const row = this.#settlementRow(settlement)
    const known = this.#known(settlement.key)
    if (known !== undefined) return this.#repeated(known, known.kind === 'settlement' && known.content === row.content)
    const unknown = settlement.legs.find(leg => !this.#view.assets.has(leg.currency))
    if (unknown !== undefined) return this.#refuse(row, unknownCurrency(unknown.currency))
    const draws = this.#holds.drawsOf(settlement.legs)
    if ('code' in draws) return this.#refuse(row, draws)
    const obstacle = this.#accounts.obstacle(settlement.legs, draws)
    if (obstacle !== null) return this.#refuse(row, obstacle)
    this.#holds.draw(draws)
    settlement.legs.forEach((movement, leg) => {
      this.#post(settlement.key, settlement.tradeId, { movement, leg }, changeOf(movement))
    })
    this.#legs.set(settlement.key, settlement.legs)
    this.#keep(row)
    return { outcome: 'applied', replayed: false, done: null }
  }

  #hold(hold: Hold): LedgerOutcome {
    const row = this.#holdRow(hold)
    const known = this.#known(hold.key)
    if (known !== undefined) return this.#repeated(known, isSameOperation(known, row))
    if (!this.#view.assets.has(hold.currency)) return this.#refuse(row, unknownCurrency(hold.currency))
    const placed = this.#holds.place(hold)
    if ('code' in placed) return this.#refuse(row, placed)
    this.#keep(row)
    return { outcome: 'applied', replayed: false, done: placed }
  }

  #release(release: Release): LedgerOutcome {
    const row = this.#releaseRow(release)
    const known = this.#known(release.key)
    if (known !== undefined) {
      return this.#repeated(known, known.kind === 'release' && known.hold === row.hold && known.content === row.content)
    }
    const given = this.#holds.release(release)
    if ('code' in given) {
      return given.code === 'INVALID_AMOUNT' ? { outcome: 'refused', ...given } : this.#refuse(row, given)
    }
    const { released, state } = given
    const { userId, currency, remaining } = state
    this.#keep({ ...row, userId, currency, amount: released === 0n ? null : released, remaining })
    return { outcome: 'applied', replayed: false, done: state }
  }

  #reversal({ key, only }: LedgerCall & { readonly kind: 'reversal' }): LedgerOutcome {
    const known = this.#known(key)
    if (known === undefined) {
      this.#keep({ ...NOTHING, key, kind: 'reversal', status: 'cancelled', atMs: this.#nowMs })
      return { outcome: 'applied', replayed: false, done: { status: 'cancelled' } }
    }
    if (known.status === 'reversed' || known.status === 'cancelled') {
      return { outcome: 'applied', replayed: true, done: { status: known.status } }
    }
    if (only === 'settlement' && isOutside(known.reason)) return { outcome: 'refused', ...NOT_SETTLEMENTS }
    if (known.status === 'refused') {
      this.#change({ ...known, status: 'cancelled' })
      return { outcome: 'applied', replayed: false, done: { status: 'cancelled' } }
    }
    const obstacle = this.#takeBack(known)
    // Not remembered: once the money is there again, the same reversal succeeds.
    if (obstacle !== null) return { outcome: 'refused', ...obstacle }
    this.#change({ ...known, status: 'reversed' })
    return { outcome: 'applied', replayed: false, done: { status: 'reversed' } }
  }

  /** Undoes what the key has done; why that can't be, or null. */
  #takeBack(known: OperationRow): Refusal | null {
    switch (known.kind) {
      case 'hold':
        this.#holds.takeBack(known.key)
        return null
      case 'release':
        return this.#holds.takeBackRelease(known.hold ?? '', known.amount ?? 0n)
      case 'debit':
      case 'credit':
      case 'settlement':
      case 'reversal':
        return this.#takeBackPostings(known)
    }
  }

  #takeBackPostings(known: OperationRow): Refusal | null {
    const postings = this.#postingsOf(known)
    const opposite = postings.map(({ movement: { type: was, userId, currency, amount, reason }, leg }) => {
      const type = was === 'debit' ? ('credit' as const) : ('debit' as const)
      // It names no hold: what a debit drew comes back as available.
      const movement: Movement = { type, userId, currency, amount, reason: 'SETTLEMENT_ROLLBACK' }
      // A deposit that is reversed leaves by the door it came in.
      return { movement, leg, isOutside: isOutside(reason) }
    })
    const obstacle = this.#accounts.obstacle(
      opposite.map(({ movement }) => movement),
      [],
    )
    if (obstacle !== null) return obstacle
    for (const posting of opposite) {
      this.#post(known.key, known.tradeId, posting, changeOf(posting.movement), posting.isOutside)
    }
    return null
  }

  #postingsOf(known: OperationRow): readonly Posting[] {
    if (known.kind === 'settlement') {
      const legs = this.#legs.get(known.key) ?? this.#view.legsMoved(known.key)
      return legs.map((movement, leg) => ({ movement, leg }))
    }
    const { kind, userId, currency, amount, reason } = known
    const isMovement = kind === 'debit' || kind === 'credit'
    if (!isMovement || userId === null || currency === null || amount === null || reason === null) {
      throw new Error(`operation ${known.key} is applied, and does not say what it moved`)
    }
    return [{ movement: { type: kind, userId, currency, amount, reason }, leg: null }]
  }

  /** The answer the key's first call got, if this is that call again. */
  #repeated(known: OperationRow, isSame: boolean): LedgerOutcome {
    if (known.status === 'reversed' || known.status === 'cancelled') {
      return {
        outcome: 'refused',
        code: 'REVERSED',
        detail: 'the key has been reversed; nothing under it is applied any more',
      }
    }
    if (!isSame) {
      const detail = 'the key was used before with other content'
      return { outcome: 'fault', code: 'IDEMPOTENCY_KEY_REUSED', detail }
    }
    if (known.status === 'refused') {
      const refused = { outcome: 'refused', code: known.code ?? 'INTERNAL', detail: known.detail ?? '' } as const
      return known.shortfall === null ? refused : { ...refused, amounts: known.shortfall }
    }
    const { balanceAfter, atMs } = known
    const done = balanceAfter === null ? this.#heldThen(known) : { balanceAfter, appliedAtMs: atMs }
    return { outcome: 'applied', replayed: true, done }
  }

  /** The hold as its own call, or a release of it, left it; null: it was neither. */
  #heldThen({ kind, key, hold, remaining }: OperationRow): HoldState | null {
    return kind === 'hold' || kind === 'release' ? this.#holds.stateOf(hold ?? key, remaining) : null
  }

  #refuse(row: OperationRow, refusal: Refusal): LedgerOutcome {
    if (this.#view.remembersRefusals) {
      const { code, detail, amounts } = refusal
      this.#keep({ ...row, status: 'refused', code, detail, shortfall: amounts ?? null })
    }
    return { outcome: 'refused', ...refusal }
  }

  #post(
    key: string,
    tradeId: string | null,
    { movement, leg }: Posting,
    amount: bigint,
    isReversedOutside = false,
  ): bigint {
    const { userId, currency, reason } = movement
    const looked = this.#accounts.look(userId, currency)
    const balanceAfter = looked.after.balance + amount
    const seq = looked.after.entryCount + 1n
    const { held, mayOverdraw } = looked.after
    looked.after = { userId, currency, balance: balanceAfter, held, entryCount: seq, mayOverdraw, isOpen: true }
    this.#entries.push({ userId, currency, seq, key, leg, tradeId, amount, balanceAfter, reason, atMs: this.#nowMs })
    this.#count(currency, reason, amount, isReversedOutside)
    return balanceAfter
  }

  #count(currency: string, reason: Reason, amount: bigint, isReversedOutside: boolean): void {
    let sums = this.#totals.get(currency)
    if (sums === undefined) {
      sums = { balances: 0n, clearing: 0n, deposits: 0n, withdrawals: 0n }
      this.#totals.set(currency, sums)
    }
    sums.balances += amount
    if (reason === 'DEPOSIT' || (isReversedOutside && amount < 0n)) sums.deposits += amount
    else if (reason === 'WITHDRAWAL' || (isReversedOutside && amount > 0n)) sums.withdrawals -= amount
    else sums.clearing -= amount
  }

  #known(key: string): OperationRow | undefined {
    return this.#operations.get(key) ?? this.#view.operation(key)
  }

  #keep(row: OperationRow): void {
    this.#operations.set(row.key, row)
    this.#new.add(row.key)
  }

  #change(row: OperationRow): void {
    this.#operations.set(row.key, row)
  }

  #operationRow({ key, type, tradeId, userId, currency, amount, reason, hold }: Operation): OperationRow {
    return {
      ...NOTHING,
      key,
      kind: type,
      status: 'applied',
      tradeId,
      userId,
      currency,
      amount,
      reason,
      hold: hold ?? null,
      atMs: this.#nowMs,
    }
  }

  #holdRow({ key, userId, currency, amount }: Hold): OperationRow {
    return { ...NOTHING, key, kind: 'hold', status: 'applied', userId, currency, amount, atMs: this.#nowMs }
  }

  #releaseRow({ key, hold, amountAtto }: Release): OperationRow {
    const content = amountAtto === null ? 'all' : formatDecimal(amountAtto, MAX_SCALE)
    return { ...NOTHING, key, kind: 'release', status: 'applied', hold, content, atMs: this.#nowMs }
  }

  #settlementRow({ key, tradeId, legs }: SettlementCall): OperationRow {
    const content = contentOf(tradeId, legs, this.#view.assets)
    return { ...NOTHING, key, kind: 'settlement', status: 'applied', tradeId, content, atMs: this.#nowMs }
  }
}

const NOTHING = {
  tradeId: null,
  userId: null,
  currency: null,
  amount: null,
  reason: null,
  content: null,
  hold: null,
  balanceAfter: null,
  remaining: null,
  code: null,
  detail: null,
  shortfall: null,
} as const

function unknownCurrency(currency: string): Refusal {
  return { code: 'UNKNOWN_CURRENCY', detail: `no account can hold ${currency}` }
}

function isSameOperation(known: OperationRow, given: OperationRow): boolean {
  return (
    known.kind === given.kind &&
    known.userId === given.userId &&
    known.currency === given.currency &&
    known.amount === given.amount &&
    known.reason === given.reason &&
    known.tradeId === given.tradeId &&
    known.hold === given.hold
  )
}

/** What a repeated settlement must match: the SHA-256 of its trade and legs, in order, by value: a scale may grow. */
function contentOf(tradeId: string, legs: readonly Movement[], assets: ReadonlyMap<string, Asset>): string {
  const said = legs.map(({ type, userId, amount, currency, reason, hold }) => {
    const value = formatDecimal(amount, assets.get(currency)?.scale ?? MAX_SCALE)
    const movement = `${type} ${userId} ${value} ${currency} ${reason}`
    return hold === undefined ? movement : `${movement} ${hold}`
  })
  return hash('sha256', `${tradeId}\n${said.join('\n')}`, 'base64url')
}
