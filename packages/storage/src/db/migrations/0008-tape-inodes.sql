-- An inode is free again as soon as a stub has taken the place of content, also when the process dies before it can say so:
-- until that is put right, two files may stand under it.
alter table storage.tape_files drop constraint tape_files_pkey;
create index tape_files_by_inode on storage.tape_files (instance, area, inode);
