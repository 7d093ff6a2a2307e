-- Up Migration

-- Keys besides the first admin key. Of each only a hash is kept: a key is 256 random bits, which nobody finds by trying,
-- so that a slow hash, made for what people think up, would protect nothing more.
create table access_keys (
  id uuid primary key,
  -- SHA-256 of the key, by which it is found.
  hash bytea not null unique check (length(hash) = 32),
  role text not null check (role in ('viewer', 'trader', 'operator', 'admin')),
  -- The one user a trader's key is bound to.
  user_id uuid,
  -- By which whoever has the key can tell it from others.
  last_four text not null check (length(last_four) = 4),
  created_at timestamptz not null,
  created_by text not null,
  revoked_at timestamptz,
  revoked_by text,
  check ((user_id is not null) = (role = 'trader')),
  check ((revoked_at is not null) = (revoked_by is not null))
);

create index access_keys_recent on access_keys (created_at, id);

create function refuse_to_change_key() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' then
    if old.revoked_at is null and (old.id, old.hash, old.role, old.user_id, old.last_four, old.created_at, old.created_by)
      is not distinct from (new.id, new.hash, new.role, new.user_id, new.last_four, new.created_at, new.created_by)
    then
      return new;
    end if;
  end if;
  raise exception 'a key is only ever revoked, once' using errcode = 'restrict_violation';
end
$$;

create trigger access_keys_revoked_once before update or delete on access_keys
  for each row execute function refuse_to_change_key();

-- Who made and revoked which key, when and why: the part of the audit log that is about keys. It is here, not with the
-- settlements', since the wallet service has keys and no settlements.
create table access_log (
  id uuid primary key,
  at timestamptz not null,
  actor text not null,
  action text not null check (action in ('key-create', 'key-revoke')),
  key_id uuid not null references access_keys,
  reason text,
  -- Under which a key was made, and from what: a repetition makes no second one.
  idempotency_key text,
  content text
);

create index access_log_recent on access_log (at, id);
create unique index access_log_idempotency on access_log (actor, idempotency_key) where idempotency_key is not null;

create function refuse_to_rewrite_access_log() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is never changed or cut' using errcode = 'restrict_violation';
end
$$;

create trigger access_log_append_only before update or delete or truncate on access_log
  for each statement execute function refuse_to_rewrite_access_log();
