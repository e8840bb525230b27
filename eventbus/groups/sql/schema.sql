-- Generated from the migrations by `livestream generate`; read it, do not edit it.
-- Tables of the bus (outbox, inbox, …) come from eventbus/sql/migrations; partitions of dates are left out.

CREATE FUNCTION claim_partitions(member bigint, wanted_topics text[], wanted_partitions integer[]) RETURNS TABLE(claimed_topic text, claimed_partition integer, claimed_offset bigint)
    LANGUAGE plpgsql
    AS $$
DECLARE
    of_group text := (SELECT m.group_name FROM group_member AS m WHERE m.member_id = member);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('livestream-group:' || of_group, 0));
    DELETE FROM group_member AS m
    WHERE m.group_name = of_group AND m.member_id <> member
      AND NOT member_lives(m.session_key, m.seen_at, m.silence_max);
    RETURN QUERY
        INSERT INTO group_cursor AS c (group_name, topic, partition, next_offset, owner)
        SELECT m.group_name, wanted.topic, wanted.partition, 0, member
        FROM group_member AS m, unnest(wanted_topics, wanted_partitions) AS wanted (topic, partition)
        WHERE m.member_id = member
        ON CONFLICT (group_name, topic, partition) DO UPDATE SET owner = excluded.owner
            WHERE c.owner IS NULL OR c.owner = excluded.owner
               OR NOT EXISTS (SELECT FROM group_member AS holder WHERE holder.member_id = c.owner)
        RETURNING c.topic, c.partition, c.next_offset;
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

CREATE FUNCTION forget_group(forgotten text) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    cursors integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('livestream-group:' || forgotten, 0));
    IF EXISTS (
        SELECT FROM group_member AS m
        WHERE m.group_name = forgotten AND member_lives(m.session_key, m.seen_at, m.silence_max)
    ) THEN
        RETURN -1;
    END IF;
    DELETE FROM group_member WHERE group_name = forgotten;
    DELETE FROM group_cursor WHERE group_name = forgotten;
    GET DIAGNOSTICS cursors = ROW_COUNT;
    RETURN cursors;
END
$$;

CREATE FUNCTION join_group(joined_group text, joined_topics text[], key integer, silence interval) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    joined bigint := nextval('member_id');
    carried_by text := (SELECT c.backend FROM carrier AS c FOR SHARE);
BEGIN
    IF carried_by <> 'postgres' THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'the events are no longer on Postgres: ' || carried_by;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('livestream-group:' || joined_group, 0));
    INSERT INTO group_member (member_id, group_name, topics, session_key, silence_max)
    VALUES (joined, joined_group, joined_topics, key, silence);
    RETURN joined;
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

CREATE FUNCTION member_lives(key integer, seen_at timestamp with time zone, silence_max interval) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT seen_at > clock_timestamp() - silence_max AND EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND classid = 1279874932 AND objid = key::oid AND objsubid = 2
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
$$;

CREATE FUNCTION next_outbox_id() RETURNS bigint
    LANGUAGE plpgsql
    AS $$
        BEGIN
            PERFORM pg_current_xact_id();
            RETURN nextval('outbox_id');
        END
        $$;

CREATE FUNCTION uuid7_floor(moment timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

CREATE TABLE carrier (
    single boolean DEFAULT true NOT NULL,
    backend text NOT NULL,
    unmoved text[] DEFAULT '{}'::text[] NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT carrier_backend_check CHECK ((backend = ANY (ARRAY['postgres'::text, 'moving'::text, 'kafka'::text]))),
    CONSTRAINT carrier_single_check CHECK (single)
);

CREATE TABLE group_cursor (
    group_name text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    owner bigint,
    moved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
WITH (fillfactor='70');

CREATE UNLOGGED TABLE group_member (
    member_id bigint NOT NULL,
    group_name text NOT NULL,
    topics text[] NOT NULL,
    session_key integer NOT NULL,
    silence_max interval NOT NULL,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

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

CREATE SEQUENCE member_id
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

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

CREATE SEQUENCE session_key
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
    CYCLE;

ALTER TABLE ONLY inbox ATTACH PARTITION inbox_default DEFAULT;

ALTER TABLE ONLY outbox ATTACH PARTITION outbox_default DEFAULT;

ALTER TABLE ONLY carrier
    ADD CONSTRAINT carrier_pkey PRIMARY KEY (single);

ALTER TABLE ONLY group_cursor
    ADD CONSTRAINT group_cursor_pkey PRIMARY KEY (group_name, topic, partition);

ALTER TABLE ONLY group_member
    ADD CONSTRAINT group_member_pkey PRIMARY KEY (member_id);

ALTER TABLE ONLY inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY inbox_default
    ADD CONSTRAINT inbox_default_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY outbox_cursor
    ADD CONSTRAINT outbox_cursor_pkey PRIMARY KEY (single);

CREATE INDEX outbox_order ON ONLY outbox USING btree (id);

CREATE INDEX outbox_default_id_idx ON outbox_default USING btree (id);

ALTER INDEX inbox_pkey ATTACH PARTITION inbox_default_pkey;

ALTER INDEX outbox_order ATTACH PARTITION outbox_default_id_idx;
