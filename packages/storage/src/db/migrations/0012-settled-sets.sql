-- A commit settles dozens of notes: one row for those of a file instead of one each (packages/storage/src/core/intents.ts).
create table storage.settled_sets (
  -- host~pid~start~random of the process.
  file text not null,
  numbers bigint[] not null
);
create index settled_sets_file on storage.settled_sets (file);

insert into storage.settled_sets (file, numbers)
select file, array_agg(number) from storage.settled_notes group by file;

drop table storage.settled_notes;
