-- name: lock_endpoints_of!
-- Let one transaction at a time count and make the endpoints of a person.
SELECT pg_advisory_xact_lock(hashtextextended('notify.webhooks/' || :user_id::uuid, 0));

-- name: count_endpoints$
-- How many endpoints a person has.
SELECT count(*) FROM webhook_endpoints WHERE user_id = :user_id;

-- name: insert_endpoint^
-- Make an endpoint and its destination.
WITH destination AS (
    INSERT INTO destinations (destination_id, user_id, channel, provider)
    VALUES (:endpoint_id, :user_id, 'webhook', :provider)
)
INSERT INTO webhook_endpoints
       (endpoint_id, user_id, description, preset, events, url_sealed, url_shown, authorization_sealed, secret_sealed)
VALUES (:endpoint_id, :user_id, :description, :preset, :events, :url_sealed, :url_shown, :authorization_sealed, :secret_sealed)
RETURNING endpoint_id, user_id, description, preset, events, url_shown, authorization_sealed IS NOT NULL AS has_authorization,
          former_secret_until, failing_since, disabled_at, disabled_because, created_at;

-- name: find_endpoint^
-- An endpoint of a person as it is shown.
SELECT endpoint_id, user_id, description, preset, events, url_shown, authorization_sealed IS NOT NULL AS has_authorization,
       former_secret_until, failing_since, disabled_at, disabled_because, created_at
  FROM webhook_endpoints WHERE endpoint_id = :endpoint_id AND user_id = :user_id;

-- name: list_endpoints
-- A page of a person's endpoints, the newest first, below an id.
SELECT endpoint_id, user_id, description, preset, events, url_shown, authorization_sealed IS NOT NULL AS has_authorization,
       former_secret_until, failing_since, disabled_at, disabled_because, created_at
  FROM webhook_endpoints WHERE user_id = :user_id AND endpoint_id < :before_endpoint_id
 ORDER BY endpoint_id DESC
 LIMIT :items_max;

-- name: change_endpoint^
-- Change what is given of an endpoint; null leaves it as it is.
WITH moved AS (
    UPDATE destinations SET provider = :provider
     WHERE destination_id = :endpoint_id AND user_id = :user_id AND provider <> :provider
)
UPDATE webhook_endpoints
   SET description = coalesce(:description, description), events = coalesce(:events, events),
       url_sealed = coalesce(:url_sealed, url_sealed), url_shown = coalesce(:url_shown, url_shown),
       authorization_sealed = coalesce(:authorization_sealed, authorization_sealed)
 WHERE endpoint_id = :endpoint_id AND user_id = :user_id
RETURNING endpoint_id, user_id, description, preset, events, url_shown, authorization_sealed IS NOT NULL AS has_authorization,
          former_secret_until, failing_since, disabled_at, disabled_because, created_at;

-- name: rotate_secret$
-- Replace an endpoint's secret; the one before signs as well until the end given. Answers that end, or null without the endpoint.
UPDATE webhook_endpoints
   SET former_secret_sealed = secret_sealed, former_secret_until = :former_secret_until, secret_sealed = :secret_sealed
 WHERE endpoint_id = :endpoint_id AND user_id = :user_id
RETURNING former_secret_until;

-- name: enable_endpoint^
-- Post to an endpoint again, with no failures held against it.
UPDATE webhook_endpoints SET disabled_at = NULL, disabled_because = NULL, failing_since = NULL
 WHERE endpoint_id = :endpoint_id AND user_id = :user_id
RETURNING endpoint_id, user_id, description, preset, events, url_shown, authorization_sealed IS NOT NULL AS has_authorization,
          former_secret_until, failing_since, disabled_at, disabled_because, created_at;

-- name: delete_endpoint$
-- Remove an endpoint with its destination; answers its id, or null when the person has no such endpoint.
DELETE FROM destinations WHERE destination_id = :endpoint_id AND user_id = :user_id AND channel = 'webhook'
RETURNING destination_id;

