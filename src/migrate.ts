import { fileURLToPath } from 'node:url'
import { runner } from 'node-pg-migrate'
import { codeOf, type Database, transaction } from './db.ts'

/**
 * Which part of the schema: the trades and their settlements, the built-in wallet's books, or the keys of whoever calls. The
 * wallet service alone has the last two, so keys are a part of their own.
 */
export type SchemaPart = 'store' | 'ledger' | 'access'

const FOLDER = fileURLToPath(new URL('../migrations/', import.meta.url))

/**
 * Brings a part of the schema to the newest version, forward only. Processes that start at the same moment take turns
 * on a row lock, so each migration runs once.
 */
export async function migrate(database: Database, part: SchemaPart): Promise<void> {
  await ensureTurnstile(database)
  await transaction(database, async turn => {
    await turn.query('select 1 from migration_turnstile for update')
    // On a connection of its own: each migration is a transaction, and must not end the one that holds the turn.
    const connection = await database.connect()
    try {
      await runner({
        dbClient: connection,
        dir: `${FOLDER}${part}`,
        migrationsTable: `${part}_migrations`,
        direction: 'up',
        singleTransaction: false,
        noLock: true,
        log: () => {},
      })
    } finally {
      connection.release()
    }
  })
}

/** The row whose lock orders migrations; `if not exists` alone can still collide between two first starts. */
async function ensureTurnstile(database: Database): Promise<void> {
  try {
    await database.query(`
      create table if not exists migration_turnstile (only_row boolean primary key default true check (only_row));
      insert into migration_turnstile default values on conflict do nothing`)
  } catch (error) {
    const collided = ['23505', '42P07', '42710'].includes(codeOf(error))
    if (!collided) throw error
    await database.query('insert into migration_turnstile default values on conflict do nothing')
  }
}
