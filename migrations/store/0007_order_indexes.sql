-- Up Migration

-- Ids of orders are given in sequence, so that the newest have the highest: lists need no index of their own. The open ones are
-- few, and their priority is sorted once, when the books are read.
drop index orders_recent;
drop index orders_open;
drop index orders_user;
create index orders_user on orders (user_id, id);
