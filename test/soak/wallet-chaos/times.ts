/**
 * When what the API gives no time of took effect: refusals, and what was taken back. The wallet's tables tell: no two of its
 * transactions have the same time, and a row names the one that wrote it last.
 */
import { openDatabase } from '../../../src/db.ts'

export interface Times {
  /** By key, in ms: when it was used first. */
  readonly done: ReadonlyMap<string, number>
  /** By key: when it was reversed or cancelled. Without those that had a transaction for themselves. */
  readonly undone: ReadonlyMap<string, number>
}

export async function readTimes(url: string): Promise<Times> {
  const database = openDatabase({ url }, 1)
  try {
    const { rows } = await database.query<{ readonly key: string; readonly at: Date; readonly undone_at: Date | null }>(
      TIMES,
    )
    const undone = rows.flatMap(({ key, undone_at: at }) => (at === null ? [] : [[key, at.getTime()] as const]))
    return { done: new Map(rows.map(({ key, at }) => [key, at.getTime()])), undone: new Map(undone) }
  } finally {
    await database.end()
  }
}

/** Of a transaction that took something back, what else it wrote has the time. */
const TIMES = `
  with written as (
    select xmin as transaction, at
    from ledger_operations
    where status in ('applied', 'refused')
      or kind = 'reversal'
    union all
    select xmin, at from ledger_entries
  ), transactions as (
    select transaction, max(at) as at from written group by transaction
  )
  select o.key, o.at, t.at as undone_at
  from ledger_operations o
  left join transactions t on t.transaction = o.xmin and o.status in ('reversed', 'cancelled')`
