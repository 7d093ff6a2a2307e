/**
 * What remains of the hold of each order: what its rest can cost, what its trades will yet draw, and what is to be given
 * back and is not yet. It adds up at every instant. An order is stored with its trades, and with what they have freed; a
 * draw and a release each happen at the ledger alone, so that what the ledger says of their keys counts, and not what has
 * been recorded of them since. A hold whose order is not stored yet belongs to no order.
 *
 * A debit draws in the first epoch in which it may have been applied; what is then taken back is available, and an operator's
 * retry drops the hold from the trade. Where such a debit was never applied, its part stays in the hold without an owner,
 * until all that remains is released.
 */
export const ORDER_HOLD_BREAKS = `
  with secured as (
    select o.id, o.user_id, o.side, o.hold, case o.side when 'buy' then m.quote else m.base end as currency,
      case
        when not o.is_open then 0
        when o.side = 'sell' then x.rest
        -- The fee of all fills is rounded once, up, at the highest of the rates.
        else n.notional + ceil((o.fee_exact + n.notional * greatest(m.maker_fee, m.taker_fee, 0)) * x.one) * x.unit
          - o.fee_charged
      end as need
    from orders o
    join markets m using (symbol)
    join assets q on q.code = m.quote
    cross join lateral (
      select ('1e' || q.scale)::numeric as one, ('1e-' || q.scale)::numeric as unit,
        o.quantity - o.filled_quantity as rest, o.price * (o.quantity - o.filled_quantity) as exact
    ) x
    cross join lateral (
      select case
          when coalesce(m.rounding, 'down') = 'down' or mod(m.tick_size * m.lot_size, x.unit) = 0 then
            ceil(x.exact * x.one) * x.unit
          -- A fill of each lot: each is rounded up by half a unit at most, and to twice its worth at most.
          else least(ceil(2 * x.exact * x.one), ceil(x.exact * x.one + x.rest / m.lot_size / 2)) * x.unit
        end as notional
    ) n
    where o.hold is not null
  ),
  -- Of what is settled the debit has drawn, unless it named no hold.
  debits as (
    select s.id as order_id, s.hold, t.id as trade_id, t.rail, t.settlement, t.settlement_status,
      'buyer-debit' as name, t.buyer_hold is not null as is_named, 0 as place,
      case when t.buyer_user_id = t.seller_user_id then t.buyer_fee else t.notional end
        + case when t.buyer_user_id = t.seller_user_id then t.seller_fee else t.buyer_fee end as amount
    from secured s
    join trades t on t.buyer_order_id = s.id
    where s.side = 'buy'
      and t.buyer_fee_rate is not null
      and (t.settlement_status <> 'SETTLED' or t.buyer_hold is null)
    union all
    select s.id, s.hold, t.id, t.rail, t.settlement, t.settlement_status, 'seller-debit', t.seller_hold is not null,
      -- A buyer whose rebate is the whole notional is debited nothing, and has no leg before this one.
      (t.notional + t.buyer_fee <> 0)::integer + (t.leg_order = 'buyer-first')::integer,
      case when t.buyer_user_id = t.seller_user_id then 0 else t.quantity end
    from secured s
    join trades t on t.seller_order_id = s.id
    where s.side = 'sell'
      and t.buyer_fee_rate is not null
      and (t.settlement_status <> 'SETTLED' or t.seller_hold is null)
  ),
  -- On the atomic rail the first key that was not refused is that of the epoch in which the hold was named last.
  drawn as (
    select d.order_id, d.trade_id,
      coalesce(
        case d.rail
          when 'saga' then bool_or(p.hold = d.hold::text and p.status in ('applied', 'reversed'))
          else (array_agg(p.status in ('applied', 'reversed') order by epoch) filter (where p.status <> 'refused'))[1]
        end, false) as is_drawn
    from debits d
    cross join lateral generate_series(0, coalesce((d.settlement ->> 'epoch')::integer, 0)) as epoch
    left join ledger_operations p
      on p.key = d.trade_id || ':' || epoch || case d.rail when 'saga' then ':' || d.name else '' end
    group by d.order_id, d.trade_id, d.rail
  ),
  parts as (
    select d.order_id, d.amount,
      not d.is_named or (x.is_resolved and x.was_sent) as is_nobodys,
      -- What a person has resolved will not draw any more, and has given back what it certainly never drew.
      d.is_named and x.is_resolved and not x.was_sent as is_given_back
    from debits d
    join drawn using (order_id, trade_id)
    left join dead_letters l on l.trade_id = d.trade_id
    cross join lateral (
      select d.settlement -> 'steps' -> case d.rail when 'atomic' then 0 else d.place end as step
    ) s
    cross join lateral (
      select coalesce(l.kind = 'settlement' and l.status = 'resolved', false)
          and d.settlement_status = 'SETTLEMENT_FAILED' as is_resolved,
        coalesce(s.step ->> 'state' not in ('waiting', 'refused') or s.step ->> 'inDoubt' = 'true', true) as was_sent
    ) x
    where not is_drawn
      and d.amount > 0
  ),
  releases as (
    select r.hold, sum(r.amount) as amount
    from hold_releases r
    left join ledger_operations p on p.key = r.key::text
    where p.status is distinct from 'applied'
    group by r.hold
  ),
  emptied as (
    select distinct hold
    from ledger_operations
    where kind = 'release'
      and status = 'applied'
      and content = 'all'
  ),
  expected as (
    select s.*, coalesce(p.amount, 0) as unsettled, coalesce(r.amount, 0) as free,
      case when e.hold is null then coalesce(p.nobodys, 0) else 0 end as nobodys
    from secured s
    left join (
      select order_id, sum(amount) filter (where not is_nobodys and not is_given_back) as amount,
        sum(amount) filter (where is_nobodys) as nobodys
      from parts
      group by order_id
    ) p on p.order_id = s.id
    left join releases r on r.hold = s.hold
    left join emptied e on e.hold = s.hold::text
  )
  select 'order-hold', null::uuid, e.user_id, e.currency, e.hold::text,
    format('of the hold of order %s should remain %s = %s for its rest, %s for trades that are not settled, %s that is to be '
      'given back and %s of nobody, but %s', e.id, trim_scale(e.need + e.unsettled + e.free + e.nobodys),
      trim_scale(e.need), trim_scale(e.unsettled), trim_scale(e.free), trim_scale(e.nobodys),
      case
        when h.key is null then 'there is no such hold'
        when h.user_id <> e.user_id then 'it is on the account of user ' || h.user_id
        when h.currency <> e.currency then 'it is of ' || h.currency
        when h.reversed then 'it was taken back'
        else trim_scale(h.remaining) || ' does'
      end)
  from expected e
  left join ledger_holds h on h.key = e.hold::text
  where h.key is null
    or h.user_id <> e.user_id
    or h.currency <> e.currency
    or h.reversed
    or h.remaining <> e.need + e.unsettled + e.free + e.nobodys`
