/**
 * The orders of the order desk against its trades, each other, and what stands aside for them. Trades of a matching engine
 * elsewhere have no fee rates, and their order ids are that engine's own.
 */

/** What an order has of each of its trades. */
const FILLS = `
  fills as (
    select t.id as trade_id, t.symbol, t.price, 'buy' as side, t.buyer_order_id as order_id, t.buyer_user_id as user_id,
      t.buyer_hold as hold, t.quantity, t.notional, t.buyer_fee as fee, t.notional * t.buyer_fee_rate as fee_exact
    from trades t
    where t.buyer_fee_rate is not null
    union all
    select t.id, t.symbol, t.price, 'sell', t.seller_order_id, t.seller_user_id, t.seller_hold, t.quantity, t.notional,
      t.seller_fee, t.notional * t.seller_fee_rate
    from trades t
    where t.buyer_fee_rate is not null
  )`

/** Each order and each of its trades say the same, and the books are not crossed. */
export const ORDER_BREAKS = `
  with ${FILLS},
  filled as (
    select order_id, sum(quantity) as quantity, sum(notional) as notional, sum(fee) as fee, sum(fee_exact) as fee_exact
    from fills
    group by order_id
  ),
  states as (
    select o.*, coalesce(f.quantity, 0) as traded, coalesce(f.notional, 0) as traded_quote,
      coalesce(f.fee, 0) as fees, coalesce(f.fee_exact, 0) as fees_exact, m.base, m.quote, q.scale,
      -- Up, also where it is below zero.
      ceil(o.fee_exact * ('1e' || q.scale)::numeric) * ('1e-' || q.scale)::numeric as fee_rounded
    from orders o
    join markets m using (symbol)
    join assets q on q.code = m.quote
    left join filled f on f.order_id = o.id
  ),
  best as (
    select symbol, max(price) filter (where side = 'buy') as bid, min(price) filter (where side = 'sell') as ask
    from orders
    where is_open
    group by symbol
  )
  select 'order-trade', f.trade_id, f.user_id, null, null,
    format('order %s should have a trade that %s, but %s', coalesce(f.order_id::text, 'of the ' || f.side || ' side'),
      case f.side when 'buy' then 'it buys by' else 'it sells by' end,
      case
        when o.id is null then 'is not there'
        when o.side <> f.side then 'is one to ' || o.side
        when o.user_id <> f.user_id then 'is of user ' || o.user_id
        when o.symbol <> f.symbol then 'is of market ' || o.symbol
        when f.hold is distinct from o.hold and f.hold is not null then
          format('has %s, and the trade draws on hold %s', coalesce('hold ' || o.hold, 'no hold'), f.hold)
        else format('has the limit %s, and the trade the price %s', trim_scale(o.price), trim_scale(f.price))
      end)
  from fills f
  left join orders o on o.id = f.order_id
  where o.id is null
    or o.side <> f.side
    or o.user_id <> f.user_id
    or o.symbol <> f.symbol
    -- None: a retry has dropped it.
    or (f.hold is not null and f.hold is distinct from o.hold)
    or case o.side when 'buy' then f.price > o.price else f.price < o.price end

  union all
  select 'order-fills', null, user_id, null, null,
    format('order %s should have %s %s filled for %s %s with a fee of %s (exactly %s, rounded up) as its trades sum to, '
      'but has %s for %s with a fee of %s (exactly %s)', id, trim_scale(traded), base, trim_scale(traded_quote), quote,
      trim_scale(fees), trim_scale(fees_exact), trim_scale(filled_quantity), trim_scale(filled_quote_quantity),
      trim_scale(fee_charged), trim_scale(fee_exact))
  from states
  where filled_quantity <> traded
    or filled_quote_quantity <> traded_quote
    or fee_charged <> fees
    or fee_exact <> fees_exact
    or fee_charged <> fee_rounded

  union all
  select 'order-status', null, user_id, null, null,
    format('order %s (%s) that is %s should %s, but has %s of %s %s filled%s', id,
      concat_ws(' ', type, time_in_force), status,
      case
        when is_open and (type <> 'limit' or time_in_force <> 'GTC') then 'never rest'
        when quantity is null then 'have something filled within its budget'
        when status = 'open' then 'have all of it open'
        when status = 'partially_filled' then 'have a part filled and a part open'
        when status = 'filled' then 'have all of it filled'
        when time_in_force = 'FOK' then 'have nothing filled'
        else 'have a rest that is ' || status
      end,
      trim_scale(filled_quantity), coalesce(trim_scale(quantity)::text, 'a budget of ' || trim_scale(quote_quantity)),
      case when quantity is null then quote else base end,
      case when quantity is null then ' for ' || trim_scale(filled_quote_quantity + fee_charged) else '' end)
  from states
  where case
    when is_open and (type <> 'limit' or time_in_force <> 'GTC') then true
    when quantity is null then
      filled_quote_quantity + fee_charged > quote_quantity or (status = 'filled' and filled_quantity = 0)
    when status = 'open' then filled_quantity <> 0
    when status = 'partially_filled' then filled_quantity = 0 or filled_quantity >= quantity
    when status = 'filled' then filled_quantity <> quantity
    -- What is all or nothing has no rest.
    when time_in_force = 'FOK' then filled_quantity <> 0
    else filled_quantity >= quantity
  end

  union all
  select 'book-crossed', null, null, null, null,
    format('in market %s the best bid should be below the best ask, but is %s where that is %s', symbol, trim_scale(bid),
      trim_scale(ask))
  from best
  where bid >= ask`
