/**
 * What a batch of calls has to know before it can be decided: the keys' operations, the accounts, and of settlements that
 * are to be taken back their legs, and the holds that calls name. One statement each, set-wise; with locks, or without.
 */
import type { Instruments } from '../core/instruments.ts'
import { parseDecimal, parseStored } from '../core/money.ts'
import { arrayOf, type Connection, type Database } from '../db.ts'
import { readHolds } from './ledger-holds.ts'
import {
  type Account,
  AccountMap,
  type HoldRow,
  type LedgerCall,
  type LedgerView,
  type OperationRow,
  scaleOf,
} from './ledger-rows.ts'
import type { Movement, Reason } from './wallet.ts'

export interface StateOptions {
  /** May grow; a scale changes only while no call is under way. */
  readonly instruments: Instruments
  readonly feeUserId: string
}

/** What may be left out of the reading, since the caller knows it. */
export interface Spared {
  readonly isKnown: (userId: string, currency: string) => boolean
  readonly knownHold: (key: string) => HoldRow | undefined
  /** Nobody has used the keys: whoever writes finds out if that is wrong. */
  readonly keysAreNew: boolean
}

export type LedgerState = Omit<LedgerView, 'remembersRefusals'>

const NOTHING_SPARED: Spared = { isKnown: () => false, knownHold: () => undefined, keysAreNew: false }

/** On a connection (inside a transaction) everything is locked, in sorted order; on the pool nothing is, and nothing sorted. */
export async function readState(
  source: Connection | Database,
  { instruments, feeUserId }: StateOptions,
  calls: readonly LedgerCall[],
  { isKnown, knownHold, keysAreNew }: Spared = NOTHING_SPARED,
): Promise<LedgerState> {
  const reading: Reading = { source, instruments, lock: 'release' in source ? 'for update' : '' }
  const operations = keysAreNew ? NO_OPERATIONS : await readOperations(reading, calls.map(keyOf))
  const reversed = calls.flatMap(call => (call.kind === 'reversal' ? (operations.get(call.key) ?? []) : []))
  const legs = await readLegsMoved(reading, reversed)
  const named = holdsNamed(calls, reversed, keysAreNew)
  const holds = await readUnknownHolds(reading, named, knownHold)
  const wanted = new AccountMap<Account>()
  const want = (userId: string, currency: string): void => {
    if (isKnown(userId, currency) || !instruments.assets.has(currency)) return
    if (wanted.get(userId, currency) === undefined) {
      wanted.set(userId, currency, emptyAccount(userId, currency, feeUserId))
    }
  }
  for (const call of calls) {
    if (call.kind === 'operation') want(call.operation.userId, call.operation.currency)
    if (call.kind === 'hold') want(call.hold.userId, call.hold.currency)
    if (call.kind === 'settlement') for (const leg of call.settlement.legs) want(leg.userId, leg.currency)
  }
  for (const { userId, currency } of reversed) if (userId !== null && currency !== null) want(userId, currency)
  for (const moved of legs.values()) for (const leg of moved) want(leg.userId, leg.currency)
  for (const key of named) {
    const hold = knownHold(key) ?? holds.get(key)
    if (hold !== undefined) want(hold.userId, hold.currency)
  }
  for (const account of await readAccounts(reading, wanted.values())) {
    wanted.set(account.userId, account.currency, account)
  }
  return {
    assets: instruments.assets,
    account: (userId, currency) => {
      const account = wanted.get(userId, currency)
      if (account === undefined) throw new Error(`account ${userId} ${currency} was not read`)
      return account
    },
    operation: key => operations.get(key),
    legsMoved: key => legs.get(key) ?? [],
    hold: key => holds.get(key),
  }
}

const NO_OPERATIONS: ReadonlyMap<string, OperationRow> = new Map()
const NO_HOLDS: ReadonlyMap<string, HoldRow> = new Map()

interface Reading {
  readonly source: Connection | Database
  readonly instruments: Instruments
  readonly lock: 'for update' | ''
}

export function keyOf(call: LedgerCall): string {
  switch (call.kind) {
    case 'operation':
      return call.operation.key
    case 'settlement':
      return call.settlement.key
    case 'reversal':
      return call.key
    case 'hold':
      return call.hold.key
    case 'release':
      return call.release.key
  }
}

function emptyAccount(userId: string, currency: string, feeUserId: string): Account {
  return { userId, currency, balance: 0n, held: 0n, entryCount: 0n, mayOverdraw: userId === feeUserId, isOpen: false }
}

export interface StoredOperation {
  readonly key: string
  readonly kind: OperationRow['kind']
  readonly status: OperationRow['status']
  readonly trade_id: string | null
  readonly user_id: string | null
  readonly currency: string | null
  readonly amount: string | null
  readonly reason: Reason | null
  readonly content: string | null
  readonly hold: string | null
  readonly balance_after: string | null
  readonly remaining: string | null
  readonly code: string | null
  readonly detail: string | null
  readonly short_currency: string | null
  readonly available: string | null
  readonly required: string | null
  readonly at: Date
}

/** What is written of any operation; only those that name a hold have more. */
export const OPERATION_COLUMNS = `key, kind, status, trade_id, user_id, currency, amount, reason, content, balance_after,
  code, detail, short_currency, available, required, at`
export const HOLD_COLUMNS = 'hold, remaining'

async function readOperations(
  { source, instruments, lock }: Reading,
  keys: readonly string[],
): Promise<ReadonlyMap<string, OperationRow>> {
  const { rows } = await source.query<StoredOperation>({
    name: `read-operations ${lock}`,
    text: `
      select ${OPERATION_COLUMNS}, ${HOLD_COLUMNS}
      from ledger_operations
      where key = any($1::text[])
      order by key
      ${lock}`,
    values: [arrayOf(keys)],
  })
  return new Map(rows.map(row => [row.key, operationOf(row, instruments)]))
}

