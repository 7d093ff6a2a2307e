/**
 * What a batch of calls writes, one statement each, set-wise. Every statement says what it was decided on, and a batch that
 * was decided on what is no longer so writes nothing: `StaleError`, or a primary key that is taken.
 */
import type { Instruments } from '../core/instruments.ts'
import { formatDecimal } from '../core/money.ts'
import { arrayOf, type Connection, plainArrayOf } from '../db.ts'
import type { AccountChange, LedgerChanges, OperationRow } from './ledger.ts'
import { OPERATION_COLUMNS, scaleOf } from './ledger-state.ts'
import type { Entry } from './wallet.ts'

/** An account or a key is not as it was when the batch was decided. */
export class StaleError extends Error {}

/** The rows that are new; other batches may be writing theirs at the same time. */
export async function insertChanges(
  connection: Connection,
  instruments: Instruments,
  { newOperations, entries }: LedgerChanges,
  nowMs: number,
): Promise<void> {
  const at = new Date(nowMs)
  await insertOperations(connection, instruments, newOperations, at)
  await insertEntries(connection, instruments, entries, at)
}

/** The rows that batches have in common: in order, and the last before the commit. */
export async function finishChanges(
  connection: Connection,
  instruments: Instruments,
  { changedOperations, accounts, totals }: LedgerChanges,
): Promise<void> {
  await updateOperations(connection, changedOperations)
  await saveAccounts(connection, instruments, accounts)
  await addTotals(connection, instruments, totals)
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
        $1::text[], $2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::numeric[], $8::ledger_reason[], $9::text[],
        $10::numeric[], $11::text[], $12::text[], $13::text[], $14::numeric[], $15::numeric[]
      ) as d`,
    values: [
      arrayOf(rows.map(row => row.key)),
      plainArrayOf(rows.map(row => row.kind)),
      plainArrayOf(rows.map(row => row.status)),
      plainArrayOf(rows.map(row => row.tradeId)),
      plainArrayOf(rows.map(row => row.userId)),
      arrayOf(rows.map(row => row.currency)),
      plainArrayOf(rows.map(row => decimal(row.currency, row.amount))),
      plainArrayOf(rows.map(row => row.reason)),
      arrayOf(rows.map(row => row.content)),
      plainArrayOf(rows.map(row => decimal(row.currency, row.balanceAfter))),
      arrayOf(rows.map(row => row.code)),
      arrayOf(rows.map(row => row.detail)),
      arrayOf(rows.map(row => row.shortfall?.currency)),
      plainArrayOf(rows.map(({ shortfall }) => decimal(shortfall?.currency, shortfall?.available))),
      plainArrayOf(rows.map(({ shortfall }) => decimal(shortfall?.currency, shortfall?.required))),
      at,
    ],
  })
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
  const values = (rows: readonly AccountChange[]): unknown[] => [
    plainArrayOf(rows.map(({ after }) => after.userId)),
    arrayOf(rows.map(({ after }) => after.currency)),
    plainArrayOf(rows.map(({ after }) => formatDecimal(after.balance, scaleOf(instruments, after.currency)))),
    plainArrayOf(rows.map(({ after }) => after.entryCount)),
    plainArrayOf(rows.map(({ after }) => after.mayOverdraw)),
  ]
  const known = accounts.filter(({ before }) => before.isOpen)
  const opened = accounts.filter(({ before, after }) => !before.isOpen && after.isOpen)
  if (known.length > 0) {
    const { rowCount } = await connection.query({
      name: 'update-accounts',
      text: `
        update ledger_accounts a
        set balance = d.balance, entry_count = d.entry_count, may_overdraw = d.may_overdraw
        from unnest($1::uuid[], $2::text[], $3::numeric[], $4::bigint[], $5::boolean[], $6::bigint[])
          as d (user_id, currency, balance, entry_count, may_overdraw, entry_count_before)
        where a.user_id = d.user_id
          and a.currency = d.currency
          and a.entry_count = d.entry_count_before`,
      values: [...values(known), plainArrayOf(known.map(({ before }) => before.entryCount))],
    })
    if (rowCount !== known.length) throw new StaleError('an account has moved meanwhile')
  }
  if (opened.length === 0) return
  await connection.query({
    name: 'insert-accounts',
    text: `
      insert into ledger_accounts (user_id, currency, balance, entry_count, may_overdraw)
      select * from unnest($1::uuid[], $2::text[], $3::numeric[], $4::bigint[], $5::boolean[])`,
    values: values(opened),
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
