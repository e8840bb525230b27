-- Generated from the migrations by `livestream generate`; read it, do not edit it.
-- Tables of the bus (outbox, inbox, …) come from eventbus/sql/migrations; partitions of dates are left out.

CREATE FUNCTION admit_fanout(asked_id uuid, asked_kind text, asked_stream uuid, asked_channel uuid, asked_name text, asked_title text, asked_category text, asked_start timestamp with time zone, cool_down interval, day_max integer, is_live boolean, OUT state text, OUT suppressed_because text, OUT is_new boolean, OUT announces boolean) RETURNS record
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
DECLARE
    reason text;
BEGIN
    SELECT f.state, f.suppressed_because, false INTO state, suppressed_because, is_new
      FROM fanouts f WHERE f.fanout_id = asked_id;
    IF NOT FOUND THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('admit_fanout:' || asked_channel, 0));
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

CREATE FUNCTION claim_deliveries(wanted_channel text, wanted_lane text, rows_max integer, lease_token uuid, lease_seconds double precision, known_providers text[], rooms integer[]) RETURNS TABLE(delivery_id bigint, source_id uuid, message_id uuid, user_id uuid, destination_id uuid, provider text, attempts smallint, created_at timestamp with time zone, expires_at timestamp with time zone, content jsonb, fate text)
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
DECLARE
    turns_max    CONSTANT integer := 64;
    moment       CONSTANT timestamptz := now();
    queue        record;
    place        text;
    known        integer;
    room         integer;
    remaining    integer := rows_max;
    taken        integer;
    asked        boolean[] := '{}';
    turn_queues  bigint[] := '{}';
    turn_sources uuid[] := '{}';
    turn_places  text[] := '{}';
    turn_fates   text[] := '{}';
    served       bigint[] := '{}';
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR queue IN
        SELECT q.queue_id, q.source_id, CASE WHEN f.state IN ('cancelled', 'ended') THEN 'dropped' END AS fate
          FROM delivery_queues q LEFT JOIN fanouts f ON f.fanout_id = q.source_id
         WHERE q.channel = wanted_channel AND q.lane = wanted_lane AND f.state IS DISTINCT FROM 'paused'
         ORDER BY q.channel, q.lane, q.served_at, q.queue_id
    LOOP
        place := '';
        LOOP
            SELECT d.provider INTO place FROM deliveries d
             WHERE d.queue_id = queue.queue_id AND d.provider > place ORDER BY d.queue_id, d.provider LIMIT 1;
            EXIT WHEN place IS NULL;
            IF queue.fate IS NULL THEN
                known := array_position(known_providers, place);
                IF known IS NULL THEN
                    known_providers := known_providers || place;
                    rooms := rooms || rows_max;
                    known := cardinality(rooms);
                END IF;
                IF asked[known] IS NULL THEN
                    asked[known] := true;
                    SELECT CASE WHEN p.paused_until > moment THEN 0 WHEN p.failures > 0 THEN 1 END INTO room
                      FROM providers p WHERE p.channel = wanted_channel AND p.provider = place;
                    rooms[known] := least(rooms[known], room);
                END IF;
                CONTINUE WHEN rooms[known] <= 0;
            END IF;
            IF EXISTS (SELECT FROM deliveries d
                        WHERE d.queue_id = queue.queue_id AND d.provider = place AND d.due_at <= moment) THEN
                turn_queues := turn_queues || queue.queue_id;
                turn_sources := turn_sources || queue.source_id;
                turn_places := turn_places || place;
                turn_fates := turn_fates || queue.fate::text;
                EXIT WHEN cardinality(turn_queues) >= turns_max;
            END IF;
        END LOOP;
        EXIT WHEN cardinality(turn_queues) >= turns_max;
    END LOOP;

    FOR n IN 1 .. cardinality(turn_queues) LOOP
        -- what an earlier turn left of its share is for the later ones
        room := greatest(remaining / (cardinality(turn_queues) - n + 1), 1);
        known := array_position(known_providers, turn_places[n]);
        IF turn_fates[n] IS NULL THEN
            room := least(room, rooms[known]);
        END IF;
        CONTINUE WHEN room <= 0;
        RETURN QUERY
            WITH due AS MATERIALIZED (
                SELECT d.delivery_id FROM deliveries d
                 WHERE d.queue_id = turn_queues[n] AND d.provider = turn_places[n] AND d.due_at <= moment
                 ORDER BY d.queue_id, d.provider, d.due_at
                 LIMIT room
                   FOR NO KEY UPDATE SKIP LOCKED
            )
            UPDATE deliveries d SET lease = lease_token, due_at = clock_timestamp() + make_interval(secs => lease_seconds)
              FROM due WHERE d.delivery_id = due.delivery_id
            RETURNING d.delivery_id, turn_sources[n], d.message_id, d.user_id, d.destination_id, d.provider, d.attempts,
                      d.created_at, d.expires_at, d.content,
                      coalesce(turn_fates[n], CASE WHEN d.expires_at <= moment THEN 'expired' END);
        GET DIAGNOSTICS taken = ROW_COUNT;
        IF taken > 0 THEN
            served := served || turn_queues[n];
            remaining := remaining - taken;
            IF turn_fates[n] IS NULL THEN
                rooms[known] := rooms[known] - taken;
            END IF;
        END IF;
        EXIT WHEN remaining <= 0;
    END LOOP;

    -- whoever else serves the queue at this moment notes it, too
    UPDATE delivery_queues q SET served_at = clock_timestamp()
     WHERE q.queue_id IN (SELECT s.queue_id FROM delivery_queues s WHERE s.queue_id = ANY (served)
                           ORDER BY s.queue_id FOR NO KEY UPDATE SKIP LOCKED);
END
$$;

CREATE FUNCTION count_follows() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'notify'
    AS $$
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

CREATE FUNCTION drop_old_inbox_partitions(inbox_keep interval) RETURNS integer
    LANGUAGE plpgsql
    AS $_$
