-- Who moderates a room, who is silenced there, what may not be said, what waits for a moderator, who did what.

CREATE TABLE moderators (
    channel_id uuid NOT NULL REFERENCES rooms,
    user_id    uuid NOT NULL,
    added_by   uuid NOT NULL,
    added_at   timestamptz NOT NULL DEFAULT now(),
    -- serves: find_standing, list_moderators
    PRIMARY KEY (channel_id, user_id),
    CONSTRAINT streamers_are_not_their_moderators CHECK (channel_id <> user_id)
);

-- Who subscribes to a channel. Nothing fills this yet: it is where a payments service's facts will go.
CREATE TABLE subscribers (
    channel_id       uuid NOT NULL,
    user_id          uuid NOT NULL,
    subscribed_until timestamptz NOT NULL,
    PRIMARY KEY (channel_id, user_id)
);

-- Who follows a channel, as follows.v1 tells: in any order, so both times are kept and the later one counts.
CREATE TABLE followers (
    channel_id  uuid NOT NULL,
    user_id     uuid NOT NULL,
    followed_at timestamptz,
    left_at     timestamptz,
    PRIMARY KEY (channel_id, user_id),
    CHECK (followed_at IS NOT NULL OR left_at IS NOT NULL)
);
-- serves: forget_former_followers
CREATE INDEX followers_left ON followers (left_at) WHERE left_at IS NOT NULL;

-- Timeouts and bans: one for a person and room, the newest decision.
CREATE TABLE bans (
    channel_id  uuid NOT NULL REFERENCES rooms,
    user_id     uuid NOT NULL,
    until       timestamptz,
    reason      text,
    banned_by   uuid NOT NULL,
    banned_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (channel_id, user_id),
    CONSTRAINT streamers_are_not_banned CHECK (channel_id <> user_id)
);
COMMENT ON COLUMN bans.until IS 'The end of a timeout; null: a ban.';
-- serves: list_bans (newest first by cursor)
CREATE INDEX bans_newest_first ON bans (channel_id, banned_at DESC, user_id DESC);
-- serves: forget_ended_timeouts
CREATE INDEX bans_that_end ON bans (until) WHERE until IS NOT NULL;

CREATE TABLE blocked_terms (
    term_id    uuid PRIMARY KEY,
    channel_id uuid NOT NULL REFERENCES rooms,
    term       text NOT NULL,
    folded     text NOT NULL,
    hold       boolean NOT NULL,
    added_by   uuid NOT NULL,
    added_at   timestamptz NOT NULL DEFAULT now(),
    -- serves: find_room, list_blocked_terms
    UNIQUE (channel_id, folded)
);
COMMENT ON COLUMN blocked_terms.term IS 'As a moderator wrote it.';
COMMENT ON COLUMN blocked_terms.folded IS 'As it is compared (chat/moderation/terms.py): two that are the same here are one.';
COMMENT ON COLUMN blocked_terms.hold IS 'Messages with it wait for a moderator; otherwise they are refused.';

-- Messages that wait for a moderator, and for a day those that were decided.
CREATE TABLE held_messages (
    held_id    uuid PRIMARY KEY,
    channel_id uuid NOT NULL REFERENCES rooms,
    user_id    uuid NOT NULL,
    username   text NOT NULL,
    send_id    text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('message', 'action')),
    text       text NOT NULL,
    reply_to   uuid,
    term       text NOT NULL,
    held_at    timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    decision   text CHECK (decision IN ('approved', 'denied', 'expired')),
    decided_by uuid,
    decided_at timestamptz,
    CHECK ((decision IS NULL) = (decided_at IS NULL)),
    -- serves: hold_message (the same send once)
    UNIQUE (channel_id, user_id, send_id)
);
-- serves: list_held, hold_message, decide_held
CREATE INDEX held_waiting ON held_messages (channel_id, held_id) WHERE decision IS NULL;
-- serves: expire_held
CREATE INDEX held_that_expire ON held_messages (expires_at) WHERE decision IS NULL;
-- serves: forget_decided
CREATE INDEX held_decided ON held_messages (decided_at) WHERE decision IS NOT NULL;

-- Entries that a room must get because something was committed: written with it, gone when the room has them.
CREATE TABLE untold_entries (
    entry_id   uuid PRIMARY KEY,
    channel_id uuid NOT NULL,
    message_id text NOT NULL,
    body       text NOT NULL,
    spooled    boolean NOT NULL,
    noted_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN untold_entries.message_id IS 'Under which it is published: the same again is published once.';
-- serves: list_untold
CREATE INDEX untold_by_age ON untold_entries (noted_at);

-- Who did what to whom, when and why. Kept by month of its id, a UUIDv7.
CREATE TABLE audit_log (
    channel_id  uuid NOT NULL,
    audit_id    uuid NOT NULL,
    actor_id    uuid NOT NULL,
    actor_name  text NOT NULL,
    action      text NOT NULL,
    target_id   uuid,
    target_name text,
    message_id  uuid,
    reason      text,
    particulars jsonb NOT NULL DEFAULT '{}',
    acted_at    timestamptz NOT NULL DEFAULT now(),
    -- serves: list_audit
    PRIMARY KEY (channel_id, audit_id)
) PARTITION BY RANGE (audit_id);

-- Ids of months that nobody has made ahead of time.
CREATE TABLE audit_log_other_months PARTITION OF audit_log DEFAULT;

-- Makes the partitions of this month and of the `months_ahead` months after it, those that are missing; answers how many.
-- A month whose rows already lie in the partition for the others cannot be made; they are found there as well.
CREATE FUNCTION make_audit_months(months_ahead integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    month     timestamp;
    partition text;
    made      integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('chat.make_audit_months', 0));
    FOR n IN 0 .. months_ahead LOOP
        month := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n);
        partition := 'audit_log_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN to_regclass(partition) IS NOT NULL;
        BEGIN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF audit_log FOR VALUES FROM (%L) TO (%L)',
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

-- Drops the months that ended before a moment; answers how many.
CREATE FUNCTION drop_audit_months(ended_before timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    partition text;
    dropped   integer := 0;
BEGIN
    FOR partition IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'audit_log'::regclass AND c.relname ~ '^audit_log_\d{4}_\d{2}$'
           AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= ended_before
         ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE %I', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

SELECT make_audit_months(2);
