-- name: add_emote(emote_id, channel_id, name, content_type, size_bytes, width_px, height_px, animated, added_by)!
-- An emote whose image is about to be stored; the room does not have it yet.
INSERT INTO emotes (emote_id, channel_id, name, content_type, size_bytes, width_px, height_px, animated, added_by)
VALUES (:emote_id, :channel_id, :name, :content_type, :size_bytes, :width_px, :height_px, :animated, :added_by);

-- name: lock_room_of_emotes(channel_id)^
-- One change of a room's emotes at a time.
SELECT channel_id FROM rooms WHERE channel_id = :channel_id FOR NO KEY UPDATE;

-- name: count_emotes(channel_id, name)^
-- How many emotes a room has or is about to have, and whether one of this name is among them.
SELECT count(*) AS emotes, coalesce(bool_or(name = :name), false) AS taken
FROM emotes
WHERE channel_id = :channel_id AND state <> 'removing';

-- name: ready_emote(emote_id)^
-- The image is there: the room has the emote now. A unique violation: another one took the name.
UPDATE emotes SET state = 'ready', state_since = now()
WHERE emote_id = :emote_id AND state = 'storing'
RETURNING emote_id, name, content_type, size_bytes, width_px, height_px, animated, added_by, state_since AS added_at;

-- name: remove_emote(channel_id, name)^
-- The room has it no more; its image is to be removed.
UPDATE emotes SET state = 'removing', state_since = now()
WHERE channel_id = :channel_id AND name = :name AND state = 'ready'
RETURNING emote_id;

-- name: give_emote_up(emote_id)!
-- An upload that did not become an emote.
UPDATE emotes SET state = 'removing', state_since = now() WHERE emote_id = :emote_id AND state = 'storing';

-- name: forget_emote(emote_id)!
-- Its image is gone.
DELETE FROM emotes WHERE emote_id = :emote_id AND state = 'removing';

-- name: find_emote_leftovers(storing_seconds_max, rows_max)
-- Images to remove: of emotes that are gone, and of uploads whose process is.
UPDATE emotes SET state = 'removing'
WHERE emote_id IN (
    SELECT emote_id FROM emotes
    WHERE state <> 'ready'
      AND (state = 'removing' OR state_since < now() - make_interval(secs => :storing_seconds_max))
    ORDER BY state_since
    LIMIT :rows_max
    FOR UPDATE SKIP LOCKED
)
RETURNING emote_id;

-- name: list_ready_emotes
-- Every emote of every room whose image has to be in the store.
SELECT emote_id, size_bytes FROM emotes WHERE state = 'ready' ORDER BY emote_id;

-- name: find_emote(emote_id)^
-- The type of an emote's image.
SELECT content_type FROM emotes WHERE emote_id = :emote_id AND state = 'ready';

-- name: list_emotes(channel_id, after, rows_max)
-- A room's emotes by name.
SELECT emote_id, name, content_type, size_bytes, width_px, height_px, animated, added_by, state_since AS added_at
FROM emotes
WHERE channel_id = :channel_id AND state = 'ready' AND name > :after
ORDER BY name
LIMIT :rows_max;

-- name: pin_message(channel_id, message_id, said, pinned_by, seconds)!
-- Pin a message, in the place of another.
INSERT INTO pins (channel_id, message_id, said, pinned_by, ends_at)
VALUES (:channel_id, :message_id, :said::jsonb, :pinned_by, now() + make_interval(secs => :seconds::integer))
ON CONFLICT (channel_id) DO UPDATE
SET message_id = excluded.message_id,
    said = excluded.said,
    pinned_by = excluded.pinned_by,
    pinned_at = now(),
    ends_at = excluded.ends_at;

-- name: find_pin(channel_id)^
-- What is pinned in a room.
SELECT said::text AS said, pinned_by, pinned_at, ends_at
FROM pins
WHERE channel_id = :channel_id AND (ends_at IS NULL OR ends_at > now());

-- name: unpin(channel_id)^
-- Nothing is pinned any more.
DELETE FROM pins WHERE channel_id = :channel_id RETURNING message_id;

-- name: unpin_message(channel_id, message_ids)^
-- A message that was taken away is not pinned either.
DELETE FROM pins WHERE channel_id = :channel_id AND message_id = ANY(:message_ids::uuid[]) RETURNING channel_id;

-- name: unpin_author(channel_id, user_id)^
-- Nor is one of somebody whose messages were taken away; null: whoever said it.
DELETE FROM pins
WHERE channel_id = :channel_id AND (:user_id::uuid IS NULL OR (said ->> 'user_id')::uuid = :user_id)
RETURNING channel_id;

-- name: start_poll(poll_id, channel_id, question, options, started_by, seconds)^
-- A poll starts; one that has run out since the last look ends first. A unique violation: another one runs.
WITH over AS (
    UPDATE polls SET ended_at = ends_at WHERE channel_id = :channel_id AND ended_at IS NULL AND ends_at <= now()
    RETURNING poll_id
)
INSERT INTO polls (poll_id, channel_id, question, options, started_by, ends_at)
SELECT :poll_id, :channel_id, :question, :options::text[], :started_by, now() + make_interval(secs => :seconds)
FROM (SELECT count(*) FROM over) AS ended
RETURNING poll_id;

