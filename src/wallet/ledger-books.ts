/** Reading the ledger back: balances, keys, entries and totals. No locks: each answer is true of one instant. */
import type { Instruments } from '../core/instruments.ts'
import { parseStored } from '../core/money.ts'
import type { Database } from '../db.ts'
import { scaleOf } from './ledger-rows.ts'
import type { Balance, Entry, EntryPosition, EntryQuery, KeyAnswer, KeyRecord, Reason, Totals } from './wallet.ts'

export async function selectBalance(
  database: Database,
  instruments: Instruments,
  userId: string,
  currency: string,
): Promise<Balance | null> {
  const asset = instruments.assets.get(currency)
  if (asset === undefined) return null
  const { rows } = await database.query<{ readonly balance: string }>({
    name: 'select-balance',
    text: 'select balance from ledger_accounts where user_id = $1 and currency = $2',
    values: [userId, currency],
  })
  const total = parseStored(rows[0]?.balance ?? '0', asset.scale)
  return { userId, currency, available: total, held: 0n, total }
}

export async function selectKeyRecord(database: Database, key: string): Promise<KeyRecord | null> {
  const { rows } = await database.query<KeyRecord>({
    name: 'select-key-record',
    text: 'select key, kind, status from ledger_operations where key = $1',
    values: [key],
  })
  return rows[0] ?? null
}

interface StoredKey {
  readonly key: string
  readonly kind: KeyRecord['kind']
  readonly status: KeyRecord['status']
  readonly trade_id: string | null
  readonly user_id: string | null
  readonly currency: string | null
  readonly amount: string | null
  readonly reason: Reason | null
  readonly balance_after: string | null
  readonly code: string | null
  readonly detail: string | null
  readonly available: string | null
  readonly required: string | null
  readonly at: Date
}

/** Null: nobody has used the key. */
export async function selectKeyAnswer(
  database: Database,
  instruments: Instruments,
  key: string,
): Promise<KeyAnswer | null> {
  const { rows } = await database.query<StoredKey>({
    name: 'select-key-answer',
    text: `
      select key, kind, status, trade_id, user_id, currency, amount, reason, balance_after, code, detail,
        available, required, at
      from ledger_operations
      where key = $1`,
    values: [key],
  })
  const [row] = rows
  return row === undefined ? null : keyAnswerOf(row, instruments)
}

function keyAnswerOf(row: StoredKey, instruments: Instruments): KeyAnswer {
  const { key, kind, status, currency, user_id: userId, reason } = row
  const units = (text: string | null): bigint | null =>
    text === null ? null : parseStored(text, scaleOf(instruments, currency))
  const amount = units(row.amount)
  const available = units(row.available)
  const required = units(row.required)
  const isMovement = (kind === 'debit' || kind === 'credit') && userId !== null && currency !== null
  return {
    key,
    kind,
    status,
    tradeId: row.trade_id,
    movement:
      isMovement && amount !== null && reason !== null ? { type: kind, userId, currency, amount, reason } : null,
    balanceAfter: units(row.balance_after),
    refusal:
      row.code === null
        ? null
        : {
            code: row.code,
            detail: row.detail ?? '',
            amounts: available === null || required === null ? null : { available, required },
          },
    atMs: row.at.getTime(),
  }
}

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

export async function selectEntries(
  database: Database,
  instruments: Instruments,
  { of, after, limit }: EntryQuery,
): Promise<readonly Entry[]> {
  const query = 'tradeId' in of ? tradeEntries(of.tradeId, after, limit) : accountEntries(of, after, limit)
  const { rows } = await database.query<StoredEntry>(query)
  return rows.map(row => entryOf(row, instruments))
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

export async function selectTotals(database: Database, instruments: Instruments): Promise<readonly Totals[]> {
  // Whole units, since a sum over accounts may have more digits than any amount.
  const { rows } = await database.query<Readonly<Record<keyof Totals, string>>>({
    name: 'select-totals',
    text: `
      select d.currency, trunc(coalesce(t.balances, 0) * d.unit)::text as balances,
        trunc(coalesce(t.clearing, 0) * d.unit)::text as clearing,
        trunc(coalesce(t.deposits, 0) * d.unit)::text as deposits,
        trunc(coalesce(t.withdrawals, 0) * d.unit)::text as withdrawals
      from unnest($1::text[], $2::numeric[]) as d (currency, unit)
      left join ledger_totals t on t.currency = d.currency
      order by d.currency collate "C"`,
    values: [
      [...instruments.assets.keys()],
      [...instruments.assets.values()].map(({ scale }) => (10n ** BigInt(scale)).toString()),
    ],
  })
  return rows.map(row => ({
    currency: row.currency,
    balances: BigInt(row.balances),
    clearing: BigInt(row.clearing),
    deposits: BigInt(row.deposits),
    withdrawals: BigInt(row.withdrawals),
  }))
}
