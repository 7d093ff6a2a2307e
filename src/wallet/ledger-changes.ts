/**
 * What a batch of calls writes, one statement each, set-wise. Every statement says what it was decided on, and of a batch that
 * was decided on what is no longer so nothing is written: a count is not as expected, or a primary key is taken.
 */
import type { Instruments } from '../core/instruments.ts'
import { formatDecimal } from '../core/money.ts'
import { arrayOf, plainArrayOf } from '../db.ts'
import type { Statement } from '../statements.ts'
import { expectNoHolds, saveHolds } from './ledger-holds.ts'
import { type AccountChange, type LedgerChanges, type OperationRow, scaleOf } from './ledger-rows.ts'
import { HOLD_COLUMNS, OPERATION_COLUMNS } from './ledger-state.ts'
import type { Entry } from './wallet.ts'

/** The rows that are new; other batches may be writing theirs at the same time. */
export function insertChanges(
  instruments: Instruments,
  { newOperations, entries }: LedgerChanges,
  nowMs: number,
): readonly Statement[] {
  const at = new Date(nowMs)
  const isPlain = ({ hold }: OperationRow): boolean => hold === null
  return [
    ...insertOperations(instruments, newOperations.filter(isPlain), at),
    ...insertHoldOperations(
      instruments,
      newOperations.filter(row => !isPlain(row)),
      at,
    ),
    ...insertEntries(instruments, entries, at),
  ]
}

/**
 * Fails where an account or a hold that was looked for, and was not there, has come meanwhile. Before the batch writes its
 * own; what was looked for under locks need not be looked for again.
 */
export function expectAbsent({
  accounts,
  missingHolds,
}: Pick<LedgerChanges, 'accounts' | 'missingHolds'>): readonly Statement[] {
  return [...expectNoHolds(missingHolds), ...expectNoAccounts(accounts.filter(({ after }) => !after.isOpen))]
}

function expectNoAccounts(absent: readonly AccountChange[]): readonly Statement[] {
  if (absent.length === 0) return []
  return [
    {
      name: 'expect-no-accounts',
      text: `
        select expect_count(count(*), 0, 'accounts that were not there')
        from ledger_accounts a
        join unnest($1::uuid[], $2::text[]) as d (user_id, currency) using (user_id, currency)`,
      values: [
        plainArrayOf(absent.map(({ after }) => after.userId)),
        arrayOf(absent.map(({ after }) => after.currency)),
      ],
    },
  ]
}

/** The rows that batches have in common: in order, and the last before the commit. */
export function finishChanges(
  instruments: Instruments,
  { changedOperations, accounts, totals, holds }: LedgerChanges,
): readonly Statement[] {
  return [
    ...updateOperations(changedOperations),
    ...saveHolds(instruments, holds),
    ...saveAccounts(instruments, accounts),
    ...addTotals(instruments, totals),
  ]
}

function insertOperations(instruments: Instruments, rows: readonly OperationRow[], at: Date): readonly Statement[] {
  if (rows.length === 0) return []
  const values = [...operationValues(instruments, rows), at]
  return [{ name: 'insert-operations', text: INSERT_OPERATIONS, values }]
}

/** Debits and releases that name a hold: all others are spared its columns. */
function insertHoldOperations(instruments: Instruments, rows: readonly OperationRow[], at: Date): readonly Statement[] {
  if (rows.length === 0) return []
  const holds = arrayOf(rows.map(({ hold }) => hold))
  const left = plainArrayOf(rows.map(({ currency, remaining }) => decimalOf(instruments, currency, remaining)))
  const values = [holds, left, ...operationValues(instruments, rows), at]
  return [{ name: 'insert-hold-operations', text: INSERT_HOLD_OPERATIONS, values }]
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
function updateOperations(rows: readonly OperationRow[]): readonly Statement[] {
  if (rows.length === 0) return []
  return [
    {
      name: 'update-operations',
      text: `
        with changed as (
          update ledger_operations o
          set status = d.status
          from unnest($1::text[], $2::text[]) as d (key, status)
          where o.key = d.key
            and o.status = case d.status when 'reversed' then 'applied' else 'refused' end
          returning 1
        )
        select expect_count(count(*), $3, 'keys that were not taken back') from changed`,
      values: [arrayOf(rows.map(row => row.key)), plainArrayOf(rows.map(row => row.status)), rows.length],
    },
  ]
}

function insertEntries(instruments: Instruments, entries: readonly Entry[], at: Date): readonly Statement[] {
  if (entries.length === 0) return []
  return [
    {
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
    },
  ]
}

/**
 * Also of accounts that only were looked at: that a call was refused for want of funds has to be true as well. A new account
 * is inserted and never updated, so that two transactions can't both open it.
 */
function saveAccounts(instruments: Instruments, accounts: readonly AccountChange[]): readonly Statement[] {
  return [
    ...updateAccounts(
      instruments,
      accounts.filter(({ before }) => before.isOpen),
    ),
    ...insertAccounts(
      instruments,
      accounts.filter(({ before, after }) => !before.isOpen && after.isOpen),
    ),
  ]
}

function insertAccounts(instruments: Instruments, opened: readonly AccountChange[]): readonly Statement[] {
  if (opened.length === 0) return []
  return [
    {
      name: 'insert-accounts',
      text: `
        insert into ledger_accounts (user_id, currency, balance, held, entry_count, may_overdraw)
        select * from unnest($1::uuid[], $2::text[], $3::numeric[], $4::numeric[], $5::bigint[], $6::boolean[])`,
      values: accountValues(instruments, opened),
    },
  ]
}

/** Holds make no entries, so the number of these alone does not tell that nothing has changed meanwhile. */
function updateAccounts(instruments: Instruments, accounts: readonly AccountChange[]): readonly Statement[] {
  if (accounts.length === 0) return []
  return [
    {
      name: 'update-accounts',
      text: `
        with changed as (
          update ledger_accounts a
          set balance = d.balance, held = d.held, entry_count = d.entry_count, may_overdraw = d.may_overdraw
          from unnest(
            $1::uuid[], $2::text[], $3::numeric[], $4::numeric[], $5::bigint[], $6::boolean[], $7::bigint[],
            $8::numeric[]
          ) as d (user_id, currency, balance, held, entry_count, may_overdraw, entry_count_before, held_before)
          where a.user_id = d.user_id
            and a.currency = d.currency
            and a.entry_count = d.entry_count_before
            and a.held = d.held_before
          returning 1
        )
        select expect_count(count(*), $9, 'accounts that have not moved') from changed`,
      values: [
        ...accountValues(instruments, accounts),
        plainArrayOf(accounts.map(({ before }) => before.entryCount)),
        plainArrayOf(accounts.map(({ before }) => decimalOf(instruments, before.currency, before.held))),
        accounts.length,
      ],
    },
  ]
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

function addTotals(instruments: Instruments, totals: LedgerChanges['totals']): readonly Statement[] {
  const changes = [...totals].sort(([a], [b]) => (a < b ? -1 : 1))
  if (changes.length === 0) return []
  const column = (field: 'balances' | 'clearing' | 'deposits' | 'withdrawals'): string =>
    plainArrayOf(changes.map(([currency, change]) => formatDecimal(change[field], scaleOf(instruments, currency))))
  return [
    {
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
    },
  ]
}
