-- Up Migration

-- What operators do about markets stands in their log, too.
alter table audit_log drop constraint audit_log_action_check;
alter table audit_log add constraint audit_log_action_check
  check (action in ('retry', 'bulk-retry', 'resolve', 'pause', 'resume', 'market-halt', 'market-resume'));
