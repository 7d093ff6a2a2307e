import type { Database } from '../../src/db.ts'

/** Takes everything out of the books, which nobody else may do. */
export async function emptyLedger(database: Database): Promise<void> {
  await database.query(`
    alter table ledger_entries disable trigger ledger_entries_append_only;
    alter table ledger_holds disable trigger ledger_holds_kept;
    truncate ledger_accounts, ledger_operations, ledger_entries, ledger_totals, ledger_holds;
    alter table ledger_entries enable trigger ledger_entries_append_only;
    alter table ledger_holds enable trigger ledger_holds_kept`)
}
