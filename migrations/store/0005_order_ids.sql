-- Up Migration

-- An order's id is the key of its hold. Blocks of ids that the process which has the books may give to orders, from the first
-- one on: whoever takes over looks for a hold under each of them that is no order's.
create table order_id_blocks (
  first uuid primary key,
  size integer not null check (size > 0)
);

-- Until now each hold was noted by itself.
insert into order_id_blocks (first, size) select hold, 1 from hold_intents;
drop table hold_intents;
