/** Writes to the tables what nobody may write, and puts back what was there. */
import type { Database } from '../../src/db.ts'

export interface Tampering {
  /** What stands now is what is put back. */
  readonly save: () => Promise<void>
  readonly restore: () => Promise<void>
  /** Triggers and foreign keys look away. */
  readonly tamper: (...statements: readonly string[]) => Promise<void>
}

const TABLES = [
  'assets',
  'markets',
  'trades',
  'open_settlements',
  'dead_letters',
  'orders',
  'order_books',
  'order_id_blocks',
  'hold_releases',
  'ledger_accounts',
  'ledger_operations',
  'ledger_entries',
  'ledger_totals',
  'ledger_holds',
]

export function tamperingWith(database: () => Database): Tampering {
  async function tamper(...statements: readonly string[]): Promise<void> {
    const connection = await database().connect()
    try {
      await connection.query('set session_replication_role = replica')
      for (const statement of statements) await connection.query(statement)
    } finally {
      connection.release(true)
    }
  }

  return {
    async save() {
      await database().query('create schema saved')
      for (const table of TABLES) await database().query(`create table saved.${table} as table ${table}`)
    },
    restore: () =>
      tamper(`truncate ${TABLES.join()}`, ...TABLES.map(table => `insert into ${table} select * from saved.${table}`)),
    tamper,
  }
}
