/**
 * What a batch of calls writes, one statement each, set-wise. Every statement says what it was decided on, and a batch that
 * was decided on what is no longer so writes nothing: `StaleError`, or a primary key that is taken.
 */
import type { Instruments } from '../core/instruments.ts'
import { formatDecimal } from '../core/money.ts'
import { arrayOf, type Connection, plainArrayOf, together } from '../db.ts'
import { expectNoHolds, saveHolds } from './ledger-holds.ts'
import { type AccountChange, type LedgerChanges, type OperationRow, StaleError, scaleOf } from './ledger-rows.ts'
import { HOLD_COLUMNS, OPERATION_COLUMNS } from './ledger-state.ts'
import type { Entry } from './wallet.ts'

/** The rows that are new; other batches may be writing theirs at the same time. */
export async function insertChanges(
  connection: Connection,
  instruments: Instruments,
  { newOperations, entries }: LedgerChanges,
  nowMs: number,
): Promise<void> {
  const at = new Date(nowMs)
  const isPlain = ({ hold }: OperationRow): boolean => hold === null
  await together(connection, () => [
    insertOperations(connection, instruments, newOperations.filter(isPlain), at),
    insertHoldOperations(
      connection,
      instruments,
      newOperations.filter(row => !isPlain(row)),
      at,
    ),
    insertEntries(connection, instruments, entries, at),
  ])
}

/**
 * Throws where an account or a hold that was looked for, and was not there, has come meanwhile. Before the batch writes its
 * own; what was looked for under locks need not be looked for again.
 */
export async function expectAbsent(
  connection: Connection,
  { accounts, missingHolds }: Pick<LedgerChanges, 'accounts' | 'missingHolds'>,
): Promise<void> {
  const absent = accounts.filter(({ after }) => !after.isOpen)
  await together(connection, () => [expectNoHolds(connection, missingHolds), expectNoAccounts(connection, absent)])
}

async function expectNoAccounts(connection: Connection, absent: readonly AccountChange[]): Promise<void> {
  if (absent.length === 0) return
  const { rowCount } = await connection.query({
    name: 'select-opened',
    text: `
      select from ledger_accounts a
      join unnest($1::uuid[], $2::text[]) as d (user_id, currency) using (user_id, currency)`,
    values: [plainArrayOf(absent.map(({ after }) => after.userId)), arrayOf(absent.map(({ after }) => after.currency))],
  })
  if (rowCount !== 0) throw new StaleError('an account was opened meanwhile')
}

/** The rows that batches have in common: in order, and the last before the commit. */
export async function finishChanges(
  connection: Connection,
  instruments: Instruments,
  { changedOperations, accounts, totals, holds }: LedgerChanges,
): Promise<void> {
  await together(connection, () => [
    updateOperations(connection, changedOperations),
    saveHolds(connection, instruments, holds),
    saveAccounts(connection, instruments, accounts),
    addTotals(connection, instruments, totals),
  ])
}

async function insertOperations(
  connection: Connection,
  instruments: Instruments,
  rows: readonly OperationRow[],
  at: Date,
): Promise<void> {
  if (rows.length === 0) return
  const values = [...operationValues(instruments, rows), at]
  await connection.query({ name: 'insert-operations', text: INSERT_OPERATIONS, values })
}

/** Debits and releases that name a hold: all others are spared its columns. */
async function insertHoldOperations(
  connection: Connection,
  instruments: Instruments,
  rows: readonly OperationRow[],
  at: Date,
): Promise<void> {
  if (rows.length === 0) return
  const holds = arrayOf(rows.map(({ hold }) => hold))
  const left = plainArrayOf(rows.map(({ currency, remaining }) => decimalOf(instruments, currency, remaining)))
  const values = [holds, left, ...operationValues(instruments, rows), at]
  await connection.query({ name: 'insert-hold-operations', text: INSERT_HOLD_OPERATIONS, values })
}

/** The types of the columns, in their order, but for the time, which is the same of all rows. */
const OPERATION_TYPES = [
  ...['text', 'text', 'text', 'uuid', 'uuid', 'text', 'numeric', 'ledger_reason', 'text'],
  ...['numeric', 'text', 'text', 'text', 'numeric', 'numeric'],
]
const INSERT_OPERATIONS = insertOf(OPERATION_COLUMNS, OPERATION_TYPES)
const INSERT_HOLD_OPERATIONS = insertOf(`${HOLD_COLUMNS}, ${OPERATION_COLUMNS}`, [
  'text',
  'numeric',
  ...OPERATION_TYPES,
])

function insertOf(columns: string, types: readonly string[]): string {
  return `
    insert into ledger_operations (${columns})
    select d.*, $${types.length + 1}
    from unnest(${types.map((type, at) => `$${at + 1}::${type}[]`).join(', ')}) as d`
}

/** In the order of their columns, but for the time. */
function operationValues(instruments: Instruments, rows: readonly OperationRow[]): readonly string[] {
  return [
    arrayOf(rows.map(row => row.key)),
    plainArrayOf(rows.map(row => row.kind)),
    plainArrayOf(rows.map(row => row.status)),
    plainArrayOf(rows.map(row => row.tradeId)),
    plainArrayOf(rows.map(row => row.userId)),
    arrayOf(rows.map(row => row.currency)),
    plainArrayOf(rows.map(row => decimalOf(instruments, row.currency, row.amount))),
    plainArrayOf(rows.map(row => row.reason)),
    arrayOf(rows.map(row => row.content)),
    plainArrayOf(rows.map(row => decimalOf(instruments, row.currency, row.balanceAfter))),
    arrayOf(rows.map(row => row.code)),
    arrayOf(rows.map(row => row.detail)),
    arrayOf(rows.map(row => row.shortfall?.currency)),
    plainArrayOf(rows.map(({ shortfall }) => decimalOf(instruments, shortfall?.currency, shortfall?.available))),
    plainArrayOf(rows.map(({ shortfall }) => decimalOf(instruments, shortfall?.currency, shortfall?.required))),
  ]
}

