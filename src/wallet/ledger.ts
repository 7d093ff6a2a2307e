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
import { changeOf, keyFault, operationFault, type RequestFault, settlementFault } from './protocol.ts'
import type {
  Entry,
  Movement,
  Operation,
  OperationDone,
  Outcome,
  Reason,
  ReversalDone,
  SettlementCall,
  Shortfall,
  Totals,
} from './wallet.ts'

export type LedgerCall =
  | { readonly kind: 'operation'; readonly operation: Operation }
  | { readonly kind: 'settlement'; readonly settlement: SettlementCall }
  | { readonly kind: 'reversal'; readonly key: string }

export interface Account {
  readonly userId: string
  readonly currency: string
  readonly balance: bigint
  /** Entries so far; the next one's number is one more. */
  readonly entryCount: bigint
  /** The exchange's fee account, for rebates. */
  readonly mayOverdraw: boolean
  /** False until its first entry is written. */
  readonly isOpen: boolean
}

/** What a key has done. */
export interface OperationRow {
  readonly key: string
  readonly kind: 'debit' | 'credit' | 'settlement' | 'reversal'
  readonly status: 'applied' | 'refused' | 'reversed' | 'cancelled'
  readonly tradeId: string | null
  readonly userId: string | null
  readonly currency: string | null
  readonly amount: bigint | null
  readonly reason: Reason | null
  readonly content: string | null
  readonly balanceAfter: bigint | null
  readonly code: string | null
  readonly detail: string | null
  readonly shortfall: Shortfall | null
  readonly atMs: number
}

/** How the sums of a currency change. */
export type TotalsChange = Omit<Totals, 'currency'>

/** What is known before the calls. */
export interface LedgerView {
  readonly assets: ReadonlyMap<string, Asset>
  /** One without entries has a balance of zero. */
  account(userId: string, currency: string): Account
  operation(key: string): OperationRow | undefined
  /** The legs a settlement's key has moved, in order; asked for only where it is to be reversed. */
  legsMoved(key: string): readonly Movement[]
  /** False for a wallet of level 0: a refusal leaves no trace. */
  readonly remembersRefusals: boolean
}

/** An account that was looked at; `after` is `before` where nothing moved on it. */
export interface AccountChange {
  readonly before: Account
  readonly after: Account
}

/** What is known by account. Two maps, not one with joined keys: making those costs more than everything done with them. */
export class AccountMap<Value> {
  readonly #users = new Map<string, Map<string, Value>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  get(userId: string, currency: string): Value | undefined {
    return this.#users.get(userId)?.get(currency)
  }

  set(userId: string, currency: string, value: Value): void {
    let currencies = this.#users.get(userId)
    if (currencies === undefined) {
      currencies = new Map()
      this.#users.set(userId, currencies)
    }
    if (!currencies.has(currency)) this.#size++
    currencies.set(currency, value)
  }

  clear(): void {
    this.#users.clear()
    this.#size = 0
  }

  values(): readonly Value[] {
    return [...this.#users.values()].flatMap(currencies => [...currencies.values()])
  }
}

export interface LedgerChanges {
  readonly accounts: readonly AccountChange[]
  readonly newOperations: readonly OperationRow[]
  readonly changedOperations: readonly OperationRow[]
  readonly entries: readonly Entry[]
  readonly totals: ReadonlyMap<string, TotalsChange>
}

export type LedgerOutcome = Outcome<OperationDone | ReversalDone | null>

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

interface Posting {
  readonly movement: Movement
  readonly leg: number | null
}

interface Looked {
  readonly before: Account
  after: Account
}

/** The state while a list of calls is answered; nothing outside sees it before it is done. */
class Batch {
  readonly #view: LedgerView
  readonly #nowMs: number
  readonly #accounts = new AccountMap<Looked>()
  readonly #operations = new Map<string, OperationRow>()
  readonly #new = new Set<string>()
  readonly #legs = new Map<string, readonly Movement[]>()
  readonly #entries: Entry[] = []
  readonly #totals = new Map<string, { -readonly [Sum in keyof TotalsChange]: bigint }>()

  constructor(view: LedgerView, nowMs: number) {
    this.#view = view
    this.#nowMs = nowMs
  }

  answer(call: LedgerCall): LedgerOutcome {
    switch (call.kind) {
      case 'operation':
        return this.#operation(call.operation)
      case 'settlement':
        return this.#settlement(call.settlement)
      case 'reversal':
        return this.#reversal(call.key)
    }
  }

