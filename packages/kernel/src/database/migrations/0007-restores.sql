-- When this database was restored from a backup: what was taken back after the backup is good again, so components end
-- credentials of before (`lastRestore`).
create table kernel.restores (at timestamptz primary key default now());
