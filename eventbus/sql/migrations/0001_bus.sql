-- The outbox of a service, the relay's cursor on it, and the inbox that makes handlers take effect once.

CREATE SEQUENCE outbox_id AS bigint NO CYCLE;

-- The transaction has its own id before the event has one. So whoever sees an event knows that all smaller event ids
-- belong to transactions that began before: this is what lets the relay tell a gap that will be filled from one that
-- will not.
CREATE FUNCTION next_outbox_id() RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_current_xact_id();
    RETURN nextval('outbox_id');
END
$$;

-- Append-only, published in the order of the ids. A transaction that locks what it changes before it says so has a
-- greater id than whoever held the lock before: ids keep the order of an aggregate, which transaction ids do not.
-- No status column: publishing writes the cursor alone.
CREATE TABLE outbox (
    id bigint NOT NULL DEFAULT next_outbox_id(),
    event_id uuid NOT NULL,
    topic text NOT NULL,
    key bytea NOT NULL,
    type text NOT NULL,
    headers jsonb NOT NULL,
    data bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (created_at);

-- Serves: read_unpublished, the relay's next batch.
CREATE INDEX outbox_order ON outbox (id);

-- An append never fails for want of a partition.
CREATE TABLE outbox_default PARTITION OF outbox DEFAULT;

CREATE TABLE outbox_cursor (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    id bigint NOT NULL
);
INSERT INTO outbox_cursor (id) VALUES (0);

-- Partitioned by the event id, which is a UUIDv7 and therefore a time, so that the key can be unique over all of it.
CREATE TABLE inbox (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
) PARTITION BY RANGE (event_id);

CREATE TABLE inbox_default PARTITION OF inbox DEFAULT;

-- The smallest UUIDv7 of a moment (RFC 9562 section 5.7: 48 bits of Unix milliseconds first).
CREATE FUNCTION uuid7_floor(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

-- Makes the daily outbox partitions from today on and the weekly inbox partitions from this week on.
-- A partition whose rows already lie in the default one cannot be made; they are cleared from there instead.
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

-- Drops outbox partitions that ended `outbox_keep` ago and lie wholly behind the cursor.
CREATE FUNCTION drop_published_outbox_partitions(outbox_keep interval) RETURNS integer
LANGUAGE plpgsql
AS $$
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
$$;

-- Drops inbox partitions of events that are older than `inbox_keep`.
CREATE FUNCTION drop_old_inbox_partitions(inbox_keep interval) RETURNS integer
LANGUAGE plpgsql
AS $$
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
$$;
