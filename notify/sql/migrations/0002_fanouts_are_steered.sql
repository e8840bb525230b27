-- Fan-outs that can be watched, paused and cancelled; what followers want to be told of, how and when; read notices.
--
-- Renames a key column: a notify process of before must be stopped first (it does not know the new name).

-- A fan-out has the id of its notice. For a stream's start that is the stream's id; other notices of a stream have ids of
-- their own.
ALTER TABLE fanouts RENAME COLUMN stream_id TO fanout_id;
ALTER TABLE fanout_pages RENAME COLUMN stream_id TO fanout_id;

ALTER TABLE fanouts
    ADD COLUMN kind text NOT NULL DEFAULT 'stream.started' CHECK (kind IN ('stream.started', 'recording.published')),
    ADD COLUMN stream_id uuid,
    ADD COLUMN category text,
    ADD COLUMN state text NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'paused', 'completed', 'suppressed', 'cancelled', 'ended')),
    ADD COLUMN suppressed_because text CHECK (suppressed_because IN ('cool-down', 'daily-limit')),
    ADD COLUMN audience bigint NOT NULL DEFAULT 0,
    ADD COLUMN begun_at timestamptz,
    ADD COLUMN state_changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD CONSTRAINT suppressed_for_a_reason CHECK ((state = 'suppressed') = (suppressed_because IS NOT NULL));
UPDATE fanouts SET stream_id = fanout_id, begun_at = created_at,
                   state = CASE WHEN completed_at IS NULL THEN 'running' ELSE 'completed' END;
ALTER TABLE fanouts ALTER COLUMN stream_id SET NOT NULL;
COMMENT ON COLUMN fanouts.audience IS 'Followers who wanted notices when the plan began: an estimate for progress, not a bound.';
COMMENT ON COLUMN fanouts.begun_at IS 'When the plan began; null: admitted, and not yet begun.';
COMMENT ON COLUMN fanouts.state IS 'ended: the stream was over before everybody was told.';
-- serves: admit_fanout (the cool-down and the daily limit of a channel)
CREATE INDEX fanouts_of_channel ON fanouts (channel_id, started_at DESC);
-- serves: end_fanouts (a stream that ends stops what is still being told of it)
CREATE INDEX fanouts_of_stream ON fanouts (stream_id);

-- A page that came while its fan-out was paused is held: its range is kept, and said again on resuming.
ALTER TABLE fanout_pages
    ADD COLUMN after_follower_id uuid,
    ADD COLUMN last_follower_id uuid,
    ADD COLUMN is_held boolean NOT NULL DEFAULT false;

-- What became of the recipients of a fan-out, by delivery channel: counted, because a row each would double all writing.
CREATE TABLE fanout_outcomes (
    fanout_id  uuid NOT NULL REFERENCES fanouts ON DELETE CASCADE,
    channel    text NOT NULL,
    outcome    text NOT NULL,
    recipients bigint NOT NULL,
    PRIMARY KEY (fanout_id, channel, outcome)
);
COMMENT ON COLUMN fanout_outcomes.channel IS 'inbox, webpush, email';
COMMENT ON COLUMN fanout_outcomes.outcome IS 'inbox: told. webpush, email: queued, then delivered, gone, refused, expired, dropped; quiet, capped: not queued.';

-- What somebody wants, for all channels that they follow; without a row: the defaults of these columns.
CREATE TABLE preferences (
    user_id           uuid PRIMARY KEY,
    muted             boolean NOT NULL DEFAULT false,
    inbox             boolean NOT NULL DEFAULT true,
    webpush           boolean NOT NULL DEFAULT true,
    email             text NOT NULL DEFAULT 'off' CHECK (email IN ('off', 'each', 'digest')),
    recordings        boolean NOT NULL DEFAULT false,
    time_zone         text NOT NULL DEFAULT 'UTC',
    quiet_from        time,
    quiet_until       time,
    daily_notices_max integer CHECK (daily_notices_max >= 0),
    digest_hour       smallint NOT NULL DEFAULT 8 CHECK (digest_hour BETWEEN 0 AND 23),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT quiet_hours_have_both_ends CHECK ((quiet_from IS NULL) = (quiet_until IS NULL))
);
COMMENT ON COLUMN preferences.daily_notices_max IS 'Pushed and mailed notices in a day of the time zone; more of them are in the inbox alone.';

