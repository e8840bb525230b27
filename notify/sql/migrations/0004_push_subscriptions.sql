-- Browsers that are told by Web Push although no page is open.

-- The particulars of the destinations of Web Push. An endpoint is one browser of one person: it moves with the browser when
-- somebody else logs in there.
CREATE TABLE push_subscriptions (
    destination_id uuid PRIMARY KEY REFERENCES destinations ON DELETE CASCADE,
    user_id        uuid NOT NULL,
    endpoint       text NOT NULL UNIQUE CHECK (length(endpoint) <= 2000),
    p256dh         bytea NOT NULL CHECK (octet_length(p256dh) = 65),
    auth           bytea NOT NULL CHECK (octet_length(auth) = 16),
    created_at     timestamptz NOT NULL DEFAULT now(),
    renewed_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE push_subscriptions IS 'An endpoint lets whoever knows it address the browser: never shown again, never logged.';
COMMENT ON COLUMN push_subscriptions.renewed_at IS 'When the browser last gave it to us.';
-- serves: list_push_subscriptions, count_push_subscriptions
CREATE INDEX push_subscriptions_of_user ON push_subscriptions (user_id, created_at);
