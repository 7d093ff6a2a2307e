import type { Database } from '../../src/db.ts'

/** How many entries there are on `BUSY_USER`, and on each of as many other users as there are others. */
export const BUSY_ENTRIES = 100_000
const OTHERS = 1000
const ENTRIES_OF_OTHERS = 100
export const ALL_ENTRIES: number = BUSY_ENTRIES + OTHERS * ENTRIES_OF_OTHERS
/** In the midst of the others, so that what is read of all goes through it. */
export const BUSY_USER = '00000000-0000-4000-8000-000000000007'
/** Entry `n` of the busy user is so many minutes later than this. */
export const SINCE_MS: number = Date.parse('2026-01-01T00:00:00Z')

/** Entries of 1.5 USDT without the accounts and operations that they would have; each is of a trade of its own. */
export async function writeManyEntries(database: Database): Promise<void> {
  await database.query(
    `
    insert into ledger_entries (user_id, currency, seq, key, leg, trade_id, amount, balance_after, reason, at)
    select ('00000000-0000-4000-8000-' || lpad(to_hex(account), 12, '0'))::uuid, 'USDT', seq,
      'key ' || account || ':' || seq, null,
      ('00000000-0000-4000-' || lpad(to_hex(account), 4, '0') || '-' || lpad(to_hex(seq), 12, '0'))::uuid,
      1.5, seq * 1.5, 'TRADE_SETTLEMENT', to_timestamp($4) + seq * interval '1 minute'
    from generate_series(1, $1::integer + 1) account, generate_series(1, case account when 7 then $2::integer else $3 end) seq`,
    [OTHERS, BUSY_ENTRIES, ENTRIES_OF_OTHERS, SINCE_MS / 1000],
  )
  await database.query('analyze ledger_entries')
}
