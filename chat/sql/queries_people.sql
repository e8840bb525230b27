-- Queries about people who have another name, or whose accounts were deleted.

-- name: rename_person!
-- The name that somebody has from a moment on, and their room; an older one changes nothing.
WITH named AS (
    INSERT INTO people (user_id, username, renamed_at) VALUES (:user_id, :username, :renamed_at)
    ON CONFLICT (user_id) DO UPDATE SET username = excluded.username, renamed_at = excluded.renamed_at
    WHERE people.renamed_at IS NULL OR people.renamed_at < excluded.renamed_at
    RETURNING user_id, username
)
UPDATE rooms SET channel_name = named.username, version = rooms.version + 1
FROM named WHERE rooms.channel_id = named.user_id AND rooms.channel_name IS NOT NULL;

-- name: close_room!
-- Nobody finds a room any more.
UPDATE rooms SET channel_name = NULL, version = version + 1 WHERE channel_id = :channel_id AND channel_name IS NOT NULL;

-- name: keep_log_holds_out!
-- Until the transaction ends no hold is placed; one that is being placed is waited for.
LOCK TABLE log_holds IN SHARE MODE;

-- name: is_log_held$
-- Whether a hold keeps what was said in a room.
SELECT is_log_held(:channel_id);

-- name: erase_room$
-- Erase some of a room; how much. Nothing: all is gone but images that are being removed, and what a hold keeps.
SELECT erase_room(:channel_id, :rows_max);

-- name: list_rooms_after
-- Rooms of others by their ids, and whether somebody said or did something there.
SELECT r.channel_id,
       EXISTS (SELECT FROM messages m WHERE m.channel_id = r.channel_id AND m.user_id = :user_id) AS spoke,
       EXISTS (SELECT FROM audit_log a WHERE a.channel_id = r.channel_id AND a.actor_id = :user_id) AS acted,
       is_log_held(r.channel_id) AS held
FROM rooms r WHERE r.channel_id > :after AND r.channel_id <> :user_id ORDER BY r.channel_id LIMIT :rows_max;

-- name: erase_from_rooms^
-- Erase what some rooms of others know of a person besides messages.
SELECT erase_from_rooms(:user_id, :channel_ids);

-- name: erase_from_messages$
-- Take a person out of the next messages of others; answers the last that was looked at, or null behind the last.
SELECT erase_from_messages(:user_id, :channel_id, :after, :rows_max);

-- name: erase_called_name$
-- Take a person's name, where somebody called it, out of some messages; how many.
SELECT erase_called_name(:user_id, :rows_max);

-- name: erase_messages_of!
-- Remove some of what a person said in a room.
DELETE FROM messages WHERE channel_id = :channel_id AND message_id = ANY(
    SELECT message_id FROM messages WHERE channel_id = :channel_id AND user_id = :user_id LIMIT :rows_max);

-- name: erase_person!
-- Remove a person's name; their IRC passwords go with it.
DELETE FROM people WHERE user_id = :user_id;

-- name: find_remains^
-- What is left of a person: their room, because of emotes, and the log of it, because of a hold.
SELECT EXISTS (SELECT FROM rooms WHERE channel_id = :user_id) AS room,
       EXISTS (SELECT FROM messages WHERE channel_id = :user_id) AS log;
