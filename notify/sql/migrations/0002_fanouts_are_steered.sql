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
    ADD COLUMN pages_expected integer NOT NULL DEFAULT 0,
    ADD COLUMN begun_at timestamptz,
    ADD COLUMN paused_for interval NOT NULL DEFAULT '0',
    ADD COLUMN state_changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD CONSTRAINT suppressed_for_a_reason CHECK ((state = 'suppressed') = (suppressed_because IS NOT NULL));
UPDATE fanouts SET stream_id = fanout_id, begun_at = created_at, pages_expected = pages_planned,
                   state = CASE WHEN completed_at IS NULL THEN 'running' ELSE 'completed' END;
ALTER TABLE fanouts ALTER COLUMN stream_id SET NOT NULL;
COMMENT ON COLUMN fanouts.audience IS 'Followers who wanted notices when the plan began: an estimate for progress, not a bound.';
COMMENT ON COLUMN fanouts.pages_expected IS 'How many pages the channel''s followers make when the plan begins: an estimate, as audience is.';
COMMENT ON COLUMN fanouts.paused_for IS 'The sum of the pauses that are over.';
COMMENT ON COLUMN fanouts.begun_at IS 'When the plan began; null: admitted, and not yet begun.';
COMMENT ON COLUMN fanouts.state IS 'ended: the stream was over before everybody was told.';
-- serves: admit_fanout (the cool-down and the daily limit of a channel)
CREATE INDEX fanouts_of_channel ON fanouts (channel_id, started_at DESC);
-- serves: end_fanouts (a stream that ends stops what is still being told of it)
CREATE INDEX fanouts_of_stream ON fanouts (stream_id);
DROP INDEX fanouts_unfinished;
-- serves: find_missed_notices (fan-outs whose inbox rows are still being written)
CREATE INDEX fanouts_running ON fanouts (channel_id, fanout_id) WHERE state = 'running';

