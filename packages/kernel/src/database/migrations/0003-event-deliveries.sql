-- Events on their way to a webhook or a broker (see events/delivery). They are copied out of the outbox, which forgets
-- after an hour, and stay here until the receiver has them.
create table kernel.event_deliveries (
  subscription text not null,
  -- SHA-256 of the subject: the events of one lane go one after the other. Subjects may be too long for an index.
  lane text not null,
  -- Of the outbox, so in order.
  id bigint not null,
  event jsonb not null,
  primary key (subscription, lane, id)
);
