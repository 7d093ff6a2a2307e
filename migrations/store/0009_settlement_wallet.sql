-- Up Migration

-- Where what is in work is settled. A worker that asked another wallet would find nothing there of what has been done.
create table settlement_wallet (
  only_row boolean primary key default true check (only_row),
  is_elsewhere boolean not null
);