-- Of which fan-outs the connected were told, and when. No column of theirs: the live lane must not wait for whoever begins
-- the fan-out and holds its row, with many others of a batch, until the commit.
CREATE TABLE announced_fanouts (
    fanout_id    uuid PRIMARY KEY,
    announced_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO announced_fanouts (fanout_id, announced_at) SELECT fanout_id, created_at FROM fanouts;

-- A page that came while its fan-out was paused is held: its range is kept, and said again on resuming.
-- Who is told by how many pages is counted in fanout_outcomes; and a page reads its fan-out anyway, so that the foreign
-- key would only make all workers lock that one row all the time.
ALTER TABLE fanout_pages
    DROP COLUMN recipients,
    DROP CONSTRAINT fanout_pages_stream_id_fkey,
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

-- By the follower alone: with the channel in it, a page, which is a range of one channel's followers, would be looked up here, among
-- the followers of all channels, where one channel has most of them.
DROP INDEX follows_by_follower;
-- serves: find_follows_of, count_follows_of (whom does a person follow)
CREATE INDEX follows_by_follower ON follows (follower_id);

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

-- Whoever changes follows, from whatever schema, it counts here. Channels in the order of their ids, so that two transactions that change several never wait for each other in a ring.
CREATE FUNCTION count_follows() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
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

-- What a follower wants of a channel, from both tables. Whoever is told in another way than by pages reads it here, too.
CREATE VIEW wishes AS
SELECT f.channel_id, f.follower_id, f.followed_at,
       f.wants_notices AND NOT coalesce(p.muted, false) AS wants_notices,
       f.categories,
       coalesce(f.recordings, p.recordings, false) AS recordings,
       coalesce(f.inbox, p.inbox, true) AS inbox,
       coalesce(f.webpush, p.webpush, true) AS webpush,
       CASE p.email WHEN 'digest' THEN false WHEN 'each' THEN coalesce(f.email, true) ELSE coalesce(f.email, false) END
           AS email_each,
       p.time_zone, p.quiet_from, p.quiet_until, p.daily_notices_max
  FROM follows f LEFT JOIN preferences p ON p.user_id = f.follower_id;

CREATE FUNCTION is_in_categories(category text, wanted text[]) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT wanted IS NULL OR coalesce(category = ANY (wanted), false)
$$;

-- The time on somebody's wall. A zone that is none (any longer) must not hold up the others of a page: it is UTC then.
CREATE FUNCTION local_now(zone text) RETURNS timestamp LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN now() AT TIME ZONE zone;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN now() AT TIME ZONE 'UTC';
END
$$;

-- Hours over midnight end on the next day. Both ends the same: no hour at all.
CREATE FUNCTION is_within(clock time, hours_from time, hours_until time) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN hours_from <= hours_until THEN clock >= hours_from AND clock < hours_until
                ELSE clock >= hours_from OR clock < hours_until END
$$;

-- Whether the inbox has as many notices of a person's day as may be pushed and mailed in it.
CREATE FUNCTION is_capped(person uuid, zone text, notices_max integer) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    today  timestamp := date_trunc('day', local_now(zone));
    starts timestamptz := now() - (local_now(zone) - today);
BEGIN
    RETURN notices_max <= (SELECT count(*) FROM (SELECT FROM notices
                                                  WHERE user_id = person AND notice_id >= uuid7_floor(starts)
                                                  LIMIT notices_max) AS todays);
END
$$;

-- Makes a fan-out once, and decides once whether anybody hears of it. One channel at a time, so that two streams that begin
-- together are judged one after the other. It waits for no row of fanouts, or those who hold one could wait for it.
-- `announces`: the connected are to be told now, by whoever has asked so (is_live).
CREATE FUNCTION admit_fanout(
    asked_id uuid, asked_kind text, asked_stream uuid, asked_channel uuid, asked_name text, asked_title text,
    asked_category text, asked_start timestamptz, cool_down interval, day_max integer, is_live boolean,
    OUT state text, OUT suppressed_because text, OUT is_new boolean, OUT announces boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    reason text;
BEGIN
    SELECT f.state, f.suppressed_because, false INTO state, suppressed_because, is_new
      FROM fanouts f WHERE f.fanout_id = asked_id;
    IF NOT FOUND THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('notify.admit_fanout:' || asked_channel, 0));
        IF asked_kind = 'stream.started' THEN
            SELECT CASE WHEN count(*) FILTER (WHERE f.started_at > asked_start - cool_down) > 0 THEN 'cool-down'
                        WHEN count(*) >= day_max THEN 'daily-limit' END
              INTO reason
              FROM fanouts f
             WHERE f.channel_id = asked_channel AND f.kind = asked_kind AND f.state <> 'suppressed'
               AND f.started_at > asked_start - greatest(cool_down, interval '24 hours')
               AND f.started_at <= asked_start AND f.fanout_id <> asked_id;
        END IF;
        INSERT INTO fanouts (fanout_id, kind, stream_id, channel_id, channel_name, title, category, started_at,
                             state, suppressed_because)
        SELECT asked_id, asked_kind, asked_stream, asked_channel, asked_name, asked_title, asked_category, asked_start,
               CASE WHEN reason IS NULL THEN 'running' ELSE 'suppressed' END, reason
         -- a recording has one notice, even if it were published again at another time
         WHERE asked_kind = 'stream.started'
            OR NOT EXISTS (SELECT FROM fanouts f WHERE f.stream_id = asked_stream AND f.kind = asked_kind)
        ON CONFLICT DO NOTHING;
        is_new := FOUND;
        SELECT f.state, f.suppressed_because INTO state, suppressed_because FROM fanouts f WHERE f.fanout_id = asked_id;
    END IF;
    announces := false;
    IF is_live AND state IN ('running', 'completed') THEN
        INSERT INTO announced_fanouts (fanout_id) VALUES (asked_id) ON CONFLICT DO NOTHING;
        announces := FOUND;
    END IF;
END
$$;

-- Cuts the next pages off a channel's followers and counts them as planned. Whoever calls it holds the fan-out's row.
-- A page ends with its page_followers-th follower; behind the last one it is open-ended, so that the ranges hold every id: a
-- follow that was made before the start and is committed after the plan still is in one of them.
CREATE FUNCTION plan_pages(
    planned fanouts, page_followers integer, pages_max integer, OUT page_ends uuid[], OUT is_complete boolean
) LANGUAGE plpgsql AS $$
DECLARE
    reach   uuid := coalesce(planned.planned_through, '00000000-0000-0000-0000-000000000000');
    nearest uuid[];
    is_last boolean := false;
BEGIN
    page_ends := '{}';
    WHILE cardinality(page_ends) < pages_max AND NOT is_last LOOP
        -- one follower more than fits says that the plan goes on
        SELECT array_agg(follower_id) INTO nearest
          FROM (SELECT follower_id FROM follows WHERE channel_id = planned.channel_id AND follower_id > reach
                 ORDER BY follower_id OFFSET page_followers - 1 LIMIT 2) AS two;
        is_last := coalesce(cardinality(nearest), 0) < 2;
        -- a channel without followers needs no page; behind earlier pages the rest of the ids still does
        EXIT WHEN is_last AND planned.planned_through IS NULL AND cardinality(page_ends) = 0
                  -- in the key's order, so that its index is taken also where one channel has nearly all followers
                  AND (SELECT follower_id FROM follows WHERE channel_id = planned.channel_id
                        ORDER BY follower_id LIMIT 1) IS NULL;
        reach := CASE WHEN is_last THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff' ELSE nearest[1] END;
        page_ends := page_ends || reach;
    END LOOP;
    is_complete := is_last AND planned.pages_done = planned.pages_planned + cardinality(page_ends);
    UPDATE fanouts
       SET pages_planned = pages_planned + cardinality(page_ends), planned_through = page_ends[cardinality(page_ends)],
           planned_at = CASE WHEN is_last THEN clock_timestamp() END,
           state = CASE WHEN is_complete THEN 'completed' ELSE state END,
           state_changed_at = CASE WHEN is_complete THEN clock_timestamp() ELSE state_changed_at END,
           completed_at = CASE WHEN is_complete THEN clock_timestamp() END
     WHERE fanout_id = planned.fanout_id;
END
$$;

-- Begins a fan-out or goes on with it: plans pages as long as no more than half of the window is outstanding, and ends it when
-- nothing is left. Answers the pages to be said: they follow on `page_after` and are numbered from `pages_before` + 1 on.
CREATE FUNCTION go_on_with_fanout(
    going uuid, page_followers integer, window_pages integer,
    OUT page_after uuid, OUT pages_before integer, OUT page_ends uuid[], OUT is_complete boolean
) LANGUAGE plpgsql AS $$
DECLARE
    f fanouts;
BEGIN
    page_ends := '{}';
    is_complete := false;
    SELECT * INTO f FROM fanouts WHERE fanout_id = going FOR NO KEY UPDATE;
    IF f.state IS DISTINCT FROM 'running' THEN
        RETURN;
    END IF;
    page_after := f.planned_through;
    pages_before := f.pages_planned;
    IF f.begun_at IS NULL THEN
        UPDATE fanouts
           SET begun_at = clock_timestamp(), audience = coalesce(c.want_notices, 0),
               pages_expected = ceil(coalesce(c.followers, 0)::numeric / page_followers)
          FROM (SELECT) AS one LEFT JOIN follower_counts c ON c.channel_id = f.channel_id
         WHERE fanout_id = going;
    END IF;
    IF f.planned_at IS NULL THEN
        IF f.pages_planned - f.pages_done <= window_pages / 2 THEN
            SELECT p.page_ends, p.is_complete INTO page_ends, is_complete
              FROM plan_pages(f, page_followers, window_pages - (f.pages_planned - f.pages_done)) AS p;
        END IF;
    ELSIF f.pages_done = f.pages_planned THEN
        UPDATE fanouts SET state = 'completed', state_changed_at = clock_timestamp(), completed_at = clock_timestamp()
         WHERE fanout_id = going;
        is_complete := true;
    END IF;
END
$$;

-- Tells a page of followers: the inboxes of those who want it, what is to be pushed and mailed, the counts; all of it once.
-- `verdict`: told; known (it was told before); held (the fan-out is paused: said again later); stopped (nobody is told any
-- more). The row of the fan-out is locked by the last statements alone, or the pages would wait for each other.
CREATE FUNCTION tell_page(
    telling uuid, number integer, after_follower uuid, last_follower uuid, push_lasts interval, email_lasts interval,
    page_followers integer, window_pages integer,
    OUT verdict text, OUT told integer, OUT has_queued boolean, OUT page_after uuid, OUT pages_before integer,
    OUT page_ends uuid[], OUT is_complete boolean
) LANGUAGE plpgsql AS $$
DECLARE
    f       fanouts;
    reached record;
BEGIN
    SELECT * INTO f FROM fanouts WHERE fanout_id = telling;
    IF f.state = 'paused' THEN
        -- under the row's lock once more: whoever resumes finds this page among those that are held, or is seen here
        SELECT * INTO f FROM fanouts WHERE fanout_id = telling FOR NO KEY UPDATE;
        IF f.state = 'paused' THEN
            INSERT INTO fanout_pages (fanout_id, page_number, after_follower_id, last_follower_id, is_held)
            VALUES (telling, number, after_follower, last_follower, true) ON CONFLICT DO NOTHING;
            verdict := 'held';
            RETURN;
        END IF;
    END IF;
    IF f.state IS DISTINCT FROM 'running' THEN
        verdict := 'stopped';
        RETURN;
    END IF;
    INSERT INTO fanout_pages AS page (fanout_id, page_number) VALUES (telling, number)
    ON CONFLICT (fanout_id, page_number) DO UPDATE SET is_held = false, done_at = clock_timestamp() WHERE page.is_held;
    IF NOT FOUND THEN
        verdict := 'known';
        RETURN;
    END IF;
    verdict := 'told';
    SELECT * INTO reached FROM write_page(f, after_follower, last_follower, push_lasts, email_lasts);
    told := reached.told;
    has_queued := coalesce('queued' = ANY (reached.outcomes), false);
    UPDATE fanouts SET pages_done = pages_done + 1, recipients = recipients + told WHERE fanout_id = telling;
    INSERT INTO fanout_outcomes AS o (fanout_id, channel, outcome, recipients)
    SELECT telling, counted.channel, counted.outcome, counted.recipients
      FROM unnest(reached.channels, reached.outcomes, reached.counts) AS counted (channel, outcome, recipients)
    ON CONFLICT (fanout_id, channel, outcome) DO UPDATE SET recipients = o.recipients + excluded.recipients;
    SELECT g.page_after, g.pages_before, g.page_ends, g.is_complete INTO page_after, pages_before, page_ends, is_complete
      FROM go_on_with_fanout(telling, page_followers, window_pages) AS g;
END
$$;

-- The writing of a page, set-based: who wants the notice is asked within the statement, of follows and preferences as they are
-- at that moment. Quiet hours and the daily limit hold back what leaves the house, never the inbox.
CREATE FUNCTION write_page(
    f fanouts, after_follower uuid, last_follower uuid, push_lasts interval, email_lasts interval,
    OUT told integer, OUT channels text[], OUT outcomes text[], OUT counts bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    reached  record;
    wanted   text[];
    held     integer;
    told_now timestamptz := clock_timestamp();
BEGIN
    WITH audience AS MATERIALIZED (
        SELECT w.* FROM wishes w
         WHERE w.channel_id = f.channel_id AND w.follower_id > coalesce(after_follower, '00000000-0000-0000-0000-000000000000')
           AND w.follower_id <= last_follower AND w.followed_at <= f.started_at AND w.wants_notices
           AND is_in_categories(f.category, w.categories) AND (f.kind <> 'recording.published' OR w.recordings)
    ), written AS (
        INSERT INTO notices (user_id, notice_id)
        SELECT follower_id, f.fanout_id FROM audience WHERE inbox ORDER BY follower_id
        ON CONFLICT DO NOTHING RETURNING 1
    ), destined AS (
        SELECT d.user_id, d.destination_id, d.channel, d.provider,
               CASE WHEN a.quiet_from IS NOT NULL AND is_within(local_now(a.time_zone)::time, a.quiet_from, a.quiet_until)
                    THEN 'quiet'
                    WHEN a.daily_notices_max IS NOT NULL AND is_capped(a.follower_id, a.time_zone, a.daily_notices_max)
                    THEN 'capped' ELSE 'queued' END AS outcome
          FROM audience a JOIN destinations d ON d.user_id = a.follower_id
         WHERE (d.channel = 'webpush' AND a.webpush) OR (d.channel = 'email' AND a.email_each)
    )
    SELECT (SELECT count(*) FROM written) AS told, array_agg(user_id) AS users, array_agg(destination_id) AS destinations,
           array_agg(channel) AS channels, array_agg(provider) AS providers, array_agg(outcome) AS outcomes
      INTO reached FROM destined;
    told := reached.told;
    SELECT array_agg(c.channel), array_agg(c.outcome), array_agg(c.people) INTO channels, outcomes, counts
      FROM (SELECT 'inbox' AS channel, 'told' AS outcome, told::bigint AS people WHERE told > 0
            UNION ALL
            SELECT each.channel, each.outcome, count(*)
              FROM unnest(reached.channels, reached.outcomes) AS each (channel, outcome) GROUP BY 1, 2
            ORDER BY 1, 2) AS c;
    IF 'queued' = ANY (reached.outcomes) THEN
        wanted := ARRAY(SELECT DISTINCT each.channel FROM unnest(reached.channels, reached.outcomes) AS each (channel, outcome)
                         WHERE each.outcome = 'queued' ORDER BY 1);
        LOOP
            -- held until the commit: an old queue that is empty may be removed at any moment
            PERFORM FROM delivery_queues WHERE source_id = f.fanout_id AND lane = 'bulk' AND channel = ANY (wanted) FOR KEY SHARE;
            GET DIAGNOSTICS held = ROW_COUNT;
            EXIT WHEN held = cardinality(wanted);
            INSERT INTO delivery_queues (channel, lane, source_id)
            SELECT wish, 'bulk', f.fanout_id FROM unnest(wanted) AS wish ORDER BY 1
            ON CONFLICT DO NOTHING;
        END LOOP;
        INSERT INTO deliveries (queue_id, message_id, user_id, destination_id, provider, due_at, expires_at)
        SELECT q.queue_id, f.fanout_id, each.user_id, each.destination_id, each.provider, told_now,
               told_now + CASE each.channel WHEN 'email' THEN email_lasts ELSE push_lasts END
          FROM unnest(reached.users, reached.destinations, reached.channels, reached.providers, reached.outcomes)
               AS each (user_id, destination_id, channel, provider, outcome)
          JOIN delivery_queues q ON q.channel = each.channel AND q.lane = 'bulk' AND q.source_id = f.fanout_id
         WHERE each.outcome = 'queued';
    END IF;
END
$$;
