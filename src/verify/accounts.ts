/**
 * Every account against its entries. Each entry is held against the one before it, so that one fault is one break, where
 * it is; that each step is right and the sum is the balance makes every `balance_after` the running sum.
 */
export const ACCOUNT_BREAKS = `
  with chain as (
    select user_id, currency, seq, key, trade_id, amount, balance_after,
      coalesce(lag(seq) over account, 0) as seq_before,
      coalesce(lag(balance_after) over account, 0) as balance_before
    from ledger_entries
    window account as (partition by user_id, currency order by seq)
  ),
  doubtful as (
    select *
    from chain
    where seq <> seq_before + 1
      or balance_after <> balance_before + amount
      or balance_after < 0
  ),
  sums as (
    select user_id, currency, sum(amount) as balance, count(*) as entry_count
    from ledger_entries
    group by user_id, currency
  ),
  accounts as (
    select user_id, currency, coalesce(a.balance, 0) as balance, coalesce(a.held, 0) as held,
      coalesce(a.entry_count, 0) as entry_count,
      coalesce(a.may_overdraw, false) as may_overdraw, coalesce(s.balance, 0) as sum,
      coalesce(s.entry_count, 0) as entries
    from ledger_accounts a
    full join sums s using (user_id, currency)
  )
  select 'account-balance', null::uuid, user_id, currency, null,
    format('the balance should be the sum of the entries, %s %s, but is %s',
      trim_scale(sum), currency, trim_scale(balance))
  from accounts
  where balance <> sum

  union all
  select 'account-count', null, user_id, currency, null,
    format('the account should count its %s entries in %s, but counts %s', entries, currency, entry_count)
  from accounts
  where entry_count <> entries

  union all
  select 'account-overdrawn', null, user_id, currency, null,
    format('the balance should never be below zero, but is %s %s', trim_scale(balance), currency)
  from accounts
  where balance < 0
    and not may_overdraw

  union all
  select 'account-overdrawn', null, user_id, currency, null,
    format('never more should be held than there is, but of %s %s there are %s held',
      trim_scale(balance), currency, trim_scale(held))
  from accounts
  where balance >= 0
    and balance < held
    and not may_overdraw

  union all
  select 'account-overdrawn', c.trade_id, c.user_id, c.currency, c.key,
    format('the balance should never be below zero, but was %s %s after entry %s',
      trim_scale(c.balance_after), c.currency, c.seq)
  from doubtful c
  join ledger_accounts a using (user_id, currency)
  where c.balance_after < 0
    and not a.may_overdraw

  union all
  select 'entry-gap', trade_id, user_id, currency, key,
    format('entry %s in %s should follow entry %s, but the one before it is %s', seq, currency, seq - 1,
      case seq_before when 0 then 'missing' else seq_before::text end)
  from doubtful
  where seq <> seq_before + 1

  union all
  -- After a gap there is nothing to add to.
  select 'entry-balance', trade_id, user_id, currency, key,
    format('the balance after entry %s should be %s + %s = %s %s, but is noted as %s', seq, trim_scale(balance_before),
      trim_scale(amount), trim_scale(balance_before + amount), currency, trim_scale(balance_after))
  from doubtful
  where seq = seq_before + 1
    and balance_after <> balance_before + amount`
