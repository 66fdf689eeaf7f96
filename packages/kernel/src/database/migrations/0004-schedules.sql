-- Recurring work (see work/schedule.ts): when each schedule is due next, whatever process looks.
create table kernel.schedules (
  name text primary key,
  -- `every 60 s` or `cron 0 3 * * * UTC`: a changed rule begins anew.
  rule text not null,
  next_at timestamptz not null,
  fired_at timestamptz
);
