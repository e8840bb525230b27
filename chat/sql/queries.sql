-- name: find_room(channel_id)^
-- A room that is known by name.
SELECT channel_id, channel_name, live_stream_id
FROM rooms
WHERE channel_id = :channel_id AND channel_name IS NOT NULL;

-- name: open_room(channel_id, channel_name)!
-- A channel exists: so does its room. A name that a stream told is newer than that of the registration.
INSERT INTO rooms (channel_id, channel_name)
VALUES (:channel_id, :channel_name)
ON CONFLICT (channel_id) DO UPDATE SET channel_name = excluded.channel_name
WHERE rooms.channel_name IS NULL;

-- name: start_stream(channel_id, channel_name, stream_id, started_at)^
-- A stream started: it is the room's, unless a newer one is; answers the room when that changed it.
INSERT INTO rooms (channel_id, channel_name, stream_id, started_at)
VALUES (:channel_id, :channel_name, :stream_id, :started_at)
ON CONFLICT (channel_id) DO UPDATE
SET channel_name = excluded.channel_name,
    stream_id = excluded.stream_id,
    started_at = excluded.started_at,
    ended_at = NULL
WHERE rooms.started_at IS NULL OR rooms.started_at < excluded.started_at
RETURNING channel_id, coalesce(channel_name, '') AS channel_name, live_stream_id;

-- name: end_stream(channel_id, stream_id, started_at, ended_at)^
-- A stream ended, be its start known or not; answers the room when that changed it.
INSERT INTO rooms (channel_id, stream_id, started_at, ended_at)
VALUES (:channel_id, :stream_id, :started_at, :ended_at)
ON CONFLICT (channel_id) DO UPDATE
SET stream_id = excluded.stream_id,
    started_at = excluded.started_at,
    ended_at = excluded.ended_at
WHERE rooms.started_at IS NULL OR rooms.started_at < excluded.started_at
   OR (rooms.stream_id = excluded.stream_id AND rooms.ended_at IS NULL)
RETURNING channel_id, coalesce(channel_name, '') AS channel_name, live_stream_id;