-- name: vote(channel_id, poll_id, user_id, option)^
-- Vote, or change one's vote, while the poll runs; who is silenced in the room has none.
WITH poll AS (
    SELECT poll_id, ended_at IS NULL AND ends_at > now() AS running, cardinality(options) AS options,
        EXISTS (
            SELECT FROM bans WHERE bans.channel_id = :channel_id AND bans.user_id = :user_id AND (bans.until IS NULL OR bans.until > now())
        ) AS silenced
    FROM polls
    WHERE poll_id = :poll_id AND channel_id = :channel_id
), voted AS (
    INSERT INTO poll_votes (poll_id, user_id, option)
    SELECT poll_id, :user_id, :option::smallint FROM poll WHERE running AND NOT silenced AND :option::smallint < options
    ON CONFLICT (poll_id, user_id) DO UPDATE SET option = excluded.option, voted_at = now()
    RETURNING option
)
SELECT poll.running, poll.silenced, poll.options, (SELECT count(*) FROM voted) AS voted FROM poll;

-- name: end_poll(channel_id, poll_id)^
-- End a poll before its time; answers it if it ran.
UPDATE polls SET ended_at = now(), ends_at = now()
WHERE poll_id = :poll_id AND channel_id = :channel_id AND ended_at IS NULL AND ends_at > now()
RETURNING poll_id;

-- name: find_poll(channel_id, poll_id)^
-- A poll with its votes.
SELECT p.poll_id, p.question, p.options, p.started_at, p.ends_at, p.ended_at IS NOT NULL OR p.ends_at <= now() AS ended,
    coalesce(p.result, ARRAY(
        SELECT count(v.user_id)
        FROM generate_subscripts(p.options, 1) AS o(number)
        LEFT JOIN poll_votes v ON v.poll_id = p.poll_id AND v.option = o.number - 1
        GROUP BY o.number
        ORDER BY o.number
    )) AS votes
FROM polls p
WHERE p.poll_id = :poll_id AND p.channel_id = :channel_id;

-- name: find_vote(poll_id, user_id)^
-- What somebody voted.
SELECT option FROM poll_votes WHERE poll_id = :poll_id AND user_id = :user_id;

-- name: list_polls(channel_id, before, rows_max)
-- A room's polls with their votes, newest first.
SELECT p.poll_id, p.question, p.options, p.started_at, p.ends_at, p.ended_at IS NOT NULL OR p.ends_at <= now() AS ended,
    coalesce(p.result, ARRAY(
        SELECT count(v.user_id)
        FROM generate_subscripts(p.options, 1) AS o(number)
        LEFT JOIN poll_votes v ON v.poll_id = p.poll_id AND v.option = o.number - 1
        GROUP BY o.number
        ORDER BY o.number
    )) AS votes
FROM polls p
WHERE p.channel_id = :channel_id AND p.poll_id < :before
ORDER BY p.poll_id DESC
LIMIT :rows_max;

-- name: pass_deadlines(shown_seconds, told_seconds, overlap_seconds)
-- What happens by the clock: polls end, ended ones are counted and shown no more, new votes are told of, pins end.
-- Answers the rooms that changed. Of several processes that look at once, one finds each change. A vote may have been cast before the last
-- telling and be committed after it, so votes of a little before that are told of again.
WITH ended AS (
    UPDATE polls SET ended_at = ends_at WHERE ended_at IS NULL AND ends_at <= now()
    RETURNING channel_id
), hidden AS (
    UPDATE polls SET shown = false, result = ARRAY(
        SELECT count(v.user_id)
        FROM generate_subscripts(polls.options, 1) AS o(number)
        LEFT JOIN poll_votes v ON v.poll_id = polls.poll_id AND v.option = o.number - 1
        GROUP BY o.number
        ORDER BY o.number
    )
    WHERE shown AND ended_at IS NOT NULL AND ended_at <= now() - make_interval(secs => :shown_seconds)
    RETURNING channel_id
), told AS (
    UPDATE polls SET told_at = now()
    WHERE ended_at IS NULL AND ends_at > now()
      AND told_at <= now() - make_interval(secs => :told_seconds)
      AND EXISTS (
          SELECT FROM poll_votes v
          WHERE v.poll_id = polls.poll_id AND v.voted_at > polls.told_at - make_interval(secs => :overlap_seconds)
      )
    RETURNING channel_id
), unpinned AS (
    DELETE FROM pins WHERE ends_at <= now()
    RETURNING channel_id
)
UPDATE rooms SET version = version + 1
WHERE channel_id IN (
    SELECT channel_id FROM ended UNION SELECT channel_id FROM hidden
    UNION SELECT channel_id FROM told UNION SELECT channel_id FROM unpinned
)
RETURNING channel_id;

-- name: find_people(usernames)
-- People by their names; the newest where a name was ever two people's.
SELECT DISTINCT ON (username) username, user_id
FROM people
WHERE username = ANY(:usernames::text[])
ORDER BY username, user_id DESC;

-- name: find_logged_message(channel_id, message_id)^
-- A message of the permanent log that was not taken back.
SELECT m.message_id, m.user_id, m.username, m.text, m.kind, m.sent_at, m.particulars::text AS particulars
FROM messages m
WHERE m.channel_id = :channel_id AND m.message_id = :message_id AND m.deleted_at IS NULL
  AND NOT is_taken_back(m.channel_id, m.message_id, m.user_id, m.sent_at);
