/** What the store shows of itself: nothing here reads a table that grows with the trades. */
import { type Connection, type Database, transaction } from '../db.ts'
import { selectCounts } from './counts.ts'
import type { StoreStatus } from './operator-store.ts'

/** How many of the settlements that are due first are looked at for the oldest one. */
const MOST_LOOKED_AT = 2000

/** All of one moment: a trade that has failed is never counted without its letter. */
export async function selectStatus(database: Database): Promise<StoreStatus> {
  return await transaction(database, async connection => {
    await connection.query('set transaction isolation level repeatable read, read only')
    return {
      ...(await selectCounts(connection)),
      ...(await countLetters(connection)),
      owedFees: await selectOwedFees(connection),
      oldestPendingMs: await selectOldestPending(connection),
      isPaused: await isPaused(connection),
    }
  })
}

/** Of the index of those that are not resolved, which has all that is asked. */
async function countLetters(connection: Connection): Promise<Pick<StoreStatus, 'deadLetters' | 'incompleteRollbacks'>> {
  const { rows } = await connection.query<{ readonly open: bigint; readonly incomplete: bigint }>(`
    select count(*) filter (where status = 'open') as open,
      count(*) filter (where rollback = 'incomplete') as incomplete
    from dead_letters
    where status <> 'resolved'`)
  return { deadLetters: Number(rows[0]?.open ?? 0), incompleteRollbacks: Number(rows[0]?.incomplete ?? 0) }
}

async function selectOwedFees(connection: Connection): Promise<StoreStatus['owedFees']> {
  const { rows } = await connection.query<{ readonly currency: string; readonly amount: string }>(`
    select m.quote as currency, trim_scale(sum(t.buyer_fee + t.seller_fee))::text as amount
    from open_settlements o
    join trades t on t.id = o.trade_id
    join markets m on m.symbol = t.symbol
    left join dead_letters l on l.trade_id = o.trade_id
      and l.kind = 'fee'
      and l.status = 'resolved'
    where o.owes_fee
      and l.trade_id is null
    group by m.quote
    order by m.quote`)
  return rows
}

/** What waits for a worker is due since it was recorded; what is in hand or waits for a retry is due a little later. */
async function selectOldestPending(connection: Connection): Promise<number | null> {
  const { rows } = await connection.query<{ readonly recorded_at: Date | null }>(
    `
    select min(t.recorded_at) as recorded_at
    from (
      select trade_id
      from open_settlements
      where due_at is not null
      order by due_at
      limit $1
    ) o
    join trades t on t.id = o.trade_id
    where t.settlement_status = 'PENDING'`,
    [MOST_LOOKED_AT],
  )
  return rows[0]?.recorded_at?.getTime() ?? null
}

export async function isPaused(database: Connection | Database): Promise<boolean> {
  const { rows } = await database.query<{ readonly paused: boolean }>({
    name: 'is-paused',
    text: 'select paused from settlement_switch where only_row',
  })
  return rows[0]?.paused === true
}

export async function setPaused(connection: Connection, paused: boolean): Promise<void> {
  await connection.query('update settlement_switch set paused = $1 where only_row', [paused])
}
