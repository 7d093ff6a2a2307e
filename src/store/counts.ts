/** How many trades there are of each status: kept in the statements that change them, never counted. */
import type { Connection } from '../db.ts'
import type { SettlementCounts } from './operator-store.ts'

/** The most connections that count without waiting for each other. */
const SLOTS = 64

/** The clause of a statement that adds what `selection` selects, a number for each column, to the counts. */
export function addCounts(columns: string, selection: string): string {
  const names = columns.split(', ')
  const values = selection.replace(/^\s*select /, `select pg_backend_pid() % ${SLOTS}, `)
  return `
    insert into settlement_counts as total (slot, ${columns})
    ${values}
    on conflict (slot) do update
    set ${names.map(name => `${name} = total.${name} + excluded.${name}`).join(', ')}`
}

interface CountsRow {
  readonly recorded: string
  readonly settled: string
  readonly failed: string
  readonly retries: string
}

export async function selectCounts(connection: Connection): Promise<SettlementCounts> {
  const { rows } = await connection.query<CountsRow>(`
    select sum(recorded)::text as recorded, sum(settled)::text as settled, sum(failed)::text as failed,
      sum(retries)::text as retries
    from settlement_counts`)
  const [row] = rows
  const [recorded, settled, failed] = [Number(row?.recorded), Number(row?.settled), Number(row?.failed)]
  return { pending: recorded - settled - failed, settled, failed, retries: Number(row?.retries) }
}
