-- Up Migration

-- What stands aside of each balance for open orders: always the sum of what remains of the account's holds. Nobody
-- writes it; it follows from the holds, by the triggers below.
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

-- One row a hold, under the key that placed it.
create table ledger_holds (
  key text collate "C" primary key references ledger_operations,
  user_id uuid not null,
  currency text collate "C" not null,
  amount numeric not null check (amount > 0),
  -- Neither drawn by a debit nor released.
  remaining numeric not null check (remaining >= 0 and remaining <= amount),
  -- Taken back: there is no such hold any more.
  reversed boolean not null default false,
  foreign key (user_id, currency) references ledger_accounts,
  check (not reversed or remaining = 0)
)
with (fillfactor = 50);

create function hold_on_accounts() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    update ledger_accounts a
    set held = a.held + d.change
    from (select user_id, currency, sum(remaining) as change from holds_after group by user_id, currency) d
    where a.user_id = d.user_id
      and a.currency = d.currency;
  else
    update ledger_accounts a
    set held = a.held + d.change
    from (
      select user_id, currency, sum(change) as change
      from (
        select user_id, currency, remaining as change from holds_after
        union all
        select user_id, currency, -remaining from holds_before
      ) moved
      group by user_id, currency
    ) d
    where a.user_id = d.user_id
      and a.currency = d.currency
      and d.change <> 0;
  end if;
  return null;
end
$$;

create trigger ledger_holds_placed after insert on ledger_holds
  referencing new table as holds_after
  for each statement execute function hold_on_accounts();

create trigger ledger_holds_changed after update on ledger_holds
  referencing old table as holds_before new table as holds_after
  for each statement execute function hold_on_accounts();

create function refuse_to_remove_holds() returns trigger language plpgsql as $$
begin
  raise exception 'ledger holds are never removed' using errcode = 'restrict_violation';
end
$$;

create trigger ledger_holds_kept before delete or truncate on ledger_holds
  for each statement execute function refuse_to_remove_holds();

create function refuse_to_write_held() returns trigger language plpgsql as $$
begin
  raise exception 'what an account holds follows from its holds, and is never written' using errcode = 'restrict_violation';
end
$$;

create trigger ledger_accounts_held_follows before update of held on ledger_accounts
  for each statement when (pg_trigger_depth() = 0) execute function refuse_to_write_held();

create trigger ledger_accounts_held_begins before insert on ledger_accounts
  for each row when (new.held <> 0) execute function refuse_to_write_held();