export function operationOf(row: StoredOperation, instruments: Instruments): OperationRow {
  const units = (text: string | null, currency: string | null): bigint | null =>
    text === null ? null : unitsOf(text, scaleOf(instruments, currency), row.status)
  const { short_currency: currency } = row
  const available = units(row.available, currency)
  const required = units(row.required, currency)
  return {
    key: row.key,
    kind: row.kind,
    status: row.status,
    tradeId: row.trade_id,
    userId: row.user_id,
    currency: row.currency,
    amount: units(row.amount, row.currency),
    reason: row.reason,
    content: row.content,
    hold: row.hold,
    balanceAfter: units(row.balance_after, row.currency),
    remaining: units(row.remaining, row.currency),
    code: row.code,
    detail: row.detail,
    shortfall: currency === null || available === null || required === null ? null : { currency, available, required },
    atMs: row.at.getTime(),
  }
}

/**
 * What never moved money was perhaps asked for in a currency that was not known then, with more places than it has now.
 * Null: no call can have that content any more.
 */
function unitsOf(text: string, scale: number, status: OperationRow['status']): bigint | null {
  if (status === 'applied' || status === 'reversed') return parseStored(text, scale)
  const units = parseDecimal(text, scale)
  return typeof units === 'bigint' ? units : null
}

/**
 * The keys of the holds that calls draw on or release, that what is to be taken back has placed or released, and, where keys
 * may have been used, that calls place.
 */
function holdsNamed(
  calls: readonly LedgerCall[],
  reversed: readonly OperationRow[],
  keysAreNew: boolean,
): ReadonlySet<string> {
  const keys = new Set<string>()
  const want = (key: string | null | undefined): void => {
    if (key !== null && key !== undefined) keys.add(key)
  }
  for (const call of calls) {
    if (call.kind === 'operation') want(call.operation.hold)
    if (call.kind === 'settlement') for (const leg of call.settlement.legs) want(leg.hold)
    if (call.kind === 'hold' && !keysAreNew) want(call.hold.key)
    if (call.kind === 'release') want(call.release.hold)
  }
  for (const { key, kind, hold } of reversed) {
    if (kind === 'hold') want(key)
    if (kind === 'release') want(hold)
  }
  return keys
}

async function readUnknownHolds(
  { source, instruments, lock }: Reading,
  named: ReadonlySet<string>,
  knownHold: Spared['knownHold'],
): Promise<ReadonlyMap<string, HoldRow>> {
  const unknown = [...named].filter(key => knownHold(key) === undefined)
  if (unknown.length === 0) return NO_HOLDS
  const holds = await readHolds(source, instruments, unknown, lock)
  return new Map(holds.map(hold => [hold.key, hold]))
}

/** The movements of settlements that are to be taken back, by key, in the order of their legs. */
async function readLegsMoved(
  { source, instruments }: Reading,
  operations: readonly OperationRow[],
): Promise<ReadonlyMap<string, readonly Movement[]>> {
  const settlements = operations.filter(({ kind, status }) => kind === 'settlement' && status === 'applied')
  const legs = new Map<string, Movement[]>()
  if (settlements.length === 0) return legs
  const { rows } = await source.query<{
    readonly key: string
    readonly user_id: string
    readonly currency: string
    readonly amount: string
    readonly reason: Reason
  }>({
    name: 'select-legs-moved',
    text: `
      select key, user_id, currency, amount, reason
      from ledger_entries
      where trade_id = any($1::uuid[])
        and key = any($2::text[])
      order by key, leg`,
    values: [arrayOf(settlements.map(({ tradeId }) => tradeId)), arrayOf(settlements.map(({ key }) => key))],
  })
  for (const row of rows) {
    const change = parseStored(row.amount, scaleOf(instruments, row.currency))
    const type = change < 0n ? 'debit' : 'credit'
    const amount = change < 0n ? -change : change
    const leg: Movement = { type, userId: row.user_id, currency: row.currency, amount, reason: row.reason }
    const moved = legs.get(row.key)
    if (moved === undefined) legs.set(row.key, [leg])
    else moved.push(leg)
  }
  return legs
}

/** Those of the accounts that exist; locked in sorted order, so that transactions never do so crosswise. */
async function readAccounts(
  { source, instruments, lock }: Reading,
  accounts: readonly Account[],
): Promise<readonly Account[]> {
  if (accounts.length === 0) return []
  const { rows } = await source.query<{
    readonly user_id: string
    readonly currency: string
    readonly balance: string
    readonly held: string
    readonly entry_count: bigint
    readonly may_overdraw: boolean
  }>({
    name: `read-accounts ${lock}`,
    text: `
      select a.user_id, a.currency, a.balance, a.held, a.entry_count, a.may_overdraw
      from ledger_accounts a
      join unnest($1::uuid[], $2::text[]) as d (user_id, currency) using (user_id, currency)
      ${lock === '' ? '' : 'order by a.user_id, a.currency for update of a'}`,
    values: [arrayOf(accounts.map(({ userId }) => userId)), arrayOf(accounts.map(({ currency }) => currency))],
  })
  const isFeeAccount = new Map(accounts.map(({ userId, mayOverdraw }) => [userId, mayOverdraw]))
  return rows.map(row => ({
    userId: row.user_id,
    currency: row.currency,
    balance: parseStored(row.balance, scaleOf(instruments, row.currency)),
    held: row.held === '0' ? 0n : parseStored(row.held, scaleOf(instruments, row.currency)),
    entryCount: row.entry_count,
    mayOverdraw: row.may_overdraw || isFeeAccount.get(row.user_id) === true,
    isOpen: true,
  }))
}