  changes(): LedgerChanges {
    const rows = [...this.#operations.values()]
    return {
      accounts: this.#accounts.values(),
      newOperations: rows.filter(row => this.#new.has(row.key)),
      changedOperations: rows.filter(row => !this.#new.has(row.key)),
      entries: this.#entries,
      totals: this.#totals,
    }
  }

  #operation(operation: Operation): LedgerOutcome {
    const row = this.#operationRow(operation)
    const known = this.#known(operation.key)
    if (known !== undefined) return this.#repeated(known, isSameOperation(known, row))
    if (!this.#view.assets.has(operation.currency)) return this.#refuse(row, unknownCurrency(operation.currency))
    const obstacle = this.#obstacle([operation])
    if (obstacle !== null) return this.#refuse(row, obstacle)
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
    const obstacle = this.#obstacle(settlement.legs)
    if (obstacle !== null) return this.#refuse(row, obstacle)
    settlement.legs.forEach((movement, leg) => {
      this.#post(settlement.key, settlement.tradeId, { movement, leg }, changeOf(movement))
    })
    this.#legs.set(settlement.key, settlement.legs)
    this.#keep(row)
    return { outcome: 'applied', replayed: false, done: null }
  }

  #reversal(key: string): LedgerOutcome {
    const known = this.#known(key)
    if (known === undefined) {
      this.#keep({ ...NOTHING, key, kind: 'reversal', status: 'cancelled', atMs: this.#nowMs })
      return { outcome: 'applied', replayed: false, done: { status: 'cancelled' } }
    }
    if (known.status === 'reversed' || known.status === 'cancelled') {
      return { outcome: 'applied', replayed: true, done: { status: known.status } }
    }
    if (known.status === 'refused') {
      this.#change({ ...known, status: 'cancelled' })
      return { outcome: 'applied', replayed: false, done: { status: 'cancelled' } }
    }
    return this.#takeBack(known)
  }

  #takeBack(known: OperationRow): LedgerOutcome {
    const postings = this.#postingsOf(known)
    const opposite = postings.map(({ movement, leg }) => {
      const type = movement.type === 'debit' ? ('credit' as const) : ('debit' as const)
      // A deposit that is reversed leaves by the door it came in.
      const isOutside = movement.reason === 'DEPOSIT' || movement.reason === 'WITHDRAWAL'
      return { movement: { ...movement, type, reason: 'SETTLEMENT_ROLLBACK' as const }, leg, isOutside }
    })
    const obstacle = this.#obstacle(opposite.map(({ movement }) => movement))
    // Not remembered: once the money is there again, the same reversal succeeds.
    if (obstacle !== null) return { outcome: 'refused', ...obstacle }
    for (const posting of opposite) {
      this.#post(known.key, known.tradeId, posting, changeOf(posting.movement), posting.isOutside)
    }
    this.#change({ ...known, status: 'reversed' })
    return { outcome: 'applied', replayed: false, done: { status: 'reversed' } }
  }

  #postingsOf(known: OperationRow): readonly Posting[] {
    if (known.kind === 'settlement') {
      const legs = this.#legs.get(known.key) ?? this.#view.legsMoved(known.key)
      return legs.map((movement, leg) => ({ movement, leg }))
    }
    const { kind, userId, currency, amount, reason } = known
    if (kind === 'reversal' || userId === null || currency === null || amount === null || reason === null) {
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
    return {
      outcome: 'applied',
      replayed: true,
      done: balanceAfter === null ? null : { balanceAfter, appliedAtMs: atMs },
    }
  }

  #refuse(row: OperationRow, refusal: Refusal): LedgerOutcome {
    if (this.#view.remembersRefusals) {
      const { code, detail, amounts } = refusal
      this.#keep({ ...row, status: 'refused', code, detail, shortfall: amounts ?? null })
    }
    return { outcome: 'refused', ...refusal }
  }

  /** Why the movements can't be made; checked on the sum per account, not movement by movement. */
  #obstacle(movements: readonly Movement[]): Refusal | null {
    const changes = new Map<Looked, bigint>()
    for (const movement of movements) {
      const looked = this.#account(movement.userId, movement.currency)
      changes.set(looked, (changes.get(looked) ?? 0n) + changeOf(movement))
    }
    for (const [looked, change] of changes) {
      const obstacle = this.#accountObstacle(looked, change)
      if (obstacle !== null) return obstacle
    }
    return null
  }

  #accountObstacle({ after: { userId, currency, balance, mayOverdraw } }: Looked, change: bigint): Refusal | null {
    if (change >= 0n || balance + change >= 0n || mayOverdraw) return null
    const amounts: Shortfall = { currency, available: balance, required: -change }
    return { code: 'INSUFFICIENT_BALANCE', detail: `not enough ${currency} in account ${userId}`, amounts }
  }

  #post(
    key: string,
    tradeId: string | null,
    { movement, leg }: Posting,
    amount: bigint,
    isReversedOutside = false,
  ): bigint {
    const { userId, currency, reason } = movement
    const looked = this.#account(userId, currency)
    const balanceAfter = looked.after.balance + amount
    const seq = looked.after.entryCount + 1n
    const { mayOverdraw } = looked.after
    looked.after = { userId, currency, balance: balanceAfter, entryCount: seq, mayOverdraw, isOpen: true }
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

  #account(userId: string, currency: string): Looked {
    let looked = this.#accounts.get(userId, currency)
    if (looked === undefined) {
      const before = this.#view.account(userId, currency)
      looked = { before, after: before }
      this.#accounts.set(userId, currency, looked)
    }
    return looked
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

  #operationRow({ key, type, tradeId, userId, currency, amount, reason }: Operation): OperationRow {
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
      atMs: this.#nowMs,
    }
  }

  #settlementRow({ key, tradeId, legs }: SettlementCall): OperationRow {
    const content = contentOf(tradeId, legs, this.#view.assets)
    return { ...NOTHING, key, kind: 'settlement', status: 'applied', tradeId, content, atMs: this.#nowMs }
  }
}

type Refusal = { readonly code: string; readonly detail: string; readonly amounts?: Shortfall }

const NOTHING = {
  tradeId: null,
  userId: null,
  currency: null,
  amount: null,
  reason: null,
  content: null,
  balanceAfter: null,
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
    known.tradeId === given.tradeId
  )
}

/** What a repeated settlement must match: the SHA-256 of its trade and legs, in order, by value: a scale may grow. */
function contentOf(tradeId: string, legs: readonly Movement[], assets: ReadonlyMap<string, Asset>): string {
  const said = legs.map(({ type, userId, amount, currency, reason }) => {
    const value = formatDecimal(amount, assets.get(currency)?.scale ?? MAX_SCALE)
    return `${type} ${userId} ${value} ${currency} ${reason}`
  })
  return hash('sha256', `${tradeId}\n${said.join('\n')}`, 'base64url')
}
