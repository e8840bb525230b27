-- Queries of the log: writing what was said, taking back, history, search, age, and replays.

-- name: lock_logged_rooms
-- Those of some rooms that nobody else writes down now; they are this transaction's until it ends.
SELECT channel_id FROM unnest(:channel_ids::uuid[]) AS wanted (channel_id)
WHERE pg_try_advisory_xact_lock(hashtextextended('chat.log/' || channel_id, 0));

-- name: find_log_tails
-- How far the log has come in some rooms, by epoch; only those epochs that are asked for.
SELECT channel_id, epoch, last_offset FROM log_tails
WHERE channel_id = ANY(:channel_ids::uuid[]) AND epoch = ANY(:epochs::text[]);

-- name: find_logged_rooms
-- Whether rooms keep a log, and when their newest stream was live.
SELECT channel_id, coalesce((rules ->> 'permanent_log')::boolean, true) AS permanent_log, stream_id, started_at, ended_at
FROM rooms WHERE channel_id = ANY(:channel_ids::uuid[]);

-- name: insert_messages!
-- Write down what was said; what a deletion covers that came first is written down as deleted. What waited of people whose
-- accounts are deleted, or in their rooms, is not.
INSERT INTO messages (channel_id, message_id, user_id, username, text, kind, particulars, epoch, "offset", sent_at,
                      stream_id, deleted_at, deleted_by)
SELECT s.channel_id, s.message_id, s.user_id, s.username, CASE WHEN gone.deletion_id IS NULL THEN s.text ELSE '' END,
       s.kind, CASE WHEN gone.deletion_id IS NULL THEN s.particulars ELSE '{}' END, s.epoch, s.place, s.sent_at,
       s.stream_id, gone.noted_at, gone.deleted_by
FROM unnest(
    :channel_ids::uuid[], :message_ids::uuid[], :user_ids::uuid[], :usernames::text[], :texts::text[], :kinds::text[],
    :particulars::jsonb[], :epochs::text[], :offsets::bigint[], :sent_at::timestamptz[], :stream_ids::uuid[]
) AS s (channel_id, message_id, user_id, username, text, kind, particulars, epoch, place, sent_at, stream_id)
LEFT JOIN LATERAL (
    SELECT d.deletion_id, d.noted_at, d.deleted_by FROM log_deletions d
    WHERE d.channel_id = s.channel_id
      AND (d.message_id = s.message_id
           OR (d.message_id IS NULL AND (d.user_id IS NULL OR d.user_id = s.user_id)
               AND s.sent_at >= d.since AND s.sent_at < d.before))
    ORDER BY d.deletion_id LIMIT 1
) AS gone ON true
WHERE NOT EXISTS (SELECT FROM erasures e WHERE e.user_id IN (s.user_id, s.channel_id))
ON CONFLICT DO NOTHING;

-- name: move_log_tails!
-- The log has come so far.
INSERT INTO log_tails (channel_id, epoch, last_offset)
SELECT * FROM unnest(:channel_ids::uuid[], :epochs::text[], :last_offsets::bigint[])
ON CONFLICT (channel_id, epoch) DO UPDATE SET last_offset = excluded.last_offset, moved_at = now()
WHERE log_tails.last_offset < excluded.last_offset;

-- name: note_log_deletion!
-- Take something back; history shows it no more from this commit on.
INSERT INTO log_deletions (channel_id, message_id, user_id, since, before, deleted_by)
VALUES (:channel_id, :message_id, :user_id, :since, :before, :deleted_by);

-- name: take_log_deletion^
-- A deletion that no transaction from before it can add messages to any more, for this transaction alone.
SELECT deletion_id, channel_id, message_id, user_id, since, before, deleted_by, noted_at FROM log_deletions
WHERE applied_at IS NULL AND noted_at < now() - make_interval(secs => :settled_seconds)
ORDER BY deletion_id LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: blank_message!
-- Take the words of one message away.
UPDATE messages SET text = '', particulars = '{}', deleted_at = :deleted_at, deleted_by = :deleted_by
WHERE channel_id = :channel_id AND message_id = :message_id AND deleted_at IS NULL;

-- name: blank_messages!
-- Take the words of some of a room's messages away.
UPDATE messages SET text = '', particulars = '{}', deleted_at = :deleted_at, deleted_by = :deleted_by
WHERE channel_id = :channel_id AND message_id = ANY(
    SELECT message_id FROM messages
    WHERE channel_id = :channel_id AND deleted_at IS NULL AND sent_at >= :since AND sent_at < :before
      AND message_id >= uuid7_floor(:since::timestamptz - interval '1 hour')
      AND message_id < uuid7_floor(:before::timestamptz + interval '1 minute')
    ORDER BY message_id DESC LIMIT :messages_max);

