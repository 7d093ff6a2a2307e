/**
 * The legs that trades should have against the entries that they have.
 *
 * What should be there follows from the trade and the stored state of its settlement. `there`: exactly one entry.
 * `absent`: none, or one and its opposite. `either`: the state leaves open which of these it is, since somebody is at
 * work on it just now (has the lease), or a call was made and its answer is not known.
 */

/**
 * One row for each leg of each trade in its epoch: `expected`, with the key, the index within a settlement (-1 for a leg
 * that has a key of its own) and what it changes on which account.
 */
export const EXPECTED_LEGS = `
  settlements as (
    select t.*, m.base, m.quote,
      lease_owner is not null as is_leased,
      buyer_user_id = seller_user_id as is_self_trade,
      coalesce((settlement ->> 'epoch')::integer, 0) as epoch,
      coalesce((settlement ->> 'feeEpoch')::integer, 0) as fee_epoch,
      settlement ->> 'phase' as phase,
      coalesce(settlement ->> 'fee', 'none') as fee_state,
      settlement -> 'steps' as steps,
      -- The place of the step an undo may have been sent for; those before it wait their turn.
      case
        when settlement ->> 'phase' in ('backward', 'parked') then (
          select max(place) - 1
          from jsonb_array_elements(settlement -> 'steps') with ordinality as s (step, place)
          where step ->> 'state' = 'applied'
            or step ->> 'inDoubt' = 'true'
        )
      end as undo_place
    from trades t
    join markets m using (symbol)
    left join open_settlements o on o.trade_id = t.id
  ),
  changes as (
    select s.*,
      case when is_self_trade then -(buyer_fee + seller_fee) else -(notional + buyer_fee) end as buyer_debit,
      case when is_self_trade then 0 else quantity end as traded,
      case when is_self_trade then 0 else notional - seller_fee end as seller_credit,
      buyer_fee + seller_fee as fee
    from settlements s
  ),
  -- A leg of zero is not there, so the index of a leg is the number of those before it.
  counts as (
    select c.*, (buyer_debit <> 0)::integer as debits, (traded <> 0)::integer as trades,
      (seller_credit <> 0)::integer as credits
    from changes c
  ),
  legs as (
    select c.*, name,
      case
        when name = 'fee' then fee_user_id
        when name like 'buyer-%' then buyer_user_id
        else seller_user_id
      end as account,
      case when name in ('buyer-credit', 'seller-debit') then base else quote end as currency,
      case name
        when 'buyer-debit' then buyer_debit
        when 'buyer-credit' then traded
        when 'seller-debit' then -traded
        when 'seller-credit' then seller_credit
        else fee
      end as change,
      case name
        when 'buyer-debit' then 0
        when 'buyer-credit' then case leg_order when 'buyer-first' then debits else debits + trades end
        when 'seller-debit' then case leg_order when 'buyer-first' then debits + trades else debits end
        when 'seller-credit' then debits + 2 * trades
        else debits + 2 * trades + credits
      end as place
    from counts c
    cross join (
      values ('buyer-debit'), ('buyer-credit'), ('seller-debit'), ('seller-credit'), ('fee')
    ) as l (name)
  ),
  steps as (
    select l.*, steps -> case rail when 'atomic' then 0 else place end as step,
      case rail when 'atomic' then 0 else place end = undo_place as may_be_undone
    from legs l
    where change <> 0
  ),
  expected as (
    select id as trade_id, rail, settlement_status, name, account, currency, change,
      case rail
        when 'atomic' then id || ':' || epoch
        else id || ':' || case name when 'fee' then fee_epoch else epoch end || ':' || name
      end as key,
      case rail when 'atomic' then place else -1 end as leg,
      -- On the atomic rail a settlement is never half done, and what is at rest is done or not.
      rail = 'saga' and (
        fee_state <> 'none' or phase = 'parked'
        or (settlement_status = 'PENDING' and (is_leased or settlement is not null))
      ) as is_half_done,
      case
        when settlement_status = 'SETTLED' and name = 'fee' and fee_state <> 'none' then
          case when is_leased or coalesce(step ->> 'inDoubt' <> 'false', true) then 'either' else 'absent' end
        when settlement_status = 'SETTLED' then 'there'
        when settlement is null then
          case when settlement_status = 'PENDING' and is_leased then 'either' else 'absent' end
        when phase = 'failed' then 'absent'
        when coalesce(step ->> 'inDoubt' <> 'false', true) then 'either'
        when step ->> 'state' = 'applied' then
          case when phase <> 'forward' and (is_leased or may_be_undone) then 'either' else 'there' end
        when step ->> 'state' = 'waiting' and phase = 'forward' and is_leased then 'either'
        else 'absent'
      end as must
    from steps
  )`

