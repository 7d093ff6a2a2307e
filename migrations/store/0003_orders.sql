-- Up Migration

-- The orders of the order desk. What never changes, then what does; an order that is over is never written again.
create table orders (
  id uuid primary key,
  user_id uuid not null,
  client_order_id text collate "C" check (length(client_order_id) between 1 and 64),
  symbol text not null references markets,
  side text not null check (side in ('buy', 'sell')),
  type text not null check (type in ('limit', 'market')),
  price numeric check (price > 0),
  -- What was ordered at first. A content that comes again is compared with this.
  placed_quantity numeric check (placed_quantity > 0),
  -- Of a purchase by budget, fees included.
  quote_quantity numeric check (quote_quantity > 0),
  time_in_force text not null check (time_in_force in ('GTC', 'IOC', 'FOK')),
  post_only boolean not null,
  self_trade_prevention text not null
    check (self_trade_prevention in ('none', 'expire_taker', 'expire_maker', 'expire_both')),
  -- The key of the hold that its debits draw on; null: the wallet has none, and the funds are reserved here.
  hold uuid,
  created_at timestamptz not null,

  -- As it was last reduced to.
  quantity numeric check (quantity > 0 and quantity <= placed_quantity),
  filled_quantity numeric not null check (filled_quantity >= 0 and filled_quantity <= quantity),
  filled_quote_quantity numeric not null check (filled_quote_quantity >= 0),
  -- Of all its fills: what they owe exactly (notional × rate), and what was charged of it.
  fee_exact numeric not null,
  fee_charged numeric not null,
  status text not null check (status in ('open', 'partially_filled', 'filled', 'cancelled', 'expired')),
  -- Whether it rests in the book: the same as the status, apart so that a fill does not touch an index.
  is_open boolean not null,
  -- The number of the event with which it came to rest: time priority.
  opened_sequence bigint,
  updated_at timestamptz not null,

  check ((type = 'limit') = (price is not null)),
  check ((placed_quantity is null) = (quote_quantity is not null) and (quantity is null) = (placed_quantity is null)),
  check (is_open = (status in ('open', 'partially_filled'))),
  check (not is_open or opened_sequence is not null)
)
with (fillfactor = 70);

create unique index orders_client_order_id on orders (user_id, client_order_id) where client_order_id is not null;
create index orders_open on orders (symbol, opened_sequence) where is_open;
create index orders_open_user on orders (user_id) where is_open;
create index orders_user on orders (user_id, created_at, id);
create index orders_recent on orders (created_at, id);

create function refuse_to_change_ended_orders() returns trigger language plpgsql as $$
begin
  raise exception 'order % is over, and stays so', old.id using errcode = 'check_violation';
end
$$;

create trigger orders_ended_is_final before update on orders
  for each row when (not old.is_open)
  execute function refuse_to_change_ended_orders();

-- A market's book: how many events it has had, and whether it takes orders.
create table order_books (
  symbol text primary key references markets,
  sequence bigint not null,
  is_halted boolean not null default false
);

-- Of all processes one runs the books; its number is named by each of its writes, and raised by whoever takes over.
create table order_desk (
  only_row boolean primary key default true check (only_row),
  token bigint not null
);
insert into order_desk (token) values (0);

-- Holds that are asked for before the order that they are for is stored. One that is still here when the desk begins was
-- for an order that never came to be, and is taken back.
create table hold_intents (
  hold uuid primary key
)
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

-- What is to be given back of a hold, stored with what made it free, until the wallet has done it.
create table hold_releases (
  -- Of the call.
  key uuid primary key,
  hold uuid not null,
  currency text not null,
  -- Null: all that remains.
  amount numeric check (amount > 0),
  created_at timestamptz not null,
  -- The wallet will not do it, and a person must look.
  refused text,
  -- What an operator did about a trade made it free: the process that has the books finds it by looking.
  by_operator boolean not null default false
)
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

create index hold_releases_by_operator on hold_releases (hold) where by_operator;

-- Of a trade of the order desk: the holds that its debits draw on, until a retry drops them, and the rates that its fees
-- were made at.
alter table trades
  add column buyer_hold uuid,
  add column seller_hold uuid,
  add column buyer_fee_rate numeric,
  add column seller_fee_rate numeric;
