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

-- name: slowest_reader$
-- The id up to which every group has read these topics in this outbox; null when no group reads them.
SELECT min(next_offset) - 1 FROM bus.group_cursor WHERE topic = ANY(:topics::text[]);

-- name: drop_done_partitions$
-- Drop outbox partitions that are over for long enough and hold nothing beyond an id; answers how many.
SELECT drop_outbox_partitions(:keep::interval, :done_id::bigint);

-- name: drop_old_inbox_partitions$
-- Drop inbox partitions that nothing can be replayed from; answers how many.
SELECT drop_old_inbox_partitions(:keep::interval);

-- name: clear_done_default!
-- Clear old events up to an id out of the default partition, a bounded number at a time.
DELETE FROM outbox_default WHERE ctid = ANY (ARRAY(
    SELECT o.ctid FROM outbox_default AS o
    WHERE o.id <= :done_id::bigint AND o.created_at < now() - :keep::interval
    LIMIT :events_max::bigint
));

-- name: clear_old_inbox_default!
-- Clear old entries out of the inbox's default partition, a bounded number at a time.
DELETE FROM inbox_default WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM inbox_default WHERE processed_at < now() - :keep::interval LIMIT :events_max::bigint
));

-- name: append_records!
-- Append records as they are, in the order of the arrays.
INSERT INTO outbox (event_id, topic, key, type, headers, data)
SELECT NULL, given.topic, given.key, NULL, given.headers, given.data
FROM unnest(:topics::text[], :keys::bytea[], :headers::jsonb[], :data::bytea[])
    WITH ORDINALITY AS given (topic, key, headers, data, position)
ORDER BY given.position;

-- name: read_unpublished_ids
-- As read_unpublished, the ids alone: for a bus whose log is this outbox.
SELECT id, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest_open
FROM outbox
WHERE id > :id::bigint
ORDER BY id
LIMIT :events_max::bigint;