-- name: find_listening_endpoints
-- Where an event of a channel is posted to: endpoints that are not disabled and have one of the patterns that match its type.
SELECT e.endpoint_id, e.user_id, e.preset, d.provider
  FROM webhook_endpoints e JOIN destinations d ON d.destination_id = e.endpoint_id
 WHERE e.user_id = :channel_id AND e.disabled_at IS NULL AND e.events && :patterns::text[]
 ORDER BY e.endpoint_id
 LIMIT :endpoints_max;

-- name: describe_stream^
-- The name of a channel, and the title of one of its streams, as far as either is known.
SELECT (SELECT username FROM people WHERE user_id = :channel_id) AS channel_name,
       (SELECT title FROM fanouts WHERE stream_id = :stream_id ORDER BY created_at LIMIT 1) AS title;

-- name: insert_webhook_messages
-- Note what is to be posted; answers the endpoints for which it is new.
INSERT INTO webhook_messages (endpoint_id, message_id, type, body)
SELECT * FROM unnest(:endpoint_ids::uuid[], :message_ids::uuid[], :types::text[], :bodies::text[])
ON CONFLICT DO NOTHING
RETURNING endpoint_id, message_id;

-- name: count_messages_of_type$
-- How many messages of a type an endpoint got since an id, counted no further than the limit.
SELECT count(*) FROM (
    SELECT 1 FROM webhook_messages
     WHERE endpoint_id = :endpoint_id AND message_id > :after_message_id AND type = :type
     LIMIT :messages_max
) AS counted;

-- name: read_deliveries
-- What is to be posted by some deliveries, where to, and with which secrets.
SELECT m.endpoint_id, m.message_id, m.type, m.body, m.state, e.preset, e.url_sealed, e.authorization_sealed, e.secret_sealed,
       CASE WHEN e.former_secret_until > now() THEN e.former_secret_sealed END AS former_secret_sealed,
       e.disabled_because
  FROM unnest(:endpoint_ids::uuid[], :message_ids::uuid[]) AS wanted (endpoint_id, message_id)
  JOIN webhook_messages m USING (endpoint_id, message_id)
  JOIN webhook_endpoints e USING (endpoint_id);

-- name: settle_messages!
-- Note how attempts went and what became of their messages; answers how many attempts were noted.
WITH heard AS (
    SELECT * FROM unnest(
        :endpoint_ids::uuid[], :message_ids::uuid[], :states::text[], :reasons::text[],
        :attempted_at::timestamptz[], :seconds::real[], :statuses::smallint[], :errors::text[], :excerpts::text[]
    ) AS h (endpoint_id, message_id, state, reason, attempted_at, seconds, status, error, excerpt)
), settled AS (
    UPDATE webhook_messages m
       SET state = h.state, reason = h.reason,
           attempts = m.attempts + (h.attempted_at IS NOT NULL)::integer,
           settled_at = CASE WHEN h.state = 'pending' THEN NULL ELSE now() END
      FROM heard h
     WHERE m.endpoint_id = h.endpoint_id AND m.message_id = h.message_id
    RETURNING m.endpoint_id, m.message_id
)
INSERT INTO webhook_attempts (endpoint_id, message_id, attempted_at, seconds, status, error, excerpt)
SELECT endpoint_id, message_id, attempted_at, seconds, status, error, excerpt
  FROM heard JOIN settled USING (endpoint_id, message_id)
 WHERE attempted_at IS NOT NULL
ON CONFLICT DO NOTHING;

