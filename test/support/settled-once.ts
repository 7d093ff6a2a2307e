import { expect } from 'vitest'
import type { Database } from '../../src/db.ts'

/**
 * Asks the tables, in SQL that shares nothing with Legwork's own checker, whether each trade there is settled and each of
 * its legs moved its amount exactly once, and whether what users have is what was deposited.
 */
export async function expectSettledOnce(database: Database, trades: number): Promise<void> {
  const { rows: statuses } = await database.query('select settlement_status, count(*) from trades group by 1')
  expect(statuses).toEqual(trades === 0 ? [] : [{ settlement_status: 'SETTLED', count: BigInt(trades) }])
  expect((await database.query('select from open_settlements')).rowCount).toBe(0)
  expect((await database.query(LEGS_THAT_DIFFER)).rows).toEqual([])
  expect((await database.query(MONEY_THAT_DIFFERS)).rows).toEqual([])
}

/** How often each movement of money should be there and how often it is. */
const LEGS_THAT_DIFFER = `
  with wanted as (
    select trade_id, user_id, currency collate "C" as currency, amount, count(*) as times
    from trades t
    join markets m using (symbol)
    cross join lateral (values
      (t.id, t.buyer_user_id, m.quote, -(t.notional + t.buyer_fee)),
      (t.id, t.buyer_user_id, m.base, t.quantity),
      (t.id, t.seller_user_id, m.base, -t.quantity),
      (t.id, t.seller_user_id, m.quote, t.notional - t.seller_fee),
      (t.id, t.fee_user_id, m.quote, t.buyer_fee + t.seller_fee)
    ) leg (trade_id, user_id, currency, amount)
    where amount <> 0
    group by 1, 2, 3, 4
  ),
  moved as (
    select trade_id, user_id, currency, amount, count(*) as times
    from ledger_entries
    where trade_id is not null
    group by 1, 2, 3, 4
  )
  select *
  from wanted w
  full join moved m using (trade_id, user_id, currency, amount)
  where w.times is distinct from m.times
  limit 5`

/** No trade makes or takes money: the balances of a currency are its deposits, and each is what its entries add up to. */
const MONEY_THAT_DIFFERS = `
  select currency, sum(balance) as balances, 0 as entries
  from ledger_accounts a
  group by currency
  having sum(balance) <> (
    select sum(amount)
    from ledger_entries e
    where e.currency = a.currency
      and reason in ('DEPOSIT', 'WITHDRAWAL')
  )
  union all
  select currency, balance, sum(amount)
  from ledger_accounts
  left join ledger_entries using (user_id, currency)
  group by user_id, currency, balance
  having balance is distinct from sum(amount)`
