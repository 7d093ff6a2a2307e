import type { Database } from '../../src/db.ts'

/** Of many entries; in the midst of the others, so that what is read of all goes through them. */
export const BUSY_USER = '00000000-0000-4000-8000-000000000007'
export const ENTRIES_OF_OTHERS = 100
/** Entry `n` of an account is so many minutes later than this. */
export const SINCE_MS: number = Date.parse('2026-01-01T00:00:00Z')

/** Entries of 1.5 USDT without the accounts and operations that they would have; each is of a trade of its own. */
export async function writeManyEntries(
  database: Database,
  { busy, others }: { readonly busy: number; readonly others: number },
): Promise<void> {
  await database.query(
    `
    insert into ledger_entries (user_id, currency, seq, key, leg, trade_id, amount, balance_after, reason, at)
    select ('00000000-0000-4000-8000-' || lpad(to_hex(account), 12, '0'))::uuid, 'USDT', seq,
      'key ' || account || ':' || seq, null,
      ('00000000-0000-4000-' || lpad(to_hex(account), 4, '0') || '-' || lpad(to_hex(seq), 12, '0'))::uuid,
      1.5, seq * 1.5, 'TRADE_SETTLEMENT', to_timestamp($4) + seq * interval '1 minute'
    from generate_series(1, $1::integer + 1) account,
      generate_series(1, case account when 7 then $2::integer else $3 end) seq`,
    [others, busy, ENTRIES_OF_OTHERS, SINCE_MS / 1000],
  )
  await database.query('analyze ledger_entries')
}
