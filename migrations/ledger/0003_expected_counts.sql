-- Up Migration

-- A statement that finds other than it was decided on fails by itself, so that those it is sent with are not done either.
-- The settlements' tables have the same.
create or replace function expect_count(actual bigint, expected bigint, what text) returns void language plpgsql as $$
begin
  if actual <> expected then
    raise exception '% of % %', actual, expected, what using errcode = 'LW001';
  end if;
end
$$;
