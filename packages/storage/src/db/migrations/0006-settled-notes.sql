-- Changes of the disk are noted in a file before they happen (packages/storage/src/core/intents.ts). A commit that records
-- one names its note here; after a crash the notes that are missing here are looked at again. Emptied with the file.
create table storage.settled_notes (
  -- host~pid~start~random of the process.
  file text not null,
  number bigint not null,
  primary key (file, number)
);