-- What somebody wants of one channel; null: as in their preferences.
ALTER TABLE follows
    ADD COLUMN muted boolean NOT NULL DEFAULT false,
    ADD COLUMN is_silent boolean NOT NULL DEFAULT false,
    ADD COLUMN inbox boolean,
    ADD COLUMN webpush boolean,
    ADD COLUMN email boolean,
    ADD COLUMN recordings boolean,
    ADD COLUMN categories text[],
    ADD COLUMN wants_notices boolean GENERATED ALWAYS AS (NOT (muted OR is_silent)) STORED;
COMMENT ON COLUMN follows.is_silent IS 'The follower wants nothing of anybody at the moment: they have muted everything, or have been away for very long.';
COMMENT ON COLUMN follows.categories IS 'Only streams in one of these categories; null: all.';

-- Who has been away for very long is told nothing until they say so (L-C1).
ALTER TABLE people
    ADD COLUMN active_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN away_since timestamptz;

-- Exact counts, kept by triggers in the transaction that changes a follow.
CREATE TABLE follower_counts (
    channel_id   uuid PRIMARY KEY,
    followers    bigint NOT NULL CHECK (followers >= 0),
    want_notices bigint NOT NULL CHECK (want_notices >= 0)
);
INSERT INTO follower_counts (channel_id, followers, want_notices)
SELECT channel_id, count(*), count(*) FILTER (WHERE wants_notices) FROM follows GROUP BY channel_id;

-- Channels in the order of their ids, so that two transactions that change several never wait for each other in a ring.
CREATE FUNCTION count_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO follower_counts AS c (channel_id, followers, want_notices)
        SELECT channel_id, count(*), count(*) FILTER (WHERE wants_notices) FROM made GROUP BY channel_id ORDER BY channel_id
        ON CONFLICT (channel_id) DO UPDATE
           SET followers = c.followers + excluded.followers, want_notices = c.want_notices + excluded.want_notices;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM 1 FROM follower_counts WHERE channel_id IN (SELECT channel_id FROM gone) ORDER BY channel_id FOR UPDATE;
        UPDATE follower_counts c SET followers = c.followers - d.followers, want_notices = c.want_notices - d.want_notices
          FROM (SELECT channel_id, count(*) AS followers, count(*) FILTER (WHERE wants_notices) AS want_notices
                  FROM gone GROUP BY channel_id) d
         WHERE c.channel_id = d.channel_id;
    ELSE
        PERFORM 1 FROM follower_counts WHERE channel_id IN (SELECT channel_id FROM made) ORDER BY channel_id FOR UPDATE;
        UPDATE follower_counts c SET want_notices = c.want_notices + d.change
          FROM (SELECT channel_id, sum(sign) AS change
                  FROM (SELECT channel_id, 1 AS sign FROM made WHERE wants_notices
                        UNION ALL SELECT channel_id, -1 FROM gone WHERE wants_notices) AS both_sides
                 GROUP BY channel_id HAVING sum(sign) <> 0) d
         WHERE c.channel_id = d.channel_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER follows_made AFTER INSERT ON follows REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION count_follows();
CREATE TRIGGER follows_gone AFTER DELETE ON follows REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_follows();
CREATE TRIGGER follows_changed AFTER UPDATE ON follows REFERENCING OLD TABLE AS gone NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION count_follows();

-- Whom a channel does not want as a follower.
CREATE TABLE blocks (
    channel_id uuid NOT NULL,
    user_id    uuid NOT NULL,
    blocked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (channel_id, user_id)
);

-- Reading everything is one row, however much there was.
ALTER TABLE notices ADD COLUMN read_at timestamptz;
CREATE TABLE inboxes (
    user_id      uuid PRIMARY KEY,
    read_through uuid NOT NULL
);
COMMENT ON COLUMN inboxes.read_through IS 'Every notice up to this id is read.';
