-- A key that leaked takes every token with it that it signed; after a restore, so do tokens of before (auth/revocations.ts).
alter table kernel.revocations drop constraint revocations_kind_check;
alter table kernel.revocations add constraint revocations_kind_check
  check (kind in ('token', 'subject', 'key', 'epoch'));
