-- Up Migration

-- What stands aside of each balance for open orders: always the sum of what remains of the account's holds. It is written
-- by the statement that writes the balance, so that an account that has both moved costs one version of its row.
alter table ledger_accounts
  add column held numeric not null default 0 check (held >= 0),
  drop constraint ledger_accounts_check,
  add constraint ledger_accounts_available check (balance >= held or may_overdraw);

alter table ledger_operations
  -- The hold that a debit or a release names.
  add column hold text collate "C",
  -- Of a release: what it left in its hold.
  add column remaining numeric,
  drop constraint ledger_operations_kind_check,
  add constraint ledger_operations_kind_check check (kind in ('debit', 'credit', 'settlement', 'reversal', 'hold', 'release')),
  add constraint ledger_operations_hold check (
    case kind
      when 'hold' then hold is null and remaining is null and user_id is not null and currency is not null and amount is not null
      when 'release' then hold is not null and content is not null and (remaining is not null or status in ('refused', 'cancelled'))
      else remaining is null and (hold is null or kind = 'debit')
    end
  );

-- One row a hold, under the key that placed it. It is written by the transaction that writes its operation and its account,
-- neither of which is ever removed: foreign keys would look each row up again, and mark it.
create table ledger_holds (
  key text collate "C" primary key,
  user_id uuid not null,
  currency text collate "C" not null,
  amount numeric not null check (amount > 0),
  -- Neither drawn by a debit nor released.
  remaining numeric not null check (remaining >= 0 and remaining <= amount),
  -- Taken back: there is no such hold any more.
  reversed boolean not null default false,
  check (not reversed or remaining = 0)
)
with (fillfactor = 50);

create function refuse_to_remove_holds() returns trigger language plpgsql as $$
begin
  raise exception 'ledger holds are never removed' using errcode = 'restrict_violation';
end
$$;

create trigger ledger_holds_kept before delete or truncate on ledger_holds
  for each statement execute function refuse_to_remove_holds();
