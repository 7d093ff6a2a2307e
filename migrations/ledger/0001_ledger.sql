-- Up Migration

-- Every entry is a posting between a user's account and a side of the system: the outside world for deposits and
-- withdrawals, the clearing account for all else. The system's sides are kept as sums per currency, below.
create table ledger_accounts (
  user_id uuid not null,
  currency text collate "C" not null,
  balance numeric not null,
  entry_count bigint not null check (entry_count > 0),
  -- The exchange's fee account alone, for rebates.
  may_overdraw boolean not null,
  primary key (user_id, currency),
  check (balance >= 0 or may_overdraw)
)
-- Balances change with every batch: room on the page keeps each change off the index.
with (fillfactor = 50);

create type ledger_reason as enum ('TRADE_SETTLEMENT', 'FEE_COLLECTION', 'SETTLEMENT_ROLLBACK', 'DEPOSIT', 'WITHDRAWAL');

-- What a key has done. One row a key, for ever: that is what makes a repetition harmless.
create table ledger_operations (
  key text collate "C" primary key check (length(key) between 1 and 128),
  kind text not null check (kind in ('debit', 'credit', 'settlement', 'reversal')),
  status text not null check (status in ('applied', 'refused', 'reversed', 'cancelled')),
  trade_id uuid,
  -- What a debit or credit was called with.
  user_id uuid,
  currency text,
  amount numeric check (amount > 0),
  reason ledger_reason,
  -- Of a settlement: the SHA-256 of its legs.
  content text,
  -- The first answer.
  balance_after numeric,
  code text,
  detail text,
  -- Of a refusal for want of funds.
  short_currency text,
  available numeric,
  required numeric,
  at timestamptz not null,
  check (kind not in ('debit', 'credit') or (user_id is not null and currency is not null and amount is not null and reason is not null)),
  check (kind <> 'settlement' or (trade_id is not null and content is not null)),
  -- A key that was reversed before anybody used it.
  check (kind <> 'reversal' or status = 'cancelled'),
  check (status <> 'refused' or code is not null)
);

create table ledger_entries (
  user_id uuid not null,
  currency text collate "C" not null,
  -- The account's entries, numbered from 1 without a gap.
  seq bigint not null check (seq > 0),
  key text collate "C" not null,
  -- The index within a settlement, from 0; null for a single operation.
  leg smallint,
  trade_id uuid,
  amount numeric not null check (amount <> 0),
  balance_after numeric not null,
  reason ledger_reason not null,
  at timestamptz not null,
  primary key (user_id, currency, seq),
  check (reason <> 'WITHDRAWAL' or amount < 0),
  check (trade_id is not null or reason in ('DEPOSIT', 'WITHDRAWAL', 'SETTLEMENT_ROLLBACK'))
);

create index ledger_entries_trade on ledger_entries (trade_id) where trade_id is not null;

-- At every instant: what users have + what is half done = what came in − what went out.
create table ledger_totals (
  currency text collate "C" primary key,
  balances numeric not null,
  clearing numeric not null,
  deposits numeric not null,
  withdrawals numeric not null,
  check (balances + clearing = deposits - withdrawals)
);

create function refuse_to_rewrite_entries() returns trigger language plpgsql as $$
begin
  raise exception 'ledger entries are never changed or removed' using errcode = 'restrict_violation';
end
$$;

create trigger ledger_entries_append_only before update or delete or truncate on ledger_entries
  for each statement execute function refuse_to_rewrite_entries();