-- name: read_log
-- The next records of some topics between two ids, up to a number of records and of bytes (the last may exceed it).
SELECT log.id, log.topic, log.key, log.headers, log.data, log.created_at, log.bytes_before
FROM (
    SELECT
        id, topic, key, headers, data, created_at,
        coalesce(sum(octet_length(data)) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
            AS bytes_before
    FROM outbox
    WHERE id > :after_id::bigint AND id <= :last_id::bigint AND topic = ANY(:topics::text[])
    ORDER BY id
    LIMIT :records_max::bigint
) AS log
WHERE log.bytes_before < :bytes_max::bigint
ORDER BY log.id;

-- name: read_log_keys
-- Topics, keys and times of the records of some topics between two ids.
SELECT id, topic, key, created_at
FROM outbox
WHERE id > :after_id::bigint AND id <= :last_id::bigint AND topic = ANY(:topics::text[])
ORDER BY id
LIMIT :records_max::bigint;

-- name: read_newest_id$
-- The newest id that is visible, 0 when there is none.
SELECT coalesce((SELECT id FROM outbox ORDER BY id DESC LIMIT 1), 0);

-- name: take_session_key$
-- A number for the session of a process; its lock shows that the process lives.
SELECT nextval('bus.session_key');

-- name: lock_session_key$
-- Hold the lock of a session key until the session ends; false if it is taken.
SELECT pg_try_advisory_lock(1279874932, :session_key::integer);

-- name: join_group$
-- Become a member of a group; answers the member's id.
SELECT bus.join_group(:group_name, :topics::text[], :session_key::integer, :silence_max::interval);

-- name: beat
-- Say that these members live, and hear who else does in their groups. A member that was struck off is not listed.
WITH seen AS (
    UPDATE bus.group_member SET seen_at = clock_timestamp() WHERE member_id = ANY(:member_ids::bigint[])
)
SELECT member.member_id, member.group_name, member.topics
FROM bus.group_member AS member
WHERE member.group_name = ANY(:group_names::text[])
  AND (
    member.member_id = ANY(:member_ids::bigint[])
    OR bus.member_lives(member.session_key, member.seen_at, member.silence_max)
  )
ORDER BY member.member_id;

-- name: claim_partitions
-- Take those of the partitions that nobody alive works on; answers them with where to begin.
SELECT claimed_topic AS topic, claimed_partition AS partition, claimed_offset AS next_offset
FROM bus.claim_partitions(:member_id::bigint, :topics::text[], :partitions::integer[]);

-- name: release_partitions!
-- Let go of partitions.
UPDATE bus.group_cursor AS c SET owner = NULL
FROM unnest(:topics::text[], :partitions::integer[]) AS held (topic, partition)
WHERE c.owner = :member_id::bigint AND c.topic = held.topic AND c.partition = held.partition
  AND c.group_name = :group_name;

-- name: leave_group!
-- Let go of everything and be a member no longer.
WITH gone AS (DELETE FROM bus.group_member WHERE member_id = :member_id::bigint)
UPDATE bus.group_cursor SET owner = NULL WHERE group_name = :group_name AND owner = :member_id::bigint;

-- name: move_cursors!
-- Remember, per partition that is the member's, what to read next.
UPDATE bus.group_cursor AS c SET next_offset = done.next_offset, moved_at = clock_timestamp()
FROM unnest(:topics::text[], :partitions::integer[], :next_offsets::bigint[]) AS done (topic, partition, next_offset)
WHERE c.group_name = :group_name AND c.owner = :member_id::bigint
  AND c.topic = done.topic AND c.partition = done.partition;

-- name: read_group_cursors
-- How far every group is that reads some of these topics, and whether a member of it lives.
SELECT
    c.group_name, c.topic, c.partition, c.next_offset, c.moved_at,
    EXISTS (
        SELECT FROM bus.group_member AS m
        WHERE m.member_id = c.owner AND bus.member_lives(m.session_key, m.seen_at, m.silence_max)
    ) AS is_worked_on
FROM bus.group_cursor AS c
WHERE c.topic = ANY(:topics::text[])
ORDER BY c.group_name, c.topic, c.partition
LIMIT :cursors_max::bigint;

-- name: forget_group$
-- Forget a group that has no living member; answers how many partitions it had, or -1 if a member lives.
SELECT bus.forget_group(:group_name);

-- name: claim_carrier$
-- Have this bus carry the events if none does yet; answers the one that does, or null while another is just claiming.
WITH claimed AS (
    INSERT INTO bus.carrier (backend) VALUES (:backend) ON CONFLICT DO NOTHING RETURNING carrier.backend
)
SELECT claimed.backend FROM claimed
UNION ALL
SELECT carrier.backend FROM bus.carrier
LIMIT 1;

-- name: read_carrier$
-- Which bus carries the events; null while none does.
SELECT carrier.backend FROM bus.carrier;

-- name: lock_carrier$
-- As read_carrier; nobody joins a group on Postgres until the transaction ends.
SELECT carrier.backend FROM bus.carrier FOR UPDATE;

-- name: read_living_groups
-- Groups with a member that lives, whether it has partitions yet or not.
SELECT DISTINCT m.group_name FROM bus.group_member AS m
WHERE bus.member_lives(m.session_key, m.seen_at, m.silence_max)
ORDER BY m.group_name;

-- name: begin_move!
-- Say that the events are on their way, and which outboxes are to be carried from their beginning.
UPDATE bus.carrier SET backend = 'moving', unmoved = :schemas::text[], since = now();

-- name: take_unmoved$
-- True once after begin_move for each of its schemas: carry its outbox from the beginning.
UPDATE bus.carrier SET unmoved = array_remove(unmoved, :schema) WHERE :schema = ANY(unmoved) RETURNING true;

-- name: end_move!
-- Say that Kafka carries the events.
UPDATE bus.carrier SET backend = 'kafka', since = now();

-- name: read_event_ids
-- The next records of a topic, by id: which event each is; null for a record that is none of the contract's.
SELECT id, event_id FROM outbox
WHERE id > :after_id::bigint AND topic = :topic
ORDER BY id
LIMIT :records_max::bigint;