function decimalOf(
  instruments: Instruments,
  currency: string | null | undefined,
  units: bigint | null | undefined,
): string | null {
  return units === null || units === undefined ? null : formatDecimal(units, scaleOf(instruments, currency ?? null))
}

/** A key is reversed once, and only what was refused is cancelled without ever having moved. */
async function updateOperations(connection: Connection, rows: readonly OperationRow[]): Promise<void> {
  if (rows.length === 0) return
  const { rowCount } = await connection.query({
    name: 'update-operations',
    text: `
      update ledger_operations o
      set status = d.status
      from unnest($1::text[], $2::text[]) as d (key, status)
      where o.key = d.key
        and o.status = case d.status when 'reversed' then 'applied' else 'refused' end`,
    values: [arrayOf(rows.map(row => row.key)), plainArrayOf(rows.map(row => row.status))],
  })
  if (rowCount !== rows.length) throw new StaleError('a key was taken back meanwhile')
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
        $9::ledger_reason[]
      ) as d`,
    values: [
      plainArrayOf(entries.map(entry => entry.userId)),
      arrayOf(entries.map(entry => entry.currency)),
      plainArrayOf(entries.map(entry => entry.seq)),
      arrayOf(entries.map(entry => entry.key)),
      plainArrayOf(entries.map(entry => entry.leg)),
      plainArrayOf(entries.map(entry => entry.tradeId)),
      plainArrayOf(entries.map(entry => formatDecimal(entry.amount, scaleOf(instruments, entry.currency)))),
      plainArrayOf(entries.map(entry => formatDecimal(entry.balanceAfter, scaleOf(instruments, entry.currency)))),
      plainArrayOf(entries.map(entry => entry.reason)),
      at,
    ],
  })
}

/**
 * Also of accounts that only were looked at: that a call was refused for want of funds has to be true as well. A new account
 * is inserted and never updated, so that two transactions can't both open it.
 */
async function saveAccounts(
  connection: Connection,
  instruments: Instruments,
  accounts: readonly AccountChange[],
): Promise<void> {
  await together(connection, () => [
    updateAccounts(
      connection,
      instruments,
      accounts.filter(({ before }) => before.isOpen),
    ),
    insertAccounts(
      connection,
      instruments,
      accounts.filter(({ before, after }) => !before.isOpen && after.isOpen),
    ),
  ])
}

async function insertAccounts(
  connection: Connection,
  instruments: Instruments,
  opened: readonly AccountChange[],
): Promise<void> {
  if (opened.length === 0) return
  await connection.query({
    name: 'insert-accounts',
    text: `
      insert into ledger_accounts (user_id, currency, balance, held, entry_count, may_overdraw)
      select * from unnest($1::uuid[], $2::text[], $3::numeric[], $4::numeric[], $5::bigint[], $6::boolean[])`,
    values: [...accountValues(instruments, opened)],
  })
}

/** Holds make no entries, so the number of these alone does not tell that nothing has changed meanwhile. */
async function updateAccounts(
  connection: Connection,
  instruments: Instruments,
  accounts: readonly AccountChange[],
): Promise<void> {
  if (accounts.length === 0) return
  const { rowCount } = await connection.query({
    name: 'update-accounts',
    text: `
      update ledger_accounts a
      set balance = d.balance, held = d.held, entry_count = d.entry_count, may_overdraw = d.may_overdraw
      from unnest(
        $1::uuid[], $2::text[], $3::numeric[], $4::numeric[], $5::bigint[], $6::boolean[], $7::bigint[], $8::numeric[]
      ) as d (user_id, currency, balance, held, entry_count, may_overdraw, entry_count_before, held_before)
      where a.user_id = d.user_id
        and a.currency = d.currency
        and a.entry_count = d.entry_count_before
        and a.held = d.held_before`,
    values: [
      ...accountValues(instruments, accounts),
      plainArrayOf(accounts.map(({ before }) => before.entryCount)),
      plainArrayOf(accounts.map(({ before }) => decimalOf(instruments, before.currency, before.held))),
    ],
  })
  if (rowCount !== accounts.length) throw new StaleError('an account has moved meanwhile')
}

function accountValues(instruments: Instruments, accounts: readonly AccountChange[]): readonly string[] {
  return [
    plainArrayOf(accounts.map(({ after }) => after.userId)),
    arrayOf(accounts.map(({ after }) => after.currency)),
    plainArrayOf(accounts.map(({ after }) => formatDecimal(after.balance, scaleOf(instruments, after.currency)))),
    plainArrayOf(accounts.map(({ after }) => decimalOf(instruments, after.currency, after.held))),
    plainArrayOf(accounts.map(({ after }) => after.entryCount)),
    plainArrayOf(accounts.map(({ after }) => after.mayOverdraw)),
  ]
}

async function addTotals(
  connection: Connection,
  instruments: Instruments,
  totals: LedgerChanges['totals'],
): Promise<void> {
  const changes = [...totals].sort(([a], [b]) => (a < b ? -1 : 1))
  if (changes.length === 0) return
  const column = (field: 'balances' | 'clearing' | 'deposits' | 'withdrawals'): string =>
    plainArrayOf(changes.map(([currency, change]) => formatDecimal(change[field], scaleOf(instruments, currency))))
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
