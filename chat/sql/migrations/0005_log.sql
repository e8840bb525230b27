-- What was said, for as long as its room wants; what was taken back of it; and which recordings show which moments.

-- Everything that was said in rooms with a permanent log, by month of its id, a UUIDv7 from when it was said.
CREATE TABLE messages (
    channel_id  uuid NOT NULL,
    message_id  uuid NOT NULL,
    user_id     uuid NOT NULL,
    username    text NOT NULL,
    text        text NOT NULL,       -- empty once it is deleted
    kind        text NOT NULL CHECK (kind IN ('message', 'action', 'announcement', 'system')),
    particulars jsonb NOT NULL DEFAULT '{}',  -- role, what it answers to, mentions, emotes
    epoch       text NOT NULL,
    "offset"    bigint NOT NULL,
    sent_at     timestamptz NOT NULL,
    stream_id   uuid,                -- the stream that was live
    deleted_at  timestamptz,
    deleted_by  uuid,
    -- serves: list_messages, list_replayed, list_ages, delete_due_messages, blank_messages
    PRIMARY KEY (channel_id, message_id),
    CHECK (deleted_at IS NULL OR text = '')
) PARTITION BY RANGE (message_id);
-- serves: list_messages_of, blank_messages_of (one person in one room)
CREATE INDEX messages_by_person ON messages (channel_id, user_id, message_id DESC);
-- serves: search_messages. The room is a word as well, so that one look-up finds words in a room.
CREATE INDEX messages_by_words ON messages USING gin (
    (to_tsvector('simple', text) || array_to_tsvector(ARRAY['#' || channel_id::text]))
) WHERE deleted_at IS NULL;

-- Ids of months that nobody has made ahead of time.
CREATE TABLE messages_other_months PARTITION OF messages DEFAULT;

-- Makes the partitions of this month and of the `months_ahead` months after it, those that are missing; answers how many.
-- A month whose rows already lie in the partition for the others cannot be made; they are found there as well.
CREATE FUNCTION make_message_months(months_ahead integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    month     timestamp;
    partition text;
    made      integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('chat.make_message_months', 0));
    FOR n IN 0 .. months_ahead LOOP
        month := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n);
        partition := 'messages_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN to_regclass(partition) IS NOT NULL;
        BEGIN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF messages FOR VALUES FROM (%L) TO (%L)',
                partition,
                uuid7_floor(month AT TIME ZONE 'UTC'),
                uuid7_floor((month + interval '1 month') AT TIME ZONE 'UTC')
            );
            made := made + 1;
        EXCEPTION WHEN check_violation THEN NULL;
        END;
    END LOOP;
    RETURN made;
END
$$;

-- Drops the months that ended before a moment, if every room's messages of then may go; answers how many.
CREATE FUNCTION drop_message_months(ended_before timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    partition text;
    dropped   integer := 0;
BEGIN
    FOR partition IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'messages'::regclass AND c.relname ~ '^messages_\d{4}_\d{2}$'
           AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= ended_before
         ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE %I', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

-- How far the log has come in a room, for each epoch of its offsets: what waits at or below that is written already.
CREATE TABLE log_tails (
    channel_id  uuid NOT NULL,
    epoch       text NOT NULL,
    last_offset bigint NOT NULL,
    moved_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (channel_id, epoch)
);

-- What was taken back: one message, or all of one person, or everybody's, from one moment to another. It counts for what
-- is written later, too. `applied_at` is set when every message that it covers has been found.
CREATE TABLE log_deletions (
    deletion_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id  uuid NOT NULL,
    message_id  uuid,
    user_id     uuid,
    since       timestamptz NOT NULL,
    before      timestamptz NOT NULL,
    deleted_by  uuid NOT NULL,
    noted_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_at  timestamptz,
    CHECK (message_id IS NULL OR user_id IS NULL)
);
-- serves: insert_messages
CREATE INDEX log_deletions_of ON log_deletions (channel_id, noted_at);
-- serves: search_messages, take_log_deletion, and is_taken_back for list_messages, list_messages_of, list_replayed, find_texts
CREATE INDEX log_deletions_open ON log_deletions (channel_id, deletion_id) WHERE applied_at IS NULL;

-- Whether a deletion covers a message whose words are still there.
CREATE FUNCTION is_taken_back(room uuid, message uuid, person uuid, said_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM log_deletions d
         WHERE d.channel_id = room AND d.applied_at IS NULL
           AND (d.message_id = message
                OR (d.message_id IS NULL AND (d.user_id IS NULL OR d.user_id = person)
                    AND said_at >= d.since AND said_at < d.before)))
$$;

-- What age may not touch: everything (no channel), or one channel's.
CREATE TABLE log_holds (
    hold_id     uuid PRIMARY KEY,
    channel_id  uuid,
    reason      text NOT NULL CHECK (reason <> ''),
    placed_by   text NOT NULL,
    placed_at   timestamptz NOT NULL DEFAULT now(),
    released_by text,
    released_at timestamptz
);

-- Which moments a recording or a running stream shows. Streams and recordings tell it in any order.
CREATE TABLE replays (
    stream_id         uuid PRIMARY KEY,
    channel_id        uuid NOT NULL,
    started_at        timestamptz,
    ended_at          timestamptz,
    duration_seconds  double precision,          -- known once it is published
    timeline          jsonb NOT NULL DEFAULT '[]',
    visibility        text NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'unlisted', 'private')),
    deleted           boolean NOT NULL DEFAULT false,
    clip_of           uuid,
    clip_from_seconds double precision
);

SELECT make_message_months(2);
