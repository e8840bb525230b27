-- What is to be delivered outside of the inbox: to browsers by Web Push, to mailboxes, to webhooks.

-- Where something can be sent to. Its particulars are in a table of its delivery channel.
CREATE TABLE destinations (
    destination_id uuid PRIMARY KEY,
    user_id        uuid NOT NULL,
    channel        text NOT NULL CHECK (channel IN ('webpush', 'email', 'webhook')),
    provider       text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN destinations.provider IS 'Who takes it from us, host and port: what is paused when it asks for that, or when it fails.';
-- serves: write_page (where a page's followers are reached)
CREATE INDEX destinations_of_user ON destinations (user_id, channel);

-- Queues take turns, so that a large fan-out does not hold up a small one. The lane for what must not wait (a mail to
-- verify an address) is served apart from the others.
CREATE TABLE delivery_queues (
    queue_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel   text NOT NULL CHECK (channel IN ('webpush', 'email', 'webhook')),
    lane      text NOT NULL CHECK (lane IN ('transactional', 'bulk')),
    source_id uuid NOT NULL,
    served_at timestamptz NOT NULL DEFAULT '-infinity',
    UNIQUE (channel, lane, source_id)
);
COMMENT ON COLUMN delivery_queues.source_id IS 'The fan-out, or the webhook endpoint, or the person that these deliveries are of.';

-- One thing to send to one destination; gone once that is settled.
CREATE TABLE deliveries (
    delivery_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue_id       bigint NOT NULL REFERENCES delivery_queues,
    message_id     uuid NOT NULL,
    user_id        uuid NOT NULL,
    destination_id uuid NOT NULL,
    provider       text NOT NULL,
    attempts       smallint NOT NULL DEFAULT 0,
    due_at         timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    lease          uuid,
    content        jsonb,
    created_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
COMMENT ON COLUMN deliveries.message_id IS 'The same in every attempt, so that a receiver can tell a repetition: the notice, or the event.';
COMMENT ON COLUMN deliveries.due_at IS 'Not before; while leased, when the lease runs out.';
COMMENT ON COLUMN deliveries.content IS 'What to send, where that does not follow from the message id.';
-- serves: claim_deliveries
CREATE INDEX deliveries_due ON deliveries (queue_id, due_at, delivery_id);

-- What was given up on; kept for a while, to be looked at and sent again.
CREATE TABLE dead_deliveries (
    delivery_id    bigint PRIMARY KEY,
    channel        text NOT NULL,
    lane           text NOT NULL,
    source_id      uuid NOT NULL,
    message_id     uuid NOT NULL,
    user_id        uuid NOT NULL,
    destination_id uuid NOT NULL,
    provider       text NOT NULL,
    attempts       smallint NOT NULL,
    content        jsonb,
    reason         text NOT NULL,
    created_at     timestamptz NOT NULL,
    died_at        timestamptz NOT NULL DEFAULT now()
);

-- Providers that are not to be sent to for a while, because they asked for it or because they fail.
CREATE TABLE providers (
    channel      text NOT NULL,
    provider     text NOT NULL,
    paused_until timestamptz NOT NULL,
    failures     integer NOT NULL DEFAULT 0,
    reason       text NOT NULL,
    PRIMARY KEY (channel, provider)
);
