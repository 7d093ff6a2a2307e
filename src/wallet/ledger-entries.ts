/**
 * Reading entries back, page by page: each statement goes on from the last entry of the page before by a key of the table,
 * so that a page costs the same at any depth (test/integration/entries-at-length.test.ts).
 */
import type { Instruments } from '../core/instruments.ts'
import { parseStored } from '../core/money.ts'
import type { Database } from '../db.ts'
import { scaleOf } from './ledger-rows.ts'
import type { Entry, EntryPosition, EntryQuery, Reason } from './wallet.ts'

interface StoredEntry {
  readonly user_id: string
  readonly currency: string
  readonly seq: bigint
  readonly key: string
  readonly leg: number | null
  readonly trade_id: string | null
  readonly amount: string
  readonly balance_after: string
  readonly reason: Reason
  readonly at: Date
}

const COLUMNS = 'user_id, currency, seq, key, leg, trade_id, amount, balance_after, reason, at'

/** `of` null: all entries, account by account. */
export async function selectEntries(
  database: Database,
  instruments: Instruments,
  { of, after, limit }: Omit<EntryQuery, 'of'> & { readonly of: EntryQuery['of'] | null },
): Promise<readonly Entry[]> {
  const query = statementOf(of, after, limit)
  const { rows } = await database.query<StoredEntry>(query)
  return rows.map(row => entryOf(row, instruments))
}

function statementOf(of: EntryQuery['of'] | null, after: EntryPosition | null, limit: number) {
  if (of === null) return allEntries(after, limit)
  return 'tradeId' in of ? tradeEntries(of.tradeId, after, limit) : accountEntries(of, after, limit)
}

function accountEntries(
  { userId, currency }: { readonly userId: string; readonly currency: string },
  after: EntryPosition | null,
  limit: number,
) {
  return {
    name: 'select-account-entries',
    text: `
      select ${COLUMNS}
      from ledger_entries
      where user_id = $1
        and currency = $2
        and seq > $3
      order by seq
      limit $4`,
    values: [userId, currency, after?.seq ?? 0n, limit],
  }
}

/** Before every other. */
const NO_USER = '00000000-0000-0000-0000-000000000000'

function allEntries(after: EntryPosition | null, limit: number) {
  return {
    name: 'select-all-entries',
    text: `
      select ${COLUMNS}
      from ledger_entries
      where (user_id, currency, seq) > ($1, $2, $3)
      order by user_id, currency, seq
      limit $4`,
    values: [after?.userId ?? NO_USER, after?.currency ?? '', after?.seq ?? 0n, limit],
  }
}

function tradeEntries(tradeId: string, after: EntryPosition | null, limit: number) {
  return {
    name: 'select-trade-entries',
    text: `
      select ${COLUMNS}
      from ledger_entries
      where trade_id = $1
        and ($2::timestamptz is null or (at, coalesce(leg, 0), user_id, currency, seq) > ($2, $3, $4, $5, $6))
      order by at, coalesce(leg, 0), user_id, currency, seq
      limit $7`,
    values: [
      tradeId,
      after === null ? null : new Date(after.atMs),
      after?.leg ?? 0,
      after?.userId ?? null,
      after?.currency ?? null,
      after?.seq ?? null,
      limit,
    ],
  }
}

function entryOf(row: StoredEntry, instruments: Instruments): Entry {
  const scale = scaleOf(instruments, row.currency)
  return {
    userId: row.user_id,
    currency: row.currency,
    seq: row.seq,
    key: row.key,
    leg: row.leg,
    tradeId: row.trade_id,
    amount: parseStored(row.amount, scale),
    balanceAfter: parseStored(row.balance_after, scale),
    reason: row.reason,
    atMs: row.at.getTime(),
  }
}

/** How many entries an account has. */
export async function selectEntryCount(database: Database, userId: string, currency: string): Promise<bigint> {
  const { rows } = await database.query<{ readonly seq: bigint }>({
    name: 'select-entry-count',
    text: `
      select seq
      from ledger_entries
      where user_id = $1
        and currency = $2
      order by seq desc
      limit 1`,
    values: [userId, currency],
  })
  return rows[0]?.seq ?? 0n
}

/** When an account's entry was made; null: there is no such entry. */
export async function selectEntryTime(
  database: Database,
  userId: string,
  currency: string,
  seq: bigint,
): Promise<number | null> {
  const { rows } = await database.query<{ readonly at: Date }>({
    name: 'select-entry-time',
    text: `
      select at
      from ledger_entries
      where user_id = $1
        and currency = $2
        and seq = $3`,
    values: [userId, currency, seq],
  })
  return rows[0]?.at.getTime() ?? null
}
