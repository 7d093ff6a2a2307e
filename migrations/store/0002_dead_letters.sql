-- Up Migration

-- Of a settled trade that is still open: its fee is owed or parked. So that what is owed is found without reading trades.
alter table open_settlements add column owes_fee boolean not null default false;

update open_settlements o
set owes_fee = true
from trades t
where t.id = o.trade_id
  and t.settlement ->> 'fee' in ('owed', 'parked');

create index open_settlements_owing on open_settlements (trade_id) where owes_fee;

-- Who asked for the retry that is under way, or for the last one.
alter table dead_letters add column retried_by text;

-- Newest first, in an order that a letter keeps however often it fails again.
drop index dead_letters_open;
create index dead_letters_recent on dead_letters (first_failed_at, trade_id);
create index dead_letters_by_code on dead_letters (code, first_failed_at, trade_id);
create index dead_letters_unresolved on dead_letters (first_failed_at, trade_id) include (status, rollback)
  where status <> 'resolved';

-- A trade has one letter; that of its fee takes the place of that of its settlement, which is kept here.
create table replaced_dead_letters (like dead_letters);

create index replaced_dead_letters_trade on replaced_dead_letters (trade_id);

create function keep_replaced_letter() returns trigger language plpgsql as $$
begin
  -- A settlement whose fee is now at fault is settled: the retry of it went well.
  if old.status <> 'resolved' then
    old.status := 'resolved';
    old.resolution := 'retried';
    old.resolved_by := coalesce(old.retried_by, 'legwork');
    old.resolved_at := new.first_failed_at;
  end if;
  insert into replaced_dead_letters select old.*;
  new.retried_by := null;
  return new;
end
$$;

create trigger dead_letters_replaced before update on dead_letters
  for each row when (old.kind <> new.kind)
  execute function keep_replaced_letter();

-- What operators changed: who, when, what and why. Bulk retries are found here by their id.
create table audit_log (
  id uuid primary key,
  at timestamptz not null,
  actor text not null,
  action text not null check (action in ('retry', 'bulk-retry', 'resolve', 'pause', 'resume')),
  reason text,
  -- What belongs to the action: the filter and rate of a bulk retry, the resolution and its note.
  detail jsonb not null
);

create index audit_log_recent on audit_log (at, id);

create function refuse_to_rewrite_audit() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is never changed or cut' using errcode = 'restrict_violation';
end
$$;

create trigger audit_log_append_only before update or delete on audit_log
  for each statement execute function refuse_to_rewrite_audit();

-- The trades an action was about, and what came of each; without a result: it is still under way.
create table audit_log_trades (
  action_id uuid not null references audit_log,
  -- Found through its letter; trades are never removed.
  trade_id uuid not null,
  result text check (result in ('settled', 'collected', 'failed', 'resolved')),
  code text,
  last_error text,
  ended_at timestamptz,
  primary key (action_id, trade_id),
  check ((result is not null) = (ended_at is not null))
);

create index audit_log_trades_by_trade on audit_log_trades (trade_id);

create function note_end_of_retry() returns trigger language plpgsql as $$
begin
  update audit_log_trades
  set result = case
        -- The fee is another matter: the settlement that was retried is settled.
        when new.kind <> old.kind then 'settled'
        when new.status <> 'resolved' then 'failed'
        when new.kind = 'fee' then 'collected'
        else 'settled'
      end,
    code = case when new.status = 'open' and new.kind = old.kind then new.code end,
    last_error = case when new.status = 'open' and new.kind = old.kind then new.last_error end,
    ended_at = coalesce(new.resolved_at, new.last_failed_at)
  where trade_id = new.trade_id
    and result is null;
  return null;
end
$$;

create trigger dead_letters_retried after update on dead_letters
  for each row when (old.status = 'retrying' and new.status <> 'retrying')
  execute function note_end_of_retry();

-- Changes that carried an Idempotency-Key, and what each was answered first.
create table admin_requests (
  actor text not null,
  idempotency_key text not null,
  content text not null,
  answer jsonb not null,
  at timestamptz not null,
  primary key (actor, idempotency_key)
);

-- While settlement is paused nobody claims anything.
create table settlement_switch (
  only_row boolean primary key default true check (only_row),
  paused boolean not null
);

insert into settlement_switch (paused) values (false);

-- How many trades there are of each status, kept as they change: the sum over the slots. A connection has a slot of its
-- own, as far as there are enough, so that nobody waits for anybody to count.
create table settlement_counts (
  slot smallint primary key,
  recorded bigint not null default 0,
  settled bigint not null default 0,
  failed bigint not null default 0,
  retries bigint not null default 0
)
with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

insert into settlement_counts (slot, recorded, settled, failed, retries)
select 0, count(*), count(*) filter (where settlement_status = 'SETTLED'),
  count(*) filter (where settlement_status = 'SETTLEMENT_FAILED'), coalesce(sum(settlement_retry_count), 0)
from trades;
