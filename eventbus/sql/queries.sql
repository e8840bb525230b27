-- name: append_events!
-- Append events to the outbox, in the order of the arrays.
INSERT INTO outbox (event_id, topic, key, type, headers, data)
SELECT said.event_id, said.topic, said.key, said.type, said.headers, said.data
FROM unnest(
    :event_ids::uuid[], :topics::text[], :keys::bytea[], :types::text[], :headers::jsonb[], :data::bytea[]
) WITH ORDINALITY AS said (event_id, topic, key, type, headers, data, position)
ORDER BY said.position;

-- name: claim_events
-- Remember that a consumer handles these events; answers those it had not handled before.
INSERT INTO inbox (consumer, event_id)
SELECT :consumer, claimed.event_id FROM unnest(:event_ids::uuid[]) AS claimed (event_id)
ON CONFLICT DO NOTHING
RETURNING event_id;

-- name: take_leadership$
-- True in the one session that may relay for the schema; held until the session ends.
SELECT pg_try_advisory_lock(hashtextextended('livestream-relay:' || :schema, 0));

-- name: read_place$
-- The id up to which everything is published.
SELECT id FROM outbox_cursor;

-- name: read_unpublished
-- The next events that are visible, with the oldest transaction that was still open when they were looked for.
SELECT id, topic, key, headers, data, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest_open
FROM outbox
WHERE id > :id::bigint
ORDER BY id
LIMIT :events_max::bigint;

-- name: take_transaction_id$
-- A transaction id greater than any that was given out before.
SELECT pg_current_xact_id()::text::bigint;

-- name: store_place!
-- Everything up to this id is published.
UPDATE outbox_cursor SET id = :id::bigint;

-- name: measure_backlog^
-- How many events wait (counted up to 10,001) and since when the oldest does, in seconds.
SELECT count(*) AS events, coalesce(extract(epoch FROM clock_timestamp() - min(waiting.created_at)), 0)::float8 AS oldest_seconds
FROM (
    SELECT outbox.created_at FROM outbox, outbox_cursor AS c WHERE outbox.id > c.id ORDER BY outbox.id LIMIT 10001
) AS waiting;

-- name: make_partitions$
-- Make the partitions that will be needed; answers how many are new.
SELECT make_bus_partitions(:days_ahead::integer, :weeks_ahead::integer);

-- name: drop_published_partitions$
-- Drop outbox partitions that are published and over; answers how many.
SELECT drop_published_outbox_partitions(:keep::interval);

-- name: drop_old_inbox_partitions$
-- Drop inbox partitions that nothing can be replayed from; answers how many.
SELECT drop_old_inbox_partitions(:keep::interval);

-- name: clear_published_default!
-- Clear published events out of the default partition, a bounded number at a time.
DELETE FROM outbox_default WHERE ctid = ANY (ARRAY(
    SELECT o.ctid FROM outbox_default AS o, outbox_cursor AS c
    WHERE o.id <= c.id AND o.created_at < now() - :keep::interval
    LIMIT :events_max::bigint
));

-- name: clear_old_inbox_default!
-- Clear old entries out of the inbox's default partition, a bounded number at a time.
DELETE FROM inbox_default WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM inbox_default WHERE processed_at < now() - :keep::interval LIMIT :events_max::bigint
));
