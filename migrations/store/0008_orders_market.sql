-- Up Migration

-- The market of an order is looked up once a statement, as a trade's is: a look for each row was a quarter of what it costs to store one.
alter table orders drop constraint orders_symbol_fkey;

create or replace function refuse_unknown_markets() returns trigger language plpgsql as $$
begin
  if exists (select from inserted i where not exists (select from markets m where m.symbol = i.symbol)) then
    raise exception '% of a market that is not there', tg_table_name using errcode = 'foreign_key_violation';
  end if;
  return null;
end
$$;

create trigger orders_have_markets after insert on orders
  referencing new table as inserted
  for each statement execute function refuse_unknown_markets();
