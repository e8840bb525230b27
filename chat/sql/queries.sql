-- name: find_room(channel_id)^
-- A room that is known by name, with all that gateways know of it: rules, pinned message, the poll that it shows
-- (how many voted for each option, first to last), its emotes and blocked terms.
SELECT r.channel_id, r.channel_name, r.live_stream_id, r.version, r.rules::text AS rules,
    (SELECT said::text FROM pins WHERE channel_id = r.channel_id AND (ends_at IS NULL OR ends_at > now())) AS pinned,
    (SELECT json_object_agg(name, emote_id)::text FROM emotes WHERE channel_id = r.channel_id AND state = 'ready') AS emotes,
    (SELECT json_object_agg(term, hold)::text FROM blocked_terms WHERE channel_id = r.channel_id) AS blocked_terms,
    p.poll_id, p.question, p.options, p.started_at, p.ends_at, p.ended,
    CASE WHEN p.poll_id IS NOT NULL THEN ARRAY(
        SELECT count(v.user_id)
        FROM generate_subscripts(p.options, 1) AS o(number)
        LEFT JOIN poll_votes v ON v.poll_id = p.poll_id AND v.option = o.number - 1
        GROUP BY o.number
        ORDER BY o.number
    ) END AS votes
FROM rooms r
LEFT JOIN LATERAL (
    SELECT poll_id, question, options, polls.started_at, ends_at, ended_at IS NOT NULL OR ends_at <= now() AS ended
    FROM polls
    WHERE polls.channel_id = r.channel_id AND shown
    ORDER BY poll_id DESC
    LIMIT 1
) p ON true
WHERE r.channel_id = :channel_id AND r.channel_name IS NOT NULL;

-- name: open_room(channel_id, channel_name)!
-- A channel exists: so does its room. A name that a stream told is newer than that of the registration.
INSERT INTO rooms (channel_id, channel_name)
VALUES (:channel_id, :channel_name)
ON CONFLICT (channel_id) DO UPDATE SET channel_name = excluded.channel_name, version = rooms.version + 1
WHERE rooms.channel_name IS NULL;

-- name: start_stream(channel_id, channel_name, stream_id, started_at)^
-- A stream started: it is the room's, unless a newer one is; answers the room's id when that changed it. Who was renamed
-- after it has the new name.
INSERT INTO rooms (channel_id, channel_name, stream_id, started_at)
VALUES (:channel_id,
        coalesce((SELECT username FROM people WHERE user_id = :channel_id AND renamed_at > :started_at), :channel_name),
        :stream_id, :started_at)
ON CONFLICT (channel_id) DO UPDATE
SET channel_name = excluded.channel_name,
    stream_id = excluded.stream_id,
    started_at = excluded.started_at,
    ended_at = NULL,
    version = rooms.version + 1
WHERE rooms.started_at IS NULL OR rooms.started_at < excluded.started_at
RETURNING channel_id;

-- name: show_stream(channel_id, stream_id, shown_at)^
-- A stream that was hidden is public now: it is the room's; answers the room's id when that changed it.
UPDATE rooms
SET stream_id = :stream_id, started_at = :shown_at, ended_at = NULL, version = version + 1
WHERE channel_id = :channel_id AND (started_at IS NULL OR started_at < :shown_at)
  AND (stream_id IS DISTINCT FROM :stream_id OR ended_at IS NOT NULL)
RETURNING channel_id;

-- name: hide_stream(channel_id, stream_id, hidden_at)^
-- A stream is public no more: the room has none; answers the room's id when that changed it.
UPDATE rooms
SET ended_at = :hidden_at, version = version + 1
WHERE channel_id = :channel_id AND stream_id = :stream_id AND ended_at IS NULL
RETURNING channel_id;

-- name: end_stream(channel_id, stream_id, started_at, ended_at)^
-- A stream ended, be its start known or not; answers the room's id when that changed it.
INSERT INTO rooms (channel_id, stream_id, started_at, ended_at)
VALUES (:channel_id, :stream_id, :started_at, :ended_at)
ON CONFLICT (channel_id) DO UPDATE
SET stream_id = excluded.stream_id,
    started_at = excluded.started_at,
    ended_at = excluded.ended_at,
    version = rooms.version + 1
WHERE rooms.started_at IS NULL OR rooms.started_at < excluded.started_at
   OR (rooms.stream_id = excluded.stream_id AND rooms.ended_at IS NULL)
RETURNING channel_id;

-- name: find_versions(channel_ids)
-- Whether open rooms are still as they were looked up.
SELECT channel_id, version FROM rooms WHERE channel_id = ANY(:channel_ids::uuid[]);

-- name: touch_room(channel_id)!
-- Something about the room changed.
UPDATE rooms SET version = version + 1 WHERE channel_id = :channel_id;

-- name: note_person(user_id, username, registered_at)!
-- Keep the name of who is not known yet, and since when they have their account: only a rename corrects a name.
INSERT INTO people (user_id, username, registered_at)
VALUES (:user_id, :username, :registered_at)
ON CONFLICT (user_id) DO UPDATE SET registered_at = excluded.registered_at
WHERE people.registered_at IS NULL AND excluded.registered_at IS NOT NULL;

-- name: find_person_by_name(username)^
-- Somebody by their name, as commands name them; the newest if a name was ever two people's.
SELECT user_id, username FROM people WHERE username = :username ORDER BY user_id DESC LIMIT 1;