-- name: blank_messages_of!
-- Take the words of some of what one person said in a room away.
UPDATE messages SET text = '', particulars = '{}', deleted_at = :deleted_at, deleted_by = :deleted_by
WHERE channel_id = :channel_id AND message_id = ANY(
    SELECT message_id FROM messages
    WHERE channel_id = :channel_id AND user_id = :user_id AND deleted_at IS NULL
      AND sent_at >= :since AND sent_at < :before
      AND message_id >= uuid7_floor(:since::timestamptz - interval '1 hour')
      AND message_id < uuid7_floor(:before::timestamptz + interval '1 minute')
    ORDER BY message_id DESC LIMIT :messages_max);

-- name: end_log_deletion!
-- Everything that a deletion covers has been found.
UPDATE log_deletions SET applied_at = now() WHERE deletion_id = :deletion_id;

-- name: forget_log_deletions!
-- Deletions that no message can come late for any more.
DELETE FROM log_deletions WHERE deletion_id = ANY(
    SELECT deletion_id FROM log_deletions
    WHERE applied_at < now() - make_interval(secs => :kept_seconds) LIMIT :rows_max);

-- name: forget_log_tails!
-- Tails of epochs in which nothing has been said for long.
DELETE FROM log_tails WHERE (channel_id, epoch) IN (
    SELECT channel_id, epoch FROM log_tails
    WHERE moved_at < now() - make_interval(secs => :kept_seconds) LIMIT :rows_max);

-- name: list_messages
-- A page of what was said in a room, the newest first, without what was taken back.
SELECT m.message_id, m.user_id, m.username, m.text, m.kind, m.particulars, m.epoch, m."offset", m.sent_at, m.stream_id
FROM messages m
WHERE m.channel_id = :channel_id AND m.deleted_at IS NULL
  AND m.message_id < :before AND m.message_id >= :first
  AND NOT is_taken_back(m.channel_id, m.message_id, m.user_id, m.sent_at)
ORDER BY m.message_id DESC LIMIT :rows_max;

-- name: list_messages_of
-- A page of what one person said in a room, the newest first, without what was taken back.
SELECT m.message_id, m.user_id, m.username, m.text, m.kind, m.particulars, m.epoch, m."offset", m.sent_at, m.stream_id
FROM messages m
WHERE m.channel_id = :channel_id AND m.user_id = :user_id AND m.deleted_at IS NULL
  AND m.message_id < :before AND m.message_id >= :first
  AND NOT is_taken_back(m.channel_id, m.message_id, m.user_id, m.sent_at)
ORDER BY m.message_id DESC LIMIT :rows_max;

-- name: search_messages
-- A page of a room's messages with some words (of one person, if one is given), the newest first.
WITH found AS MATERIALIZED (
    SELECT m.message_id, m.user_id, m.username, m.text, m.kind, m.particulars, m.epoch, m."offset", m.sent_at, m.stream_id
    FROM messages m
    WHERE (to_tsvector('simple', m.text) || array_to_tsvector(ARRAY['#' || m.channel_id::text]))
          @@ (quote_literal('#' || :channel_id::uuid)::tsquery && websearch_to_tsquery('simple', :words))
      AND m.channel_id = :channel_id::uuid AND m.deleted_at IS NULL
      AND m.message_id < :before AND m.message_id >= :first
      AND (:user_id::uuid IS NULL OR m.user_id = :user_id)
)
SELECT m.* FROM found m
WHERE NOT EXISTS (
    SELECT FROM log_deletions d
    WHERE d.channel_id = :channel_id AND d.applied_at IS NULL
      AND (d.message_id = m.message_id
           OR (d.message_id IS NULL AND (d.user_id IS NULL OR d.user_id = m.user_id)
               AND m.sent_at >= d.since AND m.sent_at < d.before)))
ORDER BY m.message_id DESC LIMIT :rows_max;

-- name: list_replayed
-- A page of what was said in a room between two ids, the oldest first, without what was taken back.
SELECT m.message_id, m.user_id, m.username, m.text, m.kind, m.particulars, m.epoch, m."offset", m.sent_at, m.stream_id
FROM messages m
WHERE m.channel_id = :channel_id AND m.deleted_at IS NULL
  AND m.message_id > :after AND m.message_id >= :first AND m.message_id < :before
  AND NOT is_taken_back(m.channel_id, m.message_id, m.user_id, m.sent_at)
ORDER BY m.message_id LIMIT :rows_max;

-- name: find_texts
-- The words of some messages of a room that were not taken back.
SELECT m.message_id, m.text FROM messages m
WHERE m.channel_id = :channel_id AND m.message_id = ANY(:message_ids::uuid[]) AND m.deleted_at IS NULL
  AND NOT is_taken_back(m.channel_id, m.message_id, m.user_id, m.sent_at);

-- name: make_message_months$
-- Make the partitions of this month and those ahead; answers how many were missing.
SELECT make_message_months(:months_ahead);

-- name: start_replay!
-- A stream runs; its recording can be told of before.
INSERT INTO replays (stream_id, channel_id, started_at) VALUES (:stream_id, :channel_id, :started_at)
ON CONFLICT (stream_id) DO UPDATE SET started_at = excluded.started_at;

-- name: end_replay!
-- A stream is over.
INSERT INTO replays (stream_id, channel_id, started_at, ended_at)
VALUES (:stream_id, :channel_id, :started_at, :ended_at)
ON CONFLICT (stream_id) DO UPDATE SET started_at = excluded.started_at, ended_at = excluded.ended_at;

