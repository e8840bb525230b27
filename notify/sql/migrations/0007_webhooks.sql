-- Webhooks: where events of a channel are posted to, what was posted, and how each attempt went.

-- An endpoint is a destination whose particulars are here; it has the destination's id and goes with it.
CREATE TABLE webhook_endpoints (
    endpoint_id          uuid PRIMARY KEY REFERENCES destinations (destination_id) ON DELETE CASCADE,
    user_id              uuid NOT NULL,
    description          text NOT NULL,
    preset               text CHECK (preset IN ('discord', 'slack', 'telegram', 'matrix')),
    events               text[] NOT NULL CHECK (cardinality(events) > 0),
    url_sealed           text NOT NULL,
    url_shown            text NOT NULL,
    authorization_sealed text,
    secret_sealed        text NOT NULL,
    former_secret_sealed text,
    former_secret_until  timestamptz,
    failing_since        timestamptz,
    disabled_at          timestamptz,
    disabled_because     text,
    created_at           timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT disabled_for_a_reason CHECK ((disabled_at IS NULL) = (disabled_because IS NULL)),
    CONSTRAINT former_secret_has_an_end CHECK ((former_secret_sealed IS NULL) = (former_secret_until IS NULL))
);
COMMENT ON COLUMN webhook_endpoints.user_id IS 'The owner, who is also the channel whose events are posted.';
COMMENT ON COLUMN webhook_endpoints.events IS 'Patterns such as stream.*, or whole types.';
COMMENT ON COLUMN webhook_endpoints.url_sealed IS 'A compact JWE (dir, A256GCM) under LIVESTREAM_NOTIFY_SEALING_SECRET, like all that is sealed here: chat services put their secret into the URL.';
COMMENT ON COLUMN webhook_endpoints.url_shown IS 'The URL as its owner is shown it: host and a masked tail.';
COMMENT ON COLUMN webhook_endpoints.former_secret_sealed IS 'The secret before the last rotation; signs beside the new one until former_secret_until.';
COMMENT ON COLUMN webhook_endpoints.failing_since IS 'The first failed attempt since the last delivered message; null: the last attempt was delivered, or there was none.';
-- serves: find_listening_endpoints, list_endpoints, count_endpoints
CREATE INDEX webhook_endpoints_of_user ON webhook_endpoints (user_id, endpoint_id);

-- One event for one endpoint. The bytes that are posted are kept, so that every attempt and replay posts the same. No
-- foreign key: the log of a deleted endpoint may be long, nobody can read it any more, and it goes by age.
CREATE TABLE webhook_messages (
    endpoint_id uuid NOT NULL,
    message_id  uuid NOT NULL,
    type        text NOT NULL,
    body        text NOT NULL,
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts    integer NOT NULL DEFAULT 0,
    reason      text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    settled_at  timestamptz,
    PRIMARY KEY (endpoint_id, message_id)
) WITH (fillfactor = 80);
COMMENT ON COLUMN webhook_messages.message_id IS 'The event''s id, a UUIDv7: webhook-id in every attempt, and the order of the log.';
COMMENT ON COLUMN webhook_messages.reason IS 'Why the last attempt failed, or why there is none.';
-- serves: list_webhook_messages (by state), list_failed_messages
CREATE INDEX webhook_messages_undelivered ON webhook_messages (endpoint_id, state, message_id) WHERE state <> 'delivered';
-- serves: sweep_webhook_messages
CREATE INDEX webhook_messages_by_age ON webhook_messages (created_at);

CREATE TABLE webhook_attempts (
    endpoint_id  uuid NOT NULL,
    message_id   uuid NOT NULL,
    attempted_at timestamptz NOT NULL,
    seconds      real NOT NULL,
    status       smallint,
    error        text,
    excerpt      text,
    PRIMARY KEY (endpoint_id, message_id, attempted_at),
    FOREIGN KEY (endpoint_id, message_id) REFERENCES webhook_messages ON DELETE CASCADE
);
COMMENT ON COLUMN webhook_attempts.status IS 'The status of the answer; null: there was none.';
COMMENT ON COLUMN webhook_attempts.excerpt IS 'The beginning of the answer, at most 1 KiB.';
