-- Up Migration

-- What can be traded, as it was when trades of it were taken: amounts below are read at these scales.
create table assets (
  code text primary key check (code ~ '^[A-Z0-9]{1,20}$'),
  scale smallint not null check (scale between 0 and 18)
);

create table markets (
  symbol text primary key,
  base text not null references assets,
  quote text not null references assets,
  tick_size numeric not null check (tick_size > 0),
  lot_size numeric not null check (lot_size > 0),
  min_notional numeric not null check (min_notional >= 0),
  maker_fee numeric not null,
  taker_fee numeric not null,
  rounding text check (rounding in ('half_even', 'half_up', 'down')),
  check (symbol = base || '/' || quote and base <> quote)
);

-- A trade and its settlement. The first block never changes; of the second no column is in any index, so that the one
-- update a good settlement needs stays on its page and off the indexes.
create table trades (
  id uuid primary key,
  symbol text not null,
  buyer_user_id uuid not null,
  seller_user_id uuid not null,
  fee_user_id uuid not null,
  price numeric not null check (price > 0),
  quantity numeric not null check (quantity > 0),
  notional numeric not null check (notional >= 0),
  buyer_fee numeric not null check (buyer_fee >= -notional),
  seller_fee numeric not null check (seller_fee between -notional and notional),
  is_buyer_maker boolean,
  buyer_order_id uuid,
  seller_order_id uuid,
  executed_at timestamptz not null,
  recorded_at timestamptz not null,

  settlement_status text not null default 'PENDING'
    check (settlement_status in ('PENDING', 'SETTLED', 'SETTLEMENT_FAILED')),
  settled_at timestamptz,
  settlement_retry_count smallint not null default 0 check (settlement_retry_count >= 0),
  failure_reason text,
  rail text not null check (rail in ('atomic', 'saga')),
  leg_order text not null check (leg_order in ('buyer-first', 'debits-first')),
  -- The settlement machine's state where it can't be derived: null before anything went wrong, and after a settlement
  -- of epoch 0 whose every leg was applied at its first attempt.
  settlement jsonb,

  check ((settled_at is not null) = (settlement_status = 'SETTLED'))
)
-- Room on each page for the second version of every trade on it: what was inserted together is settled together.
with (fillfactor = 50);

create index trades_recorded on trades (recorded_at, id);
create index trades_buyer on trades (buyer_user_id, recorded_at, id);
create index trades_seller on trades (seller_user_id, recorded_at, id);

-- The queue: a row for each settlement that is not at its good end. It goes when the trade is settled and its fee
-- collected; one that failed, or whose fee is parked, keeps its row, and with it its fencing number.
create table open_settlements (
  -- Written by the statement that writes the trade; trades are never removed, so a foreign key would only cost time.
  trade_id uuid primary key,
  -- When somebody may (again) take it in hand; null: nothing happens by itself.
  due_at timestamptz,
  lease_owner uuid,
  -- The fencing number: every claim raises it, every write names it.
  lease_token integer not null,
  check (lease_owner is null or due_at is not null)
)
-- Every settlement passes through: what is left behind has to go before it slows the rest.
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

create index open_settlements_due on open_settlements (due_at) where due_at is not null;

-- What a foreign key would refuse, at the cost of one look per statement instead of one per row.
create function refuse_unknown_markets() returns trigger language plpgsql as $$
begin
  if exists (select from inserted i where not exists (select from markets m where m.symbol = i.symbol)) then
    raise exception 'a trade of a market that is not there' using errcode = 'foreign_key_violation';
  end if;
  return null;
end
$$;

create trigger trades_have_markets after insert on trades
  referencing new table as inserted
  for each statement execute function refuse_unknown_markets();

-- Final is final, whatever the code forgets.
create function refuse_to_unsettle() returns trigger language plpgsql as $$
begin
  raise exception 'trade % is SETTLED, and stays so', old.id using errcode = 'check_violation';
end
$$;

create trigger trades_settled_is_final before update on trades
  for each row when (old.settlement_status = 'SETTLED' and new.settlement_status <> 'SETTLED')
  execute function refuse_to_unsettle();

-- What stopped and needs a person: a settlement that failed or is parked, or the fee of a settled trade.
create table dead_letters (
  trade_id uuid primary key references trades,
  kind text not null check (kind in ('settlement', 'fee')),
  code text not null,
  last_error text not null,
  attempts integer not null check (attempts >= 0),
  rollback text not null check (rollback in ('not_needed', 'complete', 'incomplete')),
  status text not null default 'open' check (status in ('open', 'retrying', 'resolved')),
  first_failed_at timestamptz not null,
  last_failed_at timestamptz not null,
  resolution text check (resolution in ('retried', 'settled_elsewhere', 'cancelled', 'written_off')),
  resolved_by text,
  resolved_at timestamptz,
  note text,
  check ((status = 'resolved') = (resolution is not null))
);

create index dead_letters_open on dead_letters (last_failed_at, trade_id) where status <> 'resolved';
