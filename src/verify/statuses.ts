const STATES = `
  with states as (
    select t.id, settlement_status as status, settled_at, settlement ->> 'phase' as phase,
      coalesce(settlement ->> 'fee', 'none') as fee, coalesce(settlement ->> 'held' = 'true', false) as is_held,
      o.trade_id is not null as is_open, o.due_at
    from trades t
    left join open_settlements o on o.trade_id = t.id
  )`

/** Every trade is in one place: waiting, in work, settled, or stopped; and its row agrees with its settlement. */
export const STATUS_BREAKS = `
  ${STATES}
  select 'status-phase', id, null::uuid, null, null,
    format('a trade that is %s should have a settlement that is %s, but has one that is %s', status,
      case status
        when 'PENDING' then 'forward or backward'
        when 'SETTLED' then 'settled'
        else 'failed or parked'
      end, coalesce(phase, 'not stored'))
  from states
  where case status
    when 'PENDING' then phase not in ('forward', 'backward')
    when 'SETTLED' then phase <> 'settled'
    else coalesce(phase not in ('failed', 'parked'), true)
  end

  union all
  select 'settled-at', id, null, null, null,
    format('a trade should have a time of settlement exactly when it is SETTLED, but is %s with %s', status,
      coalesce('the time ' || settled_at, 'none'))
  from states
  where (settled_at is not null) <> (status = 'SETTLED')

  union all
  select 'work-after-end', id, null, null, null,
    format('a trade that is %s should have nothing left to do, but %s', status,
      coalesce('is due at ' || due_at, 'is still open'))
  from states
  where case
    when status = 'PENDING' or fee = 'owed' or phase = 'parked' then false
    when status = 'SETTLED' and fee = 'none' then is_open
    else due_at is not null
  end

  union all
  select 'work-lost', id, null, null, null,
    format('a trade that is %s with %s should %s, but %s', status,
      case
        when status = 'PENDING' then 'its settlement before it'
        when status = 'SETTLED' then 'its fee ' || fee
        else 'its settlement ' || coalesce(phase, 'not stored')
      end,
      case when is_open then 'be due at some time' else 'be open' end,
      case when is_open then 'never is' else 'is not' end)
  from states
  where case
    when status = 'PENDING' or fee = 'owed' or (phase = 'parked' and not is_held) then due_at is null
    -- What a person may take up again keeps its fencing number.
    when status = 'SETTLEMENT_FAILED' or fee = 'parked' then not is_open
    else false
  end

  union all
  select 'trade-unknown', trade_id, null, null, null,
    'there should be a trade behind every open settlement, but this one has none'
  from open_settlements o
  where not exists (select from trades t where t.id = o.trade_id)`

/** What stopped has a letter, and what went on has none that is open. */
export const LETTER_BREAKS = `
  ${STATES}
  select 'letter-missing', s.id, null::uuid, null, null,
    format('a trade that is %s should have a dead letter of kind %s, but has %s', s.said, s.wanted,
      coalesce('one of kind ' || l.kind, 'none'))
  from (
    select id, 'settlement' as wanted, status as said
    from states
    where status = 'SETTLEMENT_FAILED'
    union all
    select id, 'fee', 'SETTLED with its fee parked'
    from states
    where status = 'SETTLED'
      and fee = 'parked'
  ) s
  left join dead_letters l on l.trade_id = s.id
  where l.kind is distinct from s.wanted

  union all
  select 'letter-stale', s.id, null, null, null,
    format('a trade that is %s%s should have no dead letter that is %s, but has one of kind %s', s.status,
      case s.fee when 'none' then '' else ' with its fee ' || s.fee end, l.status, l.kind)
  from dead_letters l
  join states s on s.id = l.trade_id
  where case l.status
    when 'open' then s.status = 'PENDING' or (s.status = 'SETTLED' and s.fee <> 'parked')
    -- Somebody has to be at it.
    when 'retrying' then s.due_at is null
    else false
  end`