/**
 * What the entries of trades say: `moved`, one row for each key, index and account. The opposite that a wallet without
 * reversals is sent, under the leg's key and `:undo`, counts with the leg. What carries a trade's id and came in from
 * outside or went there (a deposit) is no leg of it.
 */
export const MOVED_LEGS = `
  moved as (
    select trade_id, case when key like '%:undo' then left(key, -5) else key end as key, coalesce(leg, -1) as leg,
      user_id as account, currency, count(*) as entries, sum(amount) as net, max(abs(amount)) as most,
      count(*) filter (where reason = 'SETTLEMENT_ROLLBACK') as undone
    from ledger_entries
    where trade_id is not null
    group by 1, 2, 3, 4, 5
    having not bool_or(reason in ('DEPOSIT', 'WITHDRAWAL'))
  )`

export const LEG_BREAKS = `
  with ${EXPECTED_LEGS},
  ${MOVED_LEGS},
  compared as (
    select coalesce(e.trade_id, m.trade_id) as trade_id, coalesce(e.account, m.account) as account,
      coalesce(e.currency, m.currency) as currency, coalesce(e.key, m.key) as key,
      e.settlement_status, e.name, e.change, e.must, m.net,
      coalesce(m.entries, 0) as entries,
      coalesce(m.entries = 1 and m.net = e.change and m.undone = 0, false) as is_once,
      coalesce(m.entries = 2 and m.net = 0 and m.most = abs(e.change) and m.undone = 1, false) as is_undone
    from expected e
    full join moved m
      on m.trade_id = e.trade_id
      and m.key = e.key
      and m.leg = e.leg
      and m.account = e.account
      and m.currency = e.currency
  ),
  wrong as (
    select *
    from compared
    where case must
      when 'there' then not is_once
      when 'absent' then not is_undone and entries <> 0
      when 'either' then not is_once and not is_undone and entries <> 0
      else true
    end
  )
  select
    case
      when w.must is null then 'leg-unexpected'
      when w.entries = 0 then 'leg-missing'
      when w.is_undone then 'leg-undone'
      when w.entries > 1 then 'leg-repeated'
      when w.is_once then 'leg-unexpected'
      else 'leg-amount'
    end,
    w.trade_id, w.account, w.currency, w.key,
    format('%s of a trade that is %s should have %s on this account under this key, but has %s',
      coalesce('the leg ' || w.name, 'what is no leg'), t.settlement_status,
      case w.must
        when 'there' then format('exactly one entry, of %s %s,', trim_scale(w.change), w.currency)
        when 'either' then format('at most one entry, of %s %s,', trim_scale(w.change), w.currency)
        when 'absent' then 'nothing, or one entry and its opposite,'
        else 'nothing'
      end,
      case w.entries
        when 0 then 'none'
        when 1 then format('one of %s %s', trim_scale(w.net), w.currency)
        else format('%s that sum to %s %s', w.entries, trim_scale(w.net), w.currency)
      end)
  from wrong w
  join trades t on t.id = w.trade_id
  -- Of an earlier epoch, or under a key or on an account that is not the trade's: whatever it was, it was taken back.
  where w.must is not null
    or w.net <> 0

  union all
  select 'trade-unknown', w.trade_id, null, null, null,
    format('there should be a trade behind every entry that names one, but %s entries name this one, which is not there',
      sum(w.entries))
  from wrong w
  where w.must is null
    and not exists (select from trades t where t.id = w.trade_id)
  group by w.trade_id

  union all
  select 'market-unknown', t.id, null, null, null,
    format('there should be a market %s, which the trade is of, but there is none', t.symbol)
  from trades t
  where not exists (select from markets m where m.symbol = t.symbol)

  union all
  select 'notional', t.id, null, m.quote, null,
    format('the notional should be %s × %s = %s %s%s, but is %s', trim_scale(t.price), trim_scale(t.quantity),
      trim_scale(t.price * t.quantity), m.quote, ', rounded ' || m.rounding || ' to ' || q.scale || ' places',
      trim_scale(t.notional))
  from trades t
  join markets m using (symbol)
  join assets q on q.code = m.quote
  cross join lateral (select t.price * t.quantity as exact, ('1e-' || q.scale)::numeric as unit) x
  where t.notional <> x.exact
    and t.notional is distinct from case m.rounding
      when 'down' then trunc(x.exact, q.scale)
      when 'half_up' then round(x.exact, q.scale)
      -- SQL rounds a half up: where it lies exactly between, and the lower neighbour is even, that is one too many.
      when 'half_even' then round(x.exact, q.scale) - case
        when 2 * mod(x.exact, x.unit) = x.unit and mod(trunc(x.exact, q.scale), 2 * x.unit) = 0 then x.unit
        else 0
      end
    end`
