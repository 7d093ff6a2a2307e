/**
 * What each key says it has done against the entries under it: applied, each movement once; reversed, each once and once
 * the opposite; refused or cancelled, nothing; and holds and their releases never make any. Which legs a settlement should have is asked of its trade (legs.ts).
 */
export const OPERATION_BREAKS = `
  with counted as (
    select o.key, o.kind, o.status, o.trade_id, o.user_id, o.currency,
      count(e.key) as entries,
      count(*) filter (
        where case o.kind
          when 'settlement' then
            e.leg is not null and e.trade_id = o.trade_id and e.reason in ('TRADE_SETTLEMENT', 'FEE_COLLECTION')
          else
            e.leg is null and e.trade_id is not distinct from o.trade_id and e.user_id = o.user_id
            and e.currency = o.currency and e.amount = case o.kind when 'debit' then -o.amount else o.amount end
            and e.balance_after = o.balance_after and e.reason = o.reason
        end
      ) as originals,
      count(*) filter (
        where e.reason = 'SETTLEMENT_ROLLBACK'
          and case o.kind
            when 'settlement' then e.leg is not null and e.trade_id = o.trade_id
            else
              e.leg is null and e.trade_id is not distinct from o.trade_id and e.user_id = o.user_id
              and e.currency = o.currency and e.amount = case o.kind when 'debit' then o.amount else -o.amount end
          end
      ) as opposites,
      -- Of a settlement the highest index tells how many legs there were; a single operation is one movement.
      case when o.kind in ('hold', 'release') then 0 else coalesce(max(e.leg) + 1, 1) end as movements
    from ledger_operations o
    left join ledger_entries e on e.key = o.key
    group by o.key
  )
  select 'operation-entries', trade_id, user_id, currency, key,
    format('a %s that is %s should have %s, but has %s (%s as it was called, %s opposite)', kind, status,
      case status
        when 'applied' then format('%s entries as it was called', movements)
        when 'reversed' then format('%s entries as it was called and their opposites', movements)
        else 'no entries'
      end, entries, originals, opposites)
  from counted
  where case status
    when 'applied' then entries <> movements or originals <> movements
    when 'reversed' then entries <> 2 * movements or originals <> movements or opposites <> movements
    else entries <> 0
  end

  union all
  select 'entry-without-operation', max(e.trade_id::text)::uuid, max(e.user_id::text)::uuid, max(e.currency), e.key,
    format('there should be an operation under the key of every entry, but %s entries have none', count(*))
  from ledger_entries e
  where not exists (select from ledger_operations o where o.key = e.key)
  group by e.key

  union all
  select 'settlement-unbalanced', max(trade_id::text)::uuid, null, currency, key,
    format('what a settlement moves should sum to zero in %s, but sums to %s', currency, trim_scale(sum(amount)))
  from ledger_entries
  where leg is not null
  group by key, currency
  having sum(amount) <> 0`
