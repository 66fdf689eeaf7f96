-- Changes that others may want to know of, written in the transaction of the change (see events/).
create table kernel.outbox (
  -- Drawn when the event is written, so within one subject (whose writers wait for each other) in order of the changes.
  id bigint generated always as identity primary key,
  component text not null,
  type text not null,
  subject text not null,
  data jsonb not null,
  time timestamptz not null default clock_timestamp()
);

create index outbox_component on kernel.outbox (component, id);

-- Through which event a component's outbox has been pruned: whoever asks for less has missed something.
create table kernel.outbox_pruned (
  component text primary key,
  through bigint not null
);

-- How far a follower has come in another component's stream; moved in the transaction of the effect.
create table kernel.event_cursors (
  name text primary key,
  cursor text not null,
  updated_at timestamptz not null default now()
);