-- name: note_endpoint_health
-- Note since when endpoints have failed, and disable those that have for too long; answers the newly disabled.
WITH heard AS (
    SELECT * FROM unnest(:endpoint_ids::uuid[], :succeeded::boolean[]) AS h (endpoint_id, succeeded)
), changing AS (
    -- in the order of their ids, so that two workers never wait for each other in a ring
    SELECT e.endpoint_id, h.succeeded
      FROM webhook_endpoints e JOIN heard h USING (endpoint_id)
     WHERE CASE WHEN h.succeeded THEN e.failing_since IS NOT NULL
                ELSE e.failing_since IS NULL OR (e.failing_since < :failing_since_max AND e.disabled_at IS NULL) END
     ORDER BY e.endpoint_id
       FOR NO KEY UPDATE OF e
), changed AS (
    UPDATE webhook_endpoints e
       SET failing_since = CASE WHEN c.succeeded THEN NULL ELSE coalesce(e.failing_since, now()) END,
           disabled_at = CASE WHEN NOT c.succeeded AND e.failing_since < :failing_since_max THEN coalesce(e.disabled_at, now())
                              ELSE e.disabled_at END,
           disabled_because = CASE WHEN NOT c.succeeded AND e.failing_since < :failing_since_max
                                   THEN coalesce(e.disabled_because, :disabled_because) ELSE e.disabled_because END
      FROM changing c
     WHERE e.endpoint_id = c.endpoint_id
    RETURNING e.endpoint_id, e.user_id, e.disabled_because, e.disabled_at = now() AS is_disabled_now
)
SELECT endpoint_id, user_id, disabled_because FROM changed WHERE is_disabled_now;

-- name: disable_endpoints
-- Disable endpoints at once, for a reason; answers those that were not before.
UPDATE webhook_endpoints SET disabled_at = now(), disabled_because = :disabled_because
 WHERE endpoint_id = ANY (:endpoint_ids::uuid[]) AND disabled_at IS NULL
RETURNING endpoint_id, user_id, disabled_because;

-- name: list_webhook_messages
-- A page of an endpoint's log, the newest first, below an id; of one state, or of all (null).
SELECT message_id, type, state, attempts, reason, created_at, settled_at
  FROM webhook_messages
 WHERE endpoint_id = :endpoint_id AND message_id < :before_message_id
 ORDER BY message_id DESC
 LIMIT :items_max;

-- name: list_webhook_messages_in_state
-- A page of those of an endpoint's messages that are in a state, the newest first, below an id.
SELECT message_id, type, state, attempts, reason, created_at, settled_at
  FROM webhook_messages
 WHERE endpoint_id = :endpoint_id AND message_id < :before_message_id AND state = :state
 ORDER BY message_id DESC
 LIMIT :items_max;

-- name: find_webhook_message^
-- One message of an endpoint's log, with what was posted.
SELECT message_id, type, state, attempts, reason, created_at, settled_at, body
  FROM webhook_messages WHERE endpoint_id = :endpoint_id AND message_id = :message_id;

-- name: list_webhook_attempts
-- The attempts at a message, the newest first.
SELECT attempted_at, seconds, status, error, excerpt
  FROM webhook_attempts WHERE endpoint_id = :endpoint_id AND message_id = :message_id
 ORDER BY attempted_at DESC
 LIMIT :items_max;

-- name: reopen_message$
-- Make a settled message pending again; answers its id, or null when there is none that is settled.
UPDATE webhook_messages SET state = 'pending', settled_at = NULL
 WHERE endpoint_id = :endpoint_id AND message_id = :message_id AND state <> 'pending'
RETURNING message_id;

-- name: reopen_failed_messages
-- Make failed messages of an endpoint pending again, the oldest first, from a time on; answers which.
UPDATE webhook_messages SET state = 'pending', settled_at = NULL
 WHERE endpoint_id = :endpoint_id AND message_id = ANY (ARRAY(
           SELECT message_id FROM webhook_messages
            WHERE endpoint_id = :endpoint_id AND state = 'failed' AND created_at >= :since
            ORDER BY message_id
            LIMIT :messages_max
              FOR UPDATE
       ))
RETURNING message_id;

-- name: find_provider$
-- Who takes what is posted to an endpoint: host and port.
SELECT provider FROM destinations WHERE destination_id = :endpoint_id;

-- name: sweep_webhook_messages!
-- Forget the oldest messages from before a time, and with them their attempts; answers how many.
DELETE FROM webhook_messages
 WHERE (endpoint_id, message_id) IN (
           SELECT endpoint_id, message_id FROM webhook_messages WHERE created_at < :before
            ORDER BY created_at LIMIT :messages_max
       );
