-- What notify keeps: people, who follows whom, the fan-out of each stream, and everyone's inbox.

-- Names for ids: from account.registered, and from the token of whoever acts here first.
CREATE TABLE people (
    user_id  uuid PRIMARY KEY,
    username text NOT NULL
);

-- The primary key is the order in which a fan-out walks a channel's followers.
CREATE TABLE follows (
    channel_id  uuid NOT NULL,
    follower_id uuid NOT NULL REFERENCES people,
    followed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (channel_id, follower_id),
    CONSTRAINT nobody_follows_themselves CHECK (channel_id <> follower_id)
);
-- serves: list_followers (newest first by cursor)
CREATE INDEX follows_newest_first ON follows (channel_id, followed_at DESC, follower_id DESC);
-- serves: find_follows_of, count_follows_of (whom does a person follow)
CREATE INDEX follows_by_follower ON follows (follower_id, channel_id) INCLUDE (followed_at);

-- One row a stream: what is to be told, how far the plan reaches, and how much of it is done.
CREATE TABLE fanouts (
    stream_id       uuid PRIMARY KEY,
    channel_id      uuid NOT NULL,
    channel_name    text NOT NULL,
    title           text NOT NULL,
    started_at      timestamptz NOT NULL,
    pages_planned   integer NOT NULL DEFAULT 0,
    planned_through uuid,
    planned_at      timestamptz,
    pages_done      integer NOT NULL DEFAULT 0,
    recipients      bigint NOT NULL DEFAULT 0,
    completed_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pages_done_were_planned CHECK (pages_done <= pages_planned)
);
COMMENT ON COLUMN fanouts.planned_through IS 'The last follower id within a planned page; null before the first page.';
COMMENT ON COLUMN fanouts.planned_at IS 'When the last page was planned; null while the plan goes on.';
-- serves: find_missed_notices (fan-outs whose inbox rows are still being written)
CREATE INDEX fanouts_unfinished ON fanouts (stream_id) WHERE completed_at IS NULL;

-- A page's row says that its followers are told: it is what keeps a repeated page from counting twice.
CREATE TABLE fanout_pages (
    stream_id   uuid NOT NULL REFERENCES fanouts,
    page_number integer NOT NULL,
    recipients  integer NOT NULL DEFAULT 0,
    done_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stream_id, page_number)
);

-- The inboxes. A row is as narrow as it can be, because a fan-out writes very many: what the notice says is in fanouts.
-- The id of a stream's notice is the stream's id, a UUIDv7, so the key gives one notice per person and stream, the newest
-- first order, and the month of the partition.
CREATE TABLE notices (
    user_id    uuid NOT NULL,
    notice_id  uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, notice_id)
) PARTITION BY RANGE (notice_id);

-- Ids that are no UUIDv7 of the months made ahead of time; stays empty in normal operation.
CREATE TABLE notices_other_months PARTITION OF notices DEFAULT;

-- Makes the partitions of this month and of the `months_ahead` months after it, those that are missing; answers how many.
-- A month whose rows already lie in the partition for the others cannot be made; they are found there as well.
CREATE FUNCTION make_notice_months(months_ahead integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    month     timestamp;
    partition text;
    made      integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('notify.make_notice_months', 0));
    FOR n IN 0 .. months_ahead LOOP
        month := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n);
        partition := 'notices_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN to_regclass(partition) IS NOT NULL;
        BEGIN
            -- attaching locks the inbox less than making the partition in place would
            EXECUTE format('CREATE TABLE %I (LIKE notices INCLUDING DEFAULTS)', partition);
            EXECUTE format(
                'ALTER TABLE notices ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
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