-- name: publish_replay!
-- A recording plays, and shows this.
INSERT INTO replays (stream_id, channel_id, duration_seconds, timeline, visibility, clip_of, clip_from_seconds)
VALUES (:stream_id, :channel_id, :duration_seconds, :timeline, :visibility, :clip_of, :clip_from_seconds)
ON CONFLICT (stream_id) DO UPDATE
SET duration_seconds = excluded.duration_seconds, timeline = excluded.timeline, visibility = excluded.visibility,
    clip_of = excluded.clip_of, clip_from_seconds = excluded.clip_from_seconds;

-- name: show_replay!
-- Its owner decided who sees a recording.
INSERT INTO replays (stream_id, channel_id, visibility) VALUES (:stream_id, :channel_id, :visibility)
ON CONFLICT (stream_id) DO UPDATE SET visibility = excluded.visibility;

-- name: note_replay_deleted!
-- A recording was deleted or restored.
INSERT INTO replays (stream_id, channel_id, deleted) VALUES (:stream_id, :channel_id, :deleted)
ON CONFLICT (stream_id) DO UPDATE SET deleted = excluded.deleted;

-- name: find_replay^
-- What a recording shows; a clip shows a part of what it was cut from, be that a clip itself.
WITH RECURSIVE cut AS (
    SELECT stream_id, clip_of, coalesce(clip_from_seconds, 0) AS starts_seconds, 0 AS depth
    FROM replays WHERE stream_id = :stream_id
    UNION ALL
    SELECT o.stream_id, o.clip_of, c.starts_seconds + coalesce(o.clip_from_seconds, 0), c.depth + 1
    FROM cut c JOIN replays o ON o.stream_id = c.clip_of WHERE c.depth < 16
), origin AS (
    SELECT o.timeline, o.started_at, c.starts_seconds,
           coalesce(o.duration_seconds, extract(epoch FROM o.ended_at - o.started_at)) AS whole_seconds
    FROM cut c JOIN replays o USING (stream_id) WHERE c.clip_of IS NULL
)
SELECT r.channel_id, r.visibility, r.deleted, r.duration_seconds, o.starts_seconds, o.timeline::text AS timeline,
       o.started_at, o.whole_seconds
FROM replays r LEFT JOIN origin o ON true
WHERE r.stream_id = :stream_id;

-- name: list_ages
-- Of a page of rooms: from when on messages may go, how many are older (counted so far at most), and whether a hold keeps them.
SELECT r.channel_id, d.due_before, d.held, c.messages, c.size_bytes
FROM (SELECT channel_id, rules FROM rooms WHERE channel_id > :after ORDER BY channel_id LIMIT :rooms_max) AS r
CROSS JOIN LATERAL (
    SELECT :now::timestamptz - make_interval(days => coalesce((r.rules ->> 'log_days')::integer, :log_days::integer)) AS due_before,
           EXISTS (SELECT FROM log_holds h WHERE h.released_at IS NULL
                   AND (h.channel_id IS NULL OR h.channel_id = r.channel_id)) AS held
) AS d
CROSS JOIN LATERAL (
    SELECT count(*) AS messages, coalesce(sum(old.size_bytes), 0)::bigint AS size_bytes
    FROM (SELECT pg_column_size(m.*) AS size_bytes FROM messages m
          WHERE m.channel_id = r.channel_id AND m.message_id < uuid7_floor(d.due_before)
          LIMIT :messages_max) AS old
) AS c
ORDER BY r.channel_id;

-- name: delete_due_messages!
-- Remove some of a room's oldest messages, unless a hold keeps them.
DELETE FROM messages m
WHERE m.channel_id = :channel_id AND m.message_id = ANY(
    SELECT message_id FROM messages
    WHERE channel_id = :channel_id AND message_id < uuid7_floor(:due_before)
    ORDER BY message_id LIMIT :messages_max)
  AND NOT EXISTS (SELECT FROM log_holds h WHERE h.released_at IS NULL
                  AND (h.channel_id IS NULL OR h.channel_id = :channel_id));

-- name: drop_message_months$
-- Drop the months in which no room keeps anything any more, unless there is any hold; answers how many.
SELECT CASE WHEN EXISTS (SELECT FROM log_holds WHERE released_at IS NULL) THEN 0
            ELSE drop_message_months(:now::timestamptz - make_interval(days => greatest(
                     :log_days::integer, (SELECT max((rules ->> 'log_days')::integer) FROM rooms)))) END;

-- name: place_log_hold!
-- Keep everything, or one channel's messages, whatever their age.
INSERT INTO log_holds (hold_id, channel_id, reason, placed_by) VALUES (:hold_id, :channel_id, :reason, :placed_by)
ON CONFLICT DO NOTHING;

-- name: release_log_hold!
-- Let go of what a hold keeps.
UPDATE log_holds SET released_by = :released_by, released_at = now() WHERE hold_id = :hold_id AND released_at IS NULL;
