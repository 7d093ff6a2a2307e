/** What a ledger transaction reads and writes, one statement each, set-wise. */
import type { Instruments } from '../core/instruments.ts'
import { formatDecimal, MAX_SCALE, parseDecimal, parseStored } from '../core/money.ts'
import { arrayOf, type Connection } from '../db.ts'
import { type Account, accountKey, type LedgerChanges, type OperationRow } from './ledger.ts'
import type { Entry, Movement, Reason } from './wallet.ts'

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
  readonly balance_after: string | null
  readonly code: string | null
  readonly detail: string | null
  readonly short_currency: string | null
  readonly available: string | null
  readonly required: string | null
  readonly at: Date
}

export const OPERATION_COLUMNS = `key, kind, status, trade_id, user_id, currency, amount, reason, content, balance_after,
  code, detail, short_currency, available, required, at`

/** Locked, so that two transactions can't both take back what a key has done. */
export async function lockOperations(
  connection: Connection,
  instruments: Instruments,
  keys: readonly string[],
): Promise<ReadonlyMap<string, OperationRow>> {
  const { rows } = await connection.query<StoredOperation>({
    name: 'lock-operations',
    text: `
      select ${OPERATION_COLUMNS}
      from ledger_operations
      where key = any($1::text[])
      order by key
      for update`,
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
    balanceAfter: units(row.balance_after, row.currency),
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

/** The movements of settlements that are to be taken back, by key, in the order of their legs. */
export async function selectLegsMoved(
  connection: Connection,
  instruments: Instruments,
  operations: readonly OperationRow[],
): Promise<ReadonlyMap<string, readonly Movement[]>> {
  const settlements = operations.filter(({ kind, status }) => kind === 'settlement' && status === 'applied')
  const legs = new Map<string, Movement[]>()
  if (settlements.length === 0) return legs
  const { rows } = await connection.query<{
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

/** Those of the accounts that exist, by `accountKey`; locked in sorted order, so that transactions never lock crosswise. */
export async function lockAccounts(
  connection: Connection,
  instruments: Instruments,
  accounts: readonly Account[],
): Promise<ReadonlyMap<string, Account>> {
  const { rows } = await connection.query<{
    readonly user_id: string
    readonly currency: string
    readonly balance: string
    readonly entry_count: bigint
    readonly may_overdraw: boolean
  }>({
    name: 'lock-accounts',
    text: `
      select a.user_id, a.currency, a.balance, a.entry_count, a.may_overdraw
      from ledger_accounts a
      join unnest($1::uuid[], $2::text[]) as d (user_id, currency) using (user_id, currency)
      order by a.user_id, a.currency
      for update of a`,
    values: [arrayOf(accounts.map(({ userId }) => userId)), arrayOf(accounts.map(({ currency }) => currency))],
  })
  const isFeeAccount = new Map(accounts.map(({ userId, mayOverdraw }) => [userId, mayOverdraw]))
  return new Map(
    rows.map(row => [
      accountKey(row.user_id, row.currency),
      {
        userId: row.user_id,
        currency: row.currency,
        balance: parseStored(row.balance, scaleOf(instruments, row.currency)),
        entryCount: row.entry_count,
        mayOverdraw: row.may_overdraw || isFeeAccount.get(row.user_id) === true,
        isOpen: true,
      },
    ]),
  )
}

/** Writes what the calls changed; fails where another transaction was first with a key or an account. */
export async function writeChanges(
  connection: Connection,
  instruments: Instruments,
  changes: LedgerChanges,
  nowMs: number,
): Promise<void> {
  const at = new Date(nowMs)
  await insertOperations(connection, instruments, changes.newOperations, at)
  await updateOperations(connection, changes.changedOperations)
  await insertEntries(connection, instruments, changes.entries, at)
  await saveAccounts(connection, instruments, [...changes.accounts.values()])
  await addTotals(connection, instruments, changes.totals)
}

async function insertOperations(
  connection: Connection,
  instruments: Instruments,
  rows: readonly OperationRow[],
  at: Date,
): Promise<void> {
  if (rows.length === 0) return
  const decimal = (currency: string | null | undefined, units: bigint | null | undefined): string | null =>
    units === null || units === undefined ? null : formatDecimal(units, scaleOf(instruments, currency ?? null))
  await connection.query({
    name: 'insert-operations',
    text: `
      insert into ledger_operations (
        ${OPERATION_COLUMNS}
      )
      select d.*, $16
      from unnest(
        $1::text[], $2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::numeric[], $8::text[], $9::text[],
        $10::numeric[], $11::text[], $12::text[], $13::text[], $14::numeric[], $15::numeric[]
      ) as d`,
    values: [
      arrayOf(rows.map(row => row.key)),
      arrayOf(rows.map(row => row.kind)),
      arrayOf(rows.map(row => row.status)),
      arrayOf(rows.map(row => row.tradeId)),
      arrayOf(rows.map(row => row.userId)),
      arrayOf(rows.map(row => row.currency)),
      arrayOf(rows.map(row => decimal(row.currency, row.amount))),
      arrayOf(rows.map(row => row.reason)),
      arrayOf(rows.map(row => row.content)),
      arrayOf(rows.map(row => decimal(row.currency, row.balanceAfter))),
      arrayOf(rows.map(row => row.code)),
      arrayOf(rows.map(row => row.detail)),
      arrayOf(rows.map(row => row.shortfall?.currency)),
      arrayOf(rows.map(({ shortfall }) => decimal(shortfall?.currency, shortfall?.available))),
      arrayOf(rows.map(({ shortfall }) => decimal(shortfall?.currency, shortfall?.required))),
      at,
    ],
  })
}

async function updateOperations(connection: Connection, rows: readonly OperationRow[]): Promise<void> {
  if (rows.length === 0) return
  await connection.query({
    name: 'update-operations',
    text: `
      update ledger_operations o
      set status = d.status
      from unnest($1::text[], $2::text[]) as d (key, status)
      where o.key = d.key`,
    values: [arrayOf(rows.map(row => row.key)), arrayOf(rows.map(row => row.status))],
  })
}

async function insertEntries(
  connection: Connection,
  instruments: Instruments,
  entries: readonly Entry[],
  at: Date,
): Promise<void> {
  if (entries.length === 0) return
  await connection.query({
    name: 'insert-entries',
    text: `
      insert into ledger_entries (user_id, currency, seq, key, leg, trade_id, amount, balance_after, reason, at)
      select d.*, $10
      from unnest(
        $1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::smallint[], $6::uuid[], $7::numeric[], $8::numeric[],
        $9::text[]
      ) as d`,
    values: [
      arrayOf(entries.map(entry => entry.userId)),
      arrayOf(entries.map(entry => entry.currency)),
      arrayOf(entries.map(entry => entry.seq)),
      arrayOf(entries.map(entry => entry.key)),
      arrayOf(entries.map(entry => entry.leg)),
      arrayOf(entries.map(entry => entry.tradeId)),
      arrayOf(entries.map(entry => formatDecimal(entry.amount, scaleOf(instruments, entry.currency)))),
      arrayOf(entries.map(entry => formatDecimal(entry.balanceAfter, scaleOf(instruments, entry.currency)))),
      arrayOf(entries.map(entry => entry.reason)),
      at,
    ],
  })
}

/** A new account is inserted and never updated, so that two transactions can't both open it. */
async function saveAccounts(
  connection: Connection,
  instruments: Instruments,
  accounts: readonly Account[],
): Promise<void> {
  const values = (rows: readonly Account[]): unknown[] => [
    arrayOf(rows.map(row => row.userId)),
    arrayOf(rows.map(row => row.currency)),
    arrayOf(rows.map(row => formatDecimal(row.balance, scaleOf(instruments, row.currency)))),
    arrayOf(rows.map(row => row.entryCount)),
    arrayOf(rows.map(row => row.mayOverdraw)),
  ]
  const known = accounts.filter(account => account.isOpen)
  const fresh = accounts.filter(account => !account.isOpen)
  if (known.length > 0) {
    await connection.query({
      name: 'update-accounts',
      text: `
        update ledger_accounts a
        set balance = d.balance, entry_count = d.entry_count, may_overdraw = d.may_overdraw
        from unnest($1::uuid[], $2::text[], $3::numeric[], $4::bigint[], $5::boolean[])
          as d (user_id, currency, balance, entry_count, may_overdraw)
        where a.user_id = d.user_id
          and a.currency = d.currency`,
      values: values(known),
    })
  }
  if (fresh.length === 0) return
  await connection.query({
    name: 'insert-accounts',
    text: `
      insert into ledger_accounts (user_id, currency, balance, entry_count, may_overdraw)
      select * from unnest($1::uuid[], $2::text[], $3::numeric[], $4::bigint[], $5::boolean[])`,
    values: values(fresh),
  })
}

async function addTotals(
  connection: Connection,
  instruments: Instruments,
  totals: LedgerChanges['totals'],
): Promise<void> {
  const changes = [...totals].sort(([a], [b]) => (a < b ? -1 : 1))
  if (changes.length === 0) return
  const column = (field: 'balances' | 'clearing' | 'deposits' | 'withdrawals'): string =>
    arrayOf(changes.map(([currency, change]) => formatDecimal(change[field], scaleOf(instruments, currency))))
  await connection.query({
    name: 'add-totals',
    text: `
      insert into ledger_totals as t (currency, balances, clearing, deposits, withdrawals)
      select * from unnest($1::text[], $2::numeric[], $3::numeric[], $4::numeric[], $5::numeric[])
      on conflict (currency) do update
      set balances = t.balances + excluded.balances, clearing = t.clearing + excluded.clearing,
        deposits = t.deposits + excluded.deposits, withdrawals = t.withdrawals + excluded.withdrawals`,
    values: [
      arrayOf(changes.map(([currency]) => currency)),
      column('balances'),
      column('clearing'),
      column('deposits'),
      column('withdrawals'),
    ],
  })
}

/** The places of a currency; of one that is not known, which only refused calls name, the most there can be. */
export function scaleOf(instruments: Instruments, currency: string | null): number {
  return instruments.assets.get(currency ?? '')?.scale ?? MAX_SCALE
}
