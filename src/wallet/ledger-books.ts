/** Reading the ledger back: balances, keys and totals. No locks: each answer is true of one instant. */
import type { Instruments } from '../core/instruments.ts'
import { parseStored } from '../core/money.ts'
import type { Database } from '../db.ts'
import { type OperationRow, scaleOf } from './ledger-rows.ts'
import { operationOf, type StoredOperation } from './ledger-state.ts'
import type { Balance, HoldState, KeyRecord, Totals } from './wallet.ts'

export async function selectBalance(
  database: Database,
  instruments: Instruments,
  userId: string,
  currency: string,
): Promise<Balance | null> {
  const asset = instruments.assets.get(currency)
  if (asset === undefined) return null
  const { rows } = await database.query<{ readonly balance: string; readonly held: string }>({
    name: 'select-balance',
    text: 'select balance, held from ledger_accounts where user_id = $1 and currency = $2',
    values: [userId, currency],
  })
  const total = parseStored(rows[0]?.balance ?? '0', asset.scale)
  const held = parseStored(rows[0]?.held ?? '0', asset.scale)
  return { userId, currency, available: total - held, held, total }
}

/** Null: nobody has used the key. */
export async function selectKeyRecord(
  database: Database,
  instruments: Instruments,
  key: string,
): Promise<KeyRecord | null> {
  const { rows } = await database.query<StoredOperation & StoredHold>({
    name: 'select-operation',
    text: `
      select o.*, h.amount as hold_amount, h.remaining as hold_remaining
      from ledger_operations o
      left join ledger_holds h on h.key = case o.kind when 'hold' then o.key when 'release' then o.hold end
      where o.key = $1`,
    values: [key],
  })
  const [row] = rows
  if (row === undefined) return null
  const operation = operationOf(row, instruments)
  return { ...keyRecordOf(operation), held: heldOf(operation, row, instruments) }
}

/** The hold that a key has to do with; null where there is none. */
interface StoredHold {
  readonly hold_amount: string | null
  readonly hold_remaining: string | null
}

/** Of a hold: now; of a release that was applied: as it left it. */
function heldOf(operation: OperationRow, stored: StoredHold, instruments: Instruments): HoldState | null {
  const { kind, userId, currency } = operation
  if (userId === null || currency === null || (kind !== 'hold' && kind !== 'release')) return null
  const units = (text: string): bigint => parseStored(text, scaleOf(instruments, currency))
  const amount = stored.hold_amount === null ? operation.amount : units(stored.hold_amount)
  if (amount === null) return null
  const remaining = operation.remaining ?? units(stored.hold_remaining ?? '0')
  return { userId, currency, amount, remaining }
}

function keyRecordOf(operation: OperationRow): Omit<KeyRecord, 'held'> {
  const { key, kind, status, tradeId, userId, currency, amount, reason, hold, balanceAfter, code, detail, atMs } =
    operation
  const isMovement = kind === 'debit' || kind === 'credit'
  const isWhole = isMovement && userId !== null && currency !== null && amount !== null && reason !== null
  return {
    key,
    kind,
    status,
    tradeId,
    movement: isWhole ? { type: kind, userId, currency, amount, reason, ...(hold === null ? {} : { hold }) } : null,
    balanceAfter,
    hold: kind === 'release' ? hold : null,
    refusal: code === null ? null : { code, detail: detail ?? '', amounts: operation.shortfall },
    atMs,
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
