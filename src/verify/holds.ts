/**
 * What stands aside: what each account holds against what remains of its holds, and each hold against the key that placed
 * it. What a hold has given to debits is not written down, so that what remains of it can't be recomputed.
 */
export const HOLD_BREAKS = `
  with remaining as (
    select user_id, currency, sum(remaining) as held, count(*) filter (where remaining > 0) as open
    from ledger_holds
    group by user_id, currency
  ),
  accounts as (
    select user_id, currency, coalesce(a.held, 0) as held, coalesce(r.held, 0) as remaining, coalesce(r.open, 0) as open
    from ledger_accounts a
    full join remaining r using (user_id, currency)
  ),
  placed as (
    select coalesce(o.key, h.key) as key, coalesce(o.user_id, h.user_id) as user_id,
      coalesce(o.currency, h.currency) as currency, o.kind, o.status, h.key is not null as is_there, h.reversed,
      h.remaining, h.amount, o.amount as asked,
      h.user_id is not distinct from o.user_id and h.currency is not distinct from o.currency as is_same_account
    from (select * from ledger_operations where kind = 'hold') o
    full join ledger_holds h on h.key = o.key
  )
  select 'account-held', null::uuid, user_id, currency, null,
    format('what is held should be what remains of %s open holds, %s %s, but is %s',
      open, trim_scale(remaining), currency, trim_scale(held))
  from accounts
  where held <> remaining

  union all
  select 'hold-operation', null, user_id, currency, key,
    case
      when kind is null then 'there should be a call under the key of every hold, but this one has none'
      when not is_there then format('a hold that is %s should have its row, but has none', status)
      when status not in ('applied', 'reversed') then format('a hold that is %s should have no row, but has one', status)
      when not is_same_account then 'the hold should be on the account it was asked for, but is on another one'
      when amount <> asked then
        format('the hold should be of %s %s as it was asked for, but is of %s', trim_scale(asked), currency, trim_scale(amount))
      when reversed <> (status = 'reversed') then
        format('a hold whose key is %s should %s, but is %s', status,
          case status when 'reversed' then 'be taken back' else 'stand' end,
          case when reversed then 'taken back' else 'standing' end)
      else format('between nothing and %s %s should remain of the hold, but %s does', trim_scale(amount), currency,
        trim_scale(remaining))
    end
  from placed
  where kind is null
    or is_there <> (status in ('applied', 'reversed'))
    or (is_there and (
      not is_same_account
      or amount <> asked
      or reversed <> (status = 'reversed')
      or remaining < 0
      or remaining > amount
      or (reversed and remaining <> 0)
    ))`
