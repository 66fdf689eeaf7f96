-- Which key signed the token that made a password: when that key leaks, the password is no good either.
alter table storage.app_passwords add column key_id text;