DECLARE
    partition text;
    dropped integer := 0;
BEGIN
    FOR partition IN
        SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'inbox'::regclass AND child.relname ~ '^inbox_[0-9]{8}$'
          AND (to_date(right(child.relname, 8), 'YYYYMMDD') + 7)::timestamp AT TIME ZONE 'UTC' < now() - inbox_keep
        ORDER BY child.relname
    LOOP
        EXECUTE format('DROP TABLE %I', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$_$;

CREATE FUNCTION drop_outbox_partitions(outbox_keep interval, done_id bigint) RETURNS integer
    LANGUAGE plpgsql
    AS $_$
DECLARE
    partition text;
    undone boolean;
    dropped integer := 0;
BEGIN
    FOR partition IN
        SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'outbox'::regclass AND child.relname ~ '^outbox_[0-9]{8}$'
          AND (to_date(right(child.relname, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC' < now() - outbox_keep
        ORDER BY child.relname
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE id > $1)', partition) INTO undone USING done_id;
        CONTINUE WHEN undone;
        EXECUTE format('DROP TABLE %I', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$_$;

CREATE FUNCTION drop_published_outbox_partitions(outbox_keep interval) RETURNS integer
    LANGUAGE plpgsql
    AS $_$
DECLARE
    partition text;
    unpublished boolean;
    dropped integer := 0;
BEGIN
    FOR partition IN
        SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'outbox'::regclass AND child.relname ~ '^outbox_[0-9]{8}$'
          AND (to_date(right(child.relname, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC' < now() - outbox_keep
        ORDER BY child.relname
    LOOP
        EXECUTE format(
            'SELECT EXISTS (SELECT FROM %I AS o, outbox_cursor AS c WHERE o.id > c.id)', partition
        ) INTO unpublished;
        CONTINUE WHEN unpublished;
        EXECUTE format('DROP TABLE %I', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$_$;

CREATE FUNCTION erase_again() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'notify'
    AS $$
BEGIN
    UPDATE erasures SET erased_at = NULL, settled_at = NULL, due_at = CASE WHEN lease IS NULL THEN now() ELSE due_at END
     WHERE user_id = NEW.channel_id;
    RETURN NULL;
END
$$;

CREATE FUNCTION erase_fanouts(erased uuid, rows_max integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    sources uuid[];
    queues  bigint[];
    gone    integer;
BEGIN
    SELECT array_agg(fanout_id) INTO sources
      FROM (SELECT fanout_id FROM fanouts WHERE channel_id = erased ORDER BY started_at LIMIT 100) AS oldest;
    sources := coalesce(sources, '{}') || erased || ARRAY (SELECT destination_id FROM destinations WHERE user_id = erased);
    SELECT coalesce(array_agg(queue_id), '{}') INTO queues FROM delivery_queues WHERE source_id = ANY (sources);
    DELETE FROM deliveries WHERE delivery_id = ANY (ARRAY (
        SELECT delivery_id FROM deliveries WHERE queue_id = ANY (queues) LIMIT rows_max));
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone > 0 THEN
        RETURN gone;
    END IF;
    DELETE FROM delivery_queues WHERE queue_id = ANY (queues);
    DELETE FROM dead_deliveries WHERE source_id = ANY (sources);
    DELETE FROM announced_fanouts WHERE fanout_id = ANY (sources);
    DELETE FROM fanout_pages WHERE fanout_id = ANY (sources);
    DELETE FROM fanouts WHERE fanout_id = ANY (sources);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

CREATE FUNCTION erase_followers(erased uuid, rows_max integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    followers uuid[];
BEGIN
    SELECT array_agg(f.follower_id) INTO followers
      FROM (SELECT follower_id FROM follows WHERE channel_id = erased ORDER BY follower_id LIMIT rows_max FOR UPDATE) AS f;
    IF followers IS NULL THEN
        RETURN 0;
    END IF;
    DELETE FROM notices n USING fanouts f
     WHERE f.channel_id = erased AND n.notice_id = f.fanout_id AND n.user_id = ANY (followers);
    DELETE FROM follows WHERE channel_id = erased AND follower_id = ANY (followers);
    RETURN cardinality(followers);
END
$$;

CREATE FUNCTION erase_from_webhooks(erased uuid, after_endpoint_id uuid, endpoints_max integer) RETURNS uuid
    LANGUAGE plpgsql
    AS $$
DECLARE
    looked_at uuid[];
BEGIN
    SELECT array_agg(e.endpoint_id ORDER BY e.endpoint_id) INTO looked_at
      FROM (SELECT endpoint_id FROM webhook_endpoints WHERE endpoint_id > after_endpoint_id
             ORDER BY endpoint_id LIMIT endpoints_max) AS e;
    DELETE FROM webhook_messages m WHERE m.endpoint_id = ANY (looked_at) AND strpos(m.body, erased::text) > 0;
    RETURN looked_at[cardinality(looked_at)];
END
$$;

CREATE FUNCTION erase_person(erased uuid) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    DELETE FROM deliveries WHERE user_id = erased;
    DELETE FROM dead_deliveries WHERE user_id = erased;
    DELETE FROM destinations WHERE user_id = erased;
    DELETE FROM mail_verifications WHERE user_id = erased;
    DELETE FROM mail_requests WHERE user_id = erased;
    DELETE FROM mail_digests WHERE user_id = erased;
    DELETE FROM preferences WHERE user_id = erased;
    DELETE FROM inboxes WHERE user_id = erased;
    DELETE FROM blocks WHERE channel_id = erased OR user_id = erased;
    DELETE FROM people WHERE user_id = erased;
    DELETE FROM follower_counts WHERE channel_id = erased;
END
$$;

CREATE FUNCTION erase_told(erased uuid, after_user_id uuid, rows_max integer) RETURNS uuid
    LANGUAGE plpgsql
    AS $$
DECLARE
    told      uuid[];
    last_id   uuid;
    oldest_id uuid;
    newest_id uuid;
BEGIN
    SELECT array_agg(fanout_id ORDER BY fanout_id) INTO told FROM fanouts WHERE channel_id = erased;
    IF told IS NULL THEN
        RETURN NULL;
    END IF;
    oldest_id := told[1];
    newest_id := told[cardinality(told)];
    SELECT user_id INTO last_id FROM (
        SELECT user_id FROM notices
         WHERE user_id > after_user_id AND notice_id BETWEEN oldest_id AND newest_id
         ORDER BY user_id LIMIT rows_max
    ) AS seen ORDER BY user_id DESC LIMIT 1;
    DELETE FROM notices
     WHERE user_id > after_user_id AND user_id <= last_id AND notice_id BETWEEN oldest_id AND newest_id
       AND notice_id = ANY (told);
    RETURN last_id;
END
$$;

CREATE FUNCTION go_on_with_fanout(going uuid, page_followers integer, window_pages integer, OUT page_after uuid, OUT pages_before integer, OUT page_ends uuid[], OUT is_complete boolean) RETURNS record
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION is_capped(person uuid, zone text, notices_max integer) RETURNS boolean
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    today  timestamp := date_trunc('day', local_now(zone));
    starts timestamptz := now() - (local_now(zone) - today);
BEGIN
    RETURN notices_max <= (SELECT count(*) FROM (SELECT FROM notices
                                                  WHERE user_id = person AND notice_id >= uuid7_floor(starts)
                                                  LIMIT notices_max) AS todays);
END
$$;

CREATE FUNCTION is_in_categories(category text, wanted text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT wanted IS NULL OR coalesce(category = ANY (wanted), false)
$$;

CREATE FUNCTION is_within(clock time without time zone, hours_from time without time zone, hours_until time without time zone) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT CASE WHEN hours_from <= hours_until THEN clock >= hours_from AND clock < hours_until
                ELSE clock >= hours_from OR clock < hours_until END
$$;

CREATE FUNCTION local_now(zone text) RETURNS timestamp without time zone
    LANGUAGE plpgsql STABLE
    AS $$
BEGIN
    RETURN now() AT TIME ZONE zone;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN now() AT TIME ZONE 'UTC';
END
$$;

CREATE FUNCTION make_bus_partitions(days_ahead integer, weeks_ahead integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    monday date := date_trunc('week', now() AT TIME ZONE 'UTC')::date;
    starts date;
    made integer := 0;
BEGIN
    FOR starts IN SELECT today + step FROM generate_series(0, days_ahead) AS step LOOP
        CONTINUE WHEN to_regclass('outbox_' || to_char(starts, 'YYYYMMDD')) IS NOT NULL;
        BEGIN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF outbox FOR VALUES FROM (%L) TO (%L)',
                'outbox_' || to_char(starts, 'YYYYMMDD'),
                starts::timestamp AT TIME ZONE 'UTC', (starts + 1)::timestamp AT TIME ZONE 'UTC'
            );
            made := made + 1;
        EXCEPTION WHEN check_violation THEN NULL;
        END;
    END LOOP;
    FOR starts IN SELECT monday + 7 * step FROM generate_series(0, weeks_ahead) AS step LOOP
        CONTINUE WHEN to_regclass('inbox_' || to_char(starts, 'YYYYMMDD')) IS NOT NULL;
        BEGIN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF inbox FOR VALUES FROM (%L) TO (%L)',
                'inbox_' || to_char(starts, 'YYYYMMDD'),
                uuid7_floor(starts::timestamp AT TIME ZONE 'UTC'),
                uuid7_floor((starts + 7)::timestamp AT TIME ZONE 'UTC')
            );
            made := made + 1;
        EXCEPTION WHEN check_violation THEN NULL;
        END;
    END LOOP;
    RETURN made;
END
$$;

CREATE FUNCTION make_notice_months(months_ahead integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    month     timestamp;
    partition text;
    made      integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('make_notice_months', 0));
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

CREATE FUNCTION next_outbox_id() RETURNS bigint
    LANGUAGE plpgsql
    AS $$
        BEGIN
            PERFORM pg_current_xact_id();
            RETURN nextval('outbox_id');
        END
        $$;

CREATE TABLE fanouts (
    fanout_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    channel_name text NOT NULL,
    title text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    pages_planned integer DEFAULT 0 NOT NULL,
    planned_through uuid,
    planned_at timestamp with time zone,
    pages_done integer DEFAULT 0 NOT NULL,
    recipients bigint DEFAULT 0 NOT NULL,
    completed_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    kind text DEFAULT 'stream.started'::text NOT NULL,
    stream_id uuid NOT NULL,
    category text,
    state text DEFAULT 'running'::text NOT NULL,
    suppressed_because text,
    audience bigint DEFAULT 0 NOT NULL,
    pages_expected integer DEFAULT 0 NOT NULL,
    begun_at timestamp with time zone,
    paused_for interval DEFAULT '00:00:00'::interval NOT NULL,
    state_changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT fanouts_kind_check CHECK ((kind = ANY (ARRAY['stream.started'::text, 'recording.published'::text]))),
    CONSTRAINT fanouts_state_check CHECK ((state = ANY (ARRAY['running'::text, 'paused'::text, 'completed'::text, 'suppressed'::text, 'cancelled'::text, 'ended'::text]))),
    CONSTRAINT fanouts_suppressed_because_check CHECK ((suppressed_because = ANY (ARRAY['cool-down'::text, 'daily-limit'::text]))),
    CONSTRAINT pages_done_were_planned CHECK ((pages_done <= pages_planned)),
    CONSTRAINT suppressed_for_a_reason CHECK (((state = 'suppressed'::text) = (suppressed_because IS NOT NULL)))
);

COMMENT ON COLUMN fanouts.planned_through IS 'The last follower id within a planned page; null before the first page.';

COMMENT ON COLUMN fanouts.planned_at IS 'When the last page was planned; null while the plan goes on.';

COMMENT ON COLUMN fanouts.state IS 'ended: the stream was over before everybody was told.';

COMMENT ON COLUMN fanouts.audience IS 'Followers who wanted notices when the plan began: an estimate for progress, not a bound.';

COMMENT ON COLUMN fanouts.pages_expected IS 'How many pages the channel''s followers make when the plan begins: an estimate, as audience is.';

COMMENT ON COLUMN fanouts.begun_at IS 'When the plan began; null: admitted, and not yet begun.';

COMMENT ON COLUMN fanouts.paused_for IS 'The sum of the pauses that are over.';

CREATE FUNCTION plan_pages(planned fanouts, page_followers integer, pages_max integer, OUT page_ends uuid[], OUT is_complete boolean) RETURNS record
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION settle_deliveries(settled_delivery_ids bigint[], settled_leases uuid[], settled_outcomes text[], settled_reasons text[], settled_waits double precision[]) RETURNS SETOF bigint
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
BEGIN
    RETURN QUERY
        WITH told AS MATERIALIZED (
            SELECT t.delivery_id, t.lease, t.outcome, t.reason, t.wait_seconds
              FROM unnest(settled_delivery_ids, settled_leases, settled_outcomes, settled_reasons, settled_waits)
                AS t (delivery_id, lease, outcome, reason, wait_seconds)
        ), ended AS (
            DELETE FROM deliveries d USING told t
             WHERE d.delivery_id = t.delivery_id AND d.lease = t.lease AND t.wait_seconds IS NULL
            RETURNING d.*, t.outcome, t.reason
        ), again AS (
            UPDATE deliveries d
               SET attempts = d.attempts + CASE t.outcome WHEN 'failed' THEN 1 ELSE 0 END, lease = NULL,
                   due_at = clock_timestamp() + make_interval(secs => t.wait_seconds)
              FROM told t
             WHERE d.delivery_id = t.delivery_id AND d.lease = t.lease AND t.wait_seconds IS NOT NULL
            RETURNING d.delivery_id
        ), dead AS (
            INSERT INTO dead_deliveries (delivery_id, channel, lane, source_id, message_id, user_id, destination_id, provider,
                                         attempts, content, reason, created_at)
            SELECT e.delivery_id, q.channel, q.lane, q.source_id, e.message_id, e.user_id, e.destination_id, e.provider,
                   e.attempts + 1, e.content, e.reason, e.created_at
              FROM ended e JOIN delivery_queues q USING (queue_id)
             WHERE e.outcome = 'failed'
        ), counted AS (
            INSERT INTO fanout_outcomes AS o (fanout_id, channel, outcome, recipients)
            SELECT q.source_id, q.channel, e.outcome, e.recipients
              FROM (SELECT queue_id, outcome, count(*) AS recipients FROM ended GROUP BY queue_id, outcome) AS e
              JOIN delivery_queues q USING (queue_id)
              JOIN fanouts f ON f.fanout_id = q.source_id
             ORDER BY q.source_id, q.channel, e.outcome
            ON CONFLICT (fanout_id, channel, outcome) DO UPDATE SET recipients = o.recipients + excluded.recipients
        )
        SELECT delivery_id FROM ended UNION ALL SELECT delivery_id FROM again;
END
$$;

CREATE FUNCTION skip_deleted_block() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'notify'
    AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE user_id IN (NEW.user_id, NEW.channel_id)) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION skip_deleted_follow() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'notify'
    AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE user_id IN (NEW.follower_id, NEW.channel_id)) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION skip_deleted_user() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'notify'
    AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE user_id = NEW.user_id) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION tell_page(telling uuid, number integer, after_follower uuid, last_follower uuid, push_lasts interval, email_lasts interval, page_followers integer, window_pages integer, OUT verdict text, OUT told integer, OUT has_queued boolean, OUT page_after uuid, OUT pages_before integer, OUT page_ends uuid[], OUT is_complete boolean) RETURNS record
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION uuid7_floor(moment timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

CREATE FUNCTION wall_clock(time_zone text) RETURNS timestamp without time zone
    LANGUAGE plpgsql STABLE
    AS $$
BEGIN
    RETURN now() AT TIME ZONE time_zone;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN now() AT TIME ZONE 'UTC';
END
$$;

CREATE FUNCTION write_page(f fanouts, after_follower uuid, last_follower uuid, push_lasts interval, email_lasts interval, OUT told integer, OUT channels text[], OUT outcomes text[], OUT counts bigint[]) RETURNS record
    LANGUAGE plpgsql
    AS $$
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

CREATE TABLE announced_fanouts (
    fanout_id uuid NOT NULL,
    announced_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE blocks (
    channel_id uuid NOT NULL,
    user_id uuid NOT NULL,
    blocked_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE dead_deliveries (
    delivery_id bigint NOT NULL,
    channel text NOT NULL,
    lane text NOT NULL,
    source_id uuid NOT NULL,
    message_id uuid NOT NULL,
    user_id uuid NOT NULL,
    destination_id uuid NOT NULL,
    provider text NOT NULL,
    attempts smallint NOT NULL,
    content jsonb,
    reason text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    died_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE deliveries (
    delivery_id bigint NOT NULL,
    queue_id bigint NOT NULL,
    message_id uuid NOT NULL,
    user_id uuid NOT NULL,
    destination_id uuid NOT NULL,
    provider text NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    lease uuid,
    content jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='5000');

COMMENT ON COLUMN deliveries.message_id IS 'The same in every attempt, so that a receiver can tell a repetition: the notice, or the event.';

COMMENT ON COLUMN deliveries.due_at IS 'Not before; while leased, when the lease runs out.';

COMMENT ON COLUMN deliveries.content IS 'What to send, where that does not follow from the message id.';

ALTER TABLE deliveries ALTER COLUMN delivery_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME deliveries_delivery_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE delivery_queues (
    queue_id bigint NOT NULL,
    channel text NOT NULL,
    lane text NOT NULL,
    source_id uuid NOT NULL,
    served_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT delivery_queues_channel_check CHECK ((channel = ANY (ARRAY['webpush'::text, 'email'::text, 'webhook'::text]))),
    CONSTRAINT delivery_queues_lane_check CHECK ((lane = ANY (ARRAY['transactional'::text, 'bulk'::text])))
);

COMMENT ON COLUMN delivery_queues.source_id IS 'The fan-out, or the webhook endpoint, or the person that these deliveries are of.';

ALTER TABLE delivery_queues ALTER COLUMN queue_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME delivery_queues_queue_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE destinations (
    destination_id uuid NOT NULL,
    user_id uuid NOT NULL,
    channel text NOT NULL,
    provider text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT destinations_channel_check CHECK ((channel = ANY (ARRAY['webpush'::text, 'email'::text, 'webhook'::text])))
);

COMMENT ON COLUMN destinations.provider IS 'Who takes it from us, host and port: what is paused when it asks for that, or when it fails.';

CREATE TABLE erasures (
    user_id uuid NOT NULL,
    deleted_at timestamp with time zone NOT NULL,
    noted_at timestamp with time zone DEFAULT now() NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    lease uuid,
    erased_at timestamp with time zone,
    settled_at timestamp with time zone
);

COMMENT ON COLUMN erasures.due_at IS 'Not before; while leased, when the lease runs out.';

COMMENT ON COLUMN erasures.erased_at IS 'When nothing was left.';

COMMENT ON COLUMN erasures.settled_at IS 'When nothing was left once more.';

CREATE TABLE fanout_outcomes (
    fanout_id uuid NOT NULL,
    channel text NOT NULL,
    outcome text NOT NULL,
    recipients bigint NOT NULL
);

COMMENT ON COLUMN fanout_outcomes.channel IS 'inbox, webpush, email';

COMMENT ON COLUMN fanout_outcomes.outcome IS 'inbox: told. webpush, email: queued, then delivered, gone, refused, expired, dropped; quiet, capped: not queued.';

CREATE TABLE fanout_pages (
    fanout_id uuid NOT NULL,
    page_number integer NOT NULL,
    done_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    after_follower_id uuid,
    last_follower_id uuid,
    is_held boolean DEFAULT false NOT NULL
);

CREATE TABLE follower_counts (
    channel_id uuid NOT NULL,
    followers bigint NOT NULL,
    want_notices bigint NOT NULL,
    CONSTRAINT follower_counts_followers_check CHECK ((followers >= 0)),
    CONSTRAINT follower_counts_want_notices_check CHECK ((want_notices >= 0))
);

CREATE TABLE follows (
    channel_id uuid NOT NULL,
    follower_id uuid NOT NULL,
    followed_at timestamp with time zone DEFAULT now() NOT NULL,
    muted boolean DEFAULT false NOT NULL,
    is_silent boolean DEFAULT false NOT NULL,
    inbox boolean,
    webpush boolean,
    email boolean,
    recordings boolean,
    categories text[],
    wants_notices boolean GENERATED ALWAYS AS ((NOT (muted OR is_silent))) STORED,
    CONSTRAINT nobody_follows_themselves CHECK ((channel_id <> follower_id))
);

COMMENT ON COLUMN follows.is_silent IS 'The follower wants nothing of anybody at the moment: they have muted everything, or have been away for very long.';

COMMENT ON COLUMN follows.categories IS 'Only streams in one of these categories; null: all.';

CREATE TABLE inbox (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    processed_at timestamp with time zone DEFAULT now() NOT NULL
)
PARTITION BY RANGE (event_id);

CREATE TABLE inbox_default (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    processed_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE inboxes (
    user_id uuid NOT NULL,
    read_through uuid NOT NULL
);

COMMENT ON COLUMN inboxes.read_through IS 'Every notice up to this id is read.';

CREATE TABLE mail_digests (
    user_id uuid NOT NULL,
    digest_day date NOT NULL,
    covers_from timestamp with time zone NOT NULL,
    made_at timestamp with time zone NOT NULL
);

COMMENT ON COLUMN mail_digests.digest_day IS 'A day begins at the person''s digest hour in their time zone.';

CREATE TABLE mail_keys (
    is_only boolean DEFAULT true NOT NULL,
    key bytea NOT NULL,
    CONSTRAINT mail_keys_is_only_check CHECK (is_only),
    CONSTRAINT mail_keys_key_check CHECK ((length(key) = 32))
);

CREATE TABLE mail_requests (
    request_id bigint NOT NULL,
    user_id uuid NOT NULL,
    address_key text NOT NULL,
    requested_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON COLUMN mail_requests.address_key IS 'The address in small letters and without a "+tag": what reaches the same mailbox counts as one.';

ALTER TABLE mail_requests ALTER COLUMN request_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME mail_requests_request_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE mail_verification_tokens (
    token_hash bytea NOT NULL,
    verification_id uuid NOT NULL
);

COMMENT ON COLUMN mail_verification_tokens.token_hash IS 'SHA-256 of the token.';

CREATE TABLE mail_verifications (
    verification_id uuid NOT NULL,
    user_id uuid NOT NULL,
    address text NOT NULL,
    state text NOT NULL,
    requested_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT mail_verifications_address_check CHECK ((length(address) <= 254)),
    CONSTRAINT mail_verifications_state_check CHECK ((state = ANY (ARRAY['requested'::text, 'bounced'::text])))
);

COMMENT ON COLUMN mail_verifications.state IS 'bounced: the address was verified once, and does not exist any more.';

CREATE TABLE mailboxes (
    destination_id uuid NOT NULL,
    user_id uuid NOT NULL,
    address text NOT NULL,
    verified_at timestamp with time zone DEFAULT now() NOT NULL,
    unsubscribed_at timestamp with time zone,
    bounces integer DEFAULT 0 NOT NULL,
    CONSTRAINT mailboxes_address_check CHECK ((length(address) <= 254))
);

COMMENT ON COLUMN mailboxes.unsubscribed_at IS 'Notices that were queued before this are not sent any more.';

COMMENT ON COLUMN mailboxes.bounces IS 'How often in a row the server said that there is no such mailbox.';

CREATE TABLE notices (
    user_id uuid NOT NULL,
    notice_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    read_at timestamp with time zone
)
PARTITION BY RANGE (notice_id);

CREATE TABLE notices_other_months (
    user_id uuid NOT NULL,
    notice_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    read_at timestamp with time zone
);

CREATE TABLE outbox (
    id bigint DEFAULT next_outbox_id() NOT NULL,
    event_id uuid,
    topic text NOT NULL,
    key bytea,
    type text,
    headers jsonb NOT NULL,
    data bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL
)
PARTITION BY RANGE (created_at);

COMMENT ON COLUMN outbox.headers IS 'An object of names and texts; or, where names repeat or bytes are no text, an array of [name, text] and [name, null, base64].';

CREATE TABLE outbox_cursor (
    single boolean DEFAULT true NOT NULL,
    id bigint NOT NULL,
    CONSTRAINT outbox_cursor_single_check CHECK (single)
);

CREATE TABLE outbox_default (
    id bigint DEFAULT next_outbox_id() NOT NULL,
    event_id uuid,
    topic text NOT NULL,
    key bytea,
    type text,
    headers jsonb NOT NULL,
    data bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE SEQUENCE outbox_id
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE people (
    user_id uuid NOT NULL,
    username text NOT NULL,
    active_at timestamp with time zone DEFAULT now() NOT NULL,
    away_since timestamp with time zone,
    renamed_at timestamp with time zone
);

COMMENT ON COLUMN people.renamed_at IS 'Since when they have this name; null: since they registered.';

CREATE TABLE preferences (
    user_id uuid NOT NULL,
    muted boolean DEFAULT false NOT NULL,
    inbox boolean DEFAULT true NOT NULL,
    webpush boolean DEFAULT true NOT NULL,
    email text DEFAULT 'off'::text NOT NULL,
    recordings boolean DEFAULT false NOT NULL,
    time_zone text DEFAULT 'UTC'::text NOT NULL,
    quiet_from time without time zone,
    quiet_until time without time zone,
    daily_notices_max integer,
    digest_hour smallint DEFAULT 8 NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT preferences_daily_notices_max_check CHECK ((daily_notices_max >= 0)),
    CONSTRAINT preferences_digest_hour_check CHECK (((digest_hour >= 0) AND (digest_hour <= 23))),
    CONSTRAINT preferences_email_check CHECK ((email = ANY (ARRAY['off'::text, 'each'::text, 'digest'::text]))),
    CONSTRAINT quiet_hours_have_both_ends CHECK (((quiet_from IS NULL) = (quiet_until IS NULL)))
);

COMMENT ON COLUMN preferences.daily_notices_max IS 'Pushed and mailed notices in a day of the time zone; more of them are in the inbox alone.';

CREATE TABLE providers (
    channel text NOT NULL,
    provider text NOT NULL,
    paused_until timestamp with time zone NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    reason text NOT NULL
);

COMMENT ON COLUMN providers.failures IS 'How often in a row it was left alone because it failed; 0: it asked for the pause.';

CREATE TABLE push_subscriptions (
    destination_id uuid NOT NULL,
    user_id uuid NOT NULL,
    endpoint text NOT NULL,
    p256dh bytea NOT NULL,
    auth bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    renewed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT push_subscriptions_auth_check CHECK ((octet_length(auth) = 16)),
    CONSTRAINT push_subscriptions_endpoint_check CHECK ((length(endpoint) <= 2000)),
    CONSTRAINT push_subscriptions_p256dh_check CHECK ((octet_length(p256dh) = 65))
);

COMMENT ON TABLE push_subscriptions IS 'An endpoint lets whoever knows it address the browser: never shown again, never logged.';

COMMENT ON COLUMN push_subscriptions.renewed_at IS 'When the browser last gave it to us.';

CREATE TABLE webhook_attempts (
    endpoint_id uuid NOT NULL,
    message_id uuid NOT NULL,
    attempted_at timestamp with time zone NOT NULL,
    seconds real NOT NULL,
    status smallint,
    error text,
    excerpt text
);

COMMENT ON COLUMN webhook_attempts.status IS 'The status of the answer; null: there was none.';

COMMENT ON COLUMN webhook_attempts.excerpt IS 'The beginning of the answer, at most 1 KiB.';

CREATE TABLE webhook_endpoints (
    endpoint_id uuid NOT NULL,
    user_id uuid NOT NULL,
    description text NOT NULL,
    preset text,
    events text[] NOT NULL,
    url_sealed text NOT NULL,
    url_shown text NOT NULL,
    authorization_sealed text,
    secret_sealed text NOT NULL,
    former_secret_sealed text,
    former_secret_until timestamp with time zone,
    failing_since timestamp with time zone,
    disabled_at timestamp with time zone,
    disabled_because text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT disabled_for_a_reason CHECK (((disabled_at IS NULL) = (disabled_because IS NULL))),
    CONSTRAINT former_secret_has_an_end CHECK (((former_secret_sealed IS NULL) = (former_secret_until IS NULL))),
    CONSTRAINT webhook_endpoints_events_check CHECK ((cardinality(events) > 0)),
    CONSTRAINT webhook_endpoints_preset_check CHECK ((preset = ANY (ARRAY['discord'::text, 'slack'::text, 'telegram'::text, 'matrix'::text])))
);

COMMENT ON COLUMN webhook_endpoints.user_id IS 'The owner, who is also the channel whose events are posted.';

COMMENT ON COLUMN webhook_endpoints.events IS 'Patterns such as stream.*, or whole types.';

COMMENT ON COLUMN webhook_endpoints.url_sealed IS 'A compact JWE (dir, A256GCM) under LIVESTREAM_NOTIFY_SEALING_SECRET, like all that is sealed here: chat services put their secret into the URL.';

COMMENT ON COLUMN webhook_endpoints.url_shown IS 'The URL as its owner is shown it: host and a masked tail.';

COMMENT ON COLUMN webhook_endpoints.former_secret_sealed IS 'The secret before the last rotation; signs beside the new one until former_secret_until.';

COMMENT ON COLUMN webhook_endpoints.failing_since IS 'The first failed attempt since the last delivered message; null: the last attempt was delivered, or there was none.';

CREATE TABLE webhook_messages (
    endpoint_id uuid NOT NULL,
    message_id uuid NOT NULL,
    type text NOT NULL,
    body text NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    reason text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    settled_at timestamp with time zone,
    CONSTRAINT webhook_messages_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'delivered'::text, 'failed'::text])))
)
WITH (fillfactor='80');

COMMENT ON COLUMN webhook_messages.message_id IS 'The event''s id, a UUIDv7: webhook-id in every attempt, and the order of the log.';

COMMENT ON COLUMN webhook_messages.reason IS 'Why the last attempt failed, or why there is none.';

CREATE VIEW wishes AS
 SELECT f.channel_id,
    f.follower_id,
    f.followed_at,
    (f.wants_notices AND (NOT COALESCE(p.muted, false))) AS wants_notices,
    f.categories,
    COALESCE(f.recordings, p.recordings, false) AS recordings,
    COALESCE(f.inbox, p.inbox, true) AS inbox,
    COALESCE(f.webpush, p.webpush, true) AS webpush,
        CASE p.email
            WHEN 'digest'::text THEN false
            WHEN 'each'::text THEN COALESCE(f.email, true)
            ELSE COALESCE(f.email, false)
        END AS email_each,
    p.time_zone,
    p.quiet_from,
    p.quiet_until,
    p.daily_notices_max
   FROM (follows f
     LEFT JOIN preferences p ON ((p.user_id = f.follower_id)));

ALTER TABLE ONLY inbox ATTACH PARTITION inbox_default DEFAULT;

ALTER TABLE ONLY notices ATTACH PARTITION notices_other_months DEFAULT;

ALTER TABLE ONLY outbox ATTACH PARTITION outbox_default DEFAULT;

ALTER TABLE ONLY announced_fanouts
    ADD CONSTRAINT announced_fanouts_pkey PRIMARY KEY (fanout_id);

ALTER TABLE ONLY blocks
    ADD CONSTRAINT blocks_pkey PRIMARY KEY (channel_id, user_id);

ALTER TABLE ONLY dead_deliveries
    ADD CONSTRAINT dead_deliveries_pkey PRIMARY KEY (delivery_id);

ALTER TABLE ONLY deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (delivery_id);

ALTER TABLE ONLY delivery_queues
    ADD CONSTRAINT delivery_queues_channel_lane_source_id_key UNIQUE (channel, lane, source_id);

ALTER TABLE ONLY delivery_queues
    ADD CONSTRAINT delivery_queues_pkey PRIMARY KEY (queue_id);

ALTER TABLE ONLY destinations
    ADD CONSTRAINT destinations_pkey PRIMARY KEY (destination_id);

ALTER TABLE ONLY erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY fanout_outcomes
    ADD CONSTRAINT fanout_outcomes_pkey PRIMARY KEY (fanout_id, channel, outcome);

ALTER TABLE ONLY fanout_pages
    ADD CONSTRAINT fanout_pages_pkey PRIMARY KEY (fanout_id, page_number);

ALTER TABLE ONLY fanouts
    ADD CONSTRAINT fanouts_pkey PRIMARY KEY (fanout_id);

ALTER TABLE ONLY follower_counts
    ADD CONSTRAINT follower_counts_pkey PRIMARY KEY (channel_id);

ALTER TABLE ONLY follows
    ADD CONSTRAINT follows_pkey PRIMARY KEY (channel_id, follower_id);

ALTER TABLE ONLY inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY inbox_default
    ADD CONSTRAINT inbox_default_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY inboxes
    ADD CONSTRAINT inboxes_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY mail_digests
    ADD CONSTRAINT mail_digests_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY mail_keys
    ADD CONSTRAINT mail_keys_pkey PRIMARY KEY (is_only);

ALTER TABLE ONLY mail_requests
    ADD CONSTRAINT mail_requests_pkey PRIMARY KEY (request_id);

ALTER TABLE ONLY mail_verification_tokens
    ADD CONSTRAINT mail_verification_tokens_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY mail_verifications
    ADD CONSTRAINT mail_verifications_pkey PRIMARY KEY (verification_id);

ALTER TABLE ONLY mail_verifications
    ADD CONSTRAINT mail_verifications_user_id_key UNIQUE (user_id);

ALTER TABLE ONLY mailboxes
    ADD CONSTRAINT mailboxes_pkey PRIMARY KEY (destination_id);

ALTER TABLE ONLY mailboxes
    ADD CONSTRAINT mailboxes_user_id_key UNIQUE (user_id);

ALTER TABLE ONLY notices
    ADD CONSTRAINT notices_pkey PRIMARY KEY (user_id, notice_id);

ALTER TABLE ONLY notices_other_months
    ADD CONSTRAINT notices_other_months_pkey PRIMARY KEY (user_id, notice_id);

ALTER TABLE ONLY outbox_cursor
    ADD CONSTRAINT outbox_cursor_pkey PRIMARY KEY (single);

ALTER TABLE ONLY people
    ADD CONSTRAINT people_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY preferences
    ADD CONSTRAINT preferences_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY providers
    ADD CONSTRAINT providers_pkey PRIMARY KEY (channel, provider);

ALTER TABLE ONLY push_subscriptions
    ADD CONSTRAINT push_subscriptions_endpoint_key UNIQUE (endpoint);

ALTER TABLE ONLY push_subscriptions
    ADD CONSTRAINT push_subscriptions_pkey PRIMARY KEY (destination_id);

ALTER TABLE ONLY webhook_attempts
    ADD CONSTRAINT webhook_attempts_pkey PRIMARY KEY (endpoint_id, message_id, attempted_at);

ALTER TABLE ONLY webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (endpoint_id);

ALTER TABLE ONLY webhook_messages
    ADD CONSTRAINT webhook_messages_pkey PRIMARY KEY (endpoint_id, message_id);

CREATE INDEX blocks_newest_first ON blocks USING btree (channel_id, blocked_at DESC, user_id DESC);

CREATE INDEX dead_deliveries_by_age ON dead_deliveries USING btree (died_at, delivery_id);

CREATE INDEX deliveries_due ON deliveries USING btree (queue_id, provider, due_at);

CREATE INDEX delivery_queues_in_turn ON delivery_queues USING btree (channel, lane, served_at, queue_id);

CREATE INDEX destinations_of_user ON destinations USING btree (user_id, channel);

CREATE INDEX erasures_open ON erasures USING btree (due_at) WHERE (settled_at IS NULL);

CREATE INDEX fanouts_of_channel ON fanouts USING btree (channel_id, started_at DESC);

CREATE INDEX fanouts_of_stream ON fanouts USING btree (stream_id);

CREATE INDEX fanouts_running ON fanouts USING btree (channel_id, fanout_id) WHERE (state = 'running'::text);

CREATE INDEX follows_by_follower ON follows USING btree (follower_id);

CREATE INDEX follows_newest_first ON follows USING btree (channel_id, followed_at DESC, follower_id DESC);

CREATE INDEX mail_requests_of_user ON mail_requests USING btree (user_id, requested_at);

CREATE INDEX mail_requests_old ON mail_requests USING btree (requested_at);

CREATE INDEX mail_requests_to_address ON mail_requests USING btree (address_key, requested_at);

CREATE INDEX mail_verification_tokens_of ON mail_verification_tokens USING btree (verification_id);

CREATE INDEX mail_verifications_expired ON mail_verifications USING btree (expires_at);

CREATE INDEX outbox_order ON ONLY outbox USING btree (id);

CREATE INDEX outbox_default_id_idx ON outbox_default USING btree (id);

CREATE INDEX people_by_activity ON people USING btree (active_at, user_id) WHERE (away_since IS NULL);

CREATE INDEX preferences_digest ON preferences USING btree (time_zone, digest_hour, user_id) WHERE (email = 'digest'::text);

CREATE INDEX push_subscriptions_of_user ON push_subscriptions USING btree (user_id, created_at);

CREATE INDEX webhook_endpoints_of_user ON webhook_endpoints USING btree (user_id, endpoint_id);

CREATE INDEX webhook_messages_by_age ON webhook_messages USING btree (created_at);

CREATE INDEX webhook_messages_undelivered ON webhook_messages USING btree (endpoint_id, state, message_id) WHERE (state <> 'delivered'::text);

ALTER INDEX inbox_pkey ATTACH PARTITION inbox_default_pkey;

ALTER INDEX notices_pkey ATTACH PARTITION notices_other_months_pkey;

ALTER INDEX outbox_order ATTACH PARTITION outbox_default_id_idx;

CREATE TRIGGER erase_again AFTER INSERT ON fanouts FOR EACH ROW EXECUTE FUNCTION erase_again();

CREATE TRIGGER follows_changed AFTER UPDATE ON follows REFERENCING OLD TABLE AS gone NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION count_follows();

CREATE TRIGGER follows_gone AFTER DELETE ON follows REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_follows();

CREATE TRIGGER follows_made AFTER INSERT ON follows REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION count_follows();

CREATE TRIGGER skip_deleted BEFORE INSERT ON blocks FOR EACH ROW EXECUTE FUNCTION skip_deleted_block();

CREATE TRIGGER skip_deleted BEFORE INSERT ON destinations FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

CREATE TRIGGER skip_deleted BEFORE INSERT ON follows FOR EACH ROW EXECUTE FUNCTION skip_deleted_follow();

CREATE TRIGGER skip_deleted BEFORE INSERT ON inboxes FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

CREATE TRIGGER skip_deleted BEFORE INSERT ON mail_digests FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

CREATE TRIGGER skip_deleted BEFORE INSERT ON mail_requests FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

CREATE TRIGGER skip_deleted BEFORE INSERT ON mailboxes FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

CREATE TRIGGER skip_deleted BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

CREATE TRIGGER skip_deleted BEFORE INSERT ON preferences FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

CREATE TRIGGER skip_deleted BEFORE INSERT ON push_subscriptions FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

CREATE TRIGGER skip_deleted BEFORE INSERT ON webhook_endpoints FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

ALTER TABLE ONLY deliveries
    ADD CONSTRAINT deliveries_queue_id_fkey FOREIGN KEY (queue_id) REFERENCES delivery_queues(queue_id);

ALTER TABLE ONLY fanout_outcomes
    ADD CONSTRAINT fanout_outcomes_fanout_id_fkey FOREIGN KEY (fanout_id) REFERENCES fanouts(fanout_id) ON DELETE CASCADE;

ALTER TABLE ONLY follows
    ADD CONSTRAINT follows_follower_id_fkey FOREIGN KEY (follower_id) REFERENCES people(user_id);

ALTER TABLE ONLY mail_verification_tokens
    ADD CONSTRAINT mail_verification_tokens_verification_id_fkey FOREIGN KEY (verification_id) REFERENCES mail_verifications(verification_id) ON DELETE CASCADE;

ALTER TABLE ONLY mailboxes
    ADD CONSTRAINT mailboxes_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES destinations(destination_id) ON DELETE CASCADE;

ALTER TABLE ONLY push_subscriptions
    ADD CONSTRAINT push_subscriptions_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES destinations(destination_id) ON DELETE CASCADE;

ALTER TABLE ONLY webhook_attempts
    ADD CONSTRAINT webhook_attempts_endpoint_id_message_id_fkey FOREIGN KEY (endpoint_id, message_id) REFERENCES webhook_messages(endpoint_id, message_id) ON DELETE CASCADE;

ALTER TABLE ONLY webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES destinations(destination_id) ON DELETE CASCADE;
