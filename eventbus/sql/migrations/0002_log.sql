-- The outbox as a log that consumers read: records that are no events of the contract, and partitions that stay.

-- Dead letters and replayed messages are kept as they came: without a key, a value, an id or a type of ours.
ALTER TABLE outbox ALTER COLUMN event_id DROP NOT NULL;
ALTER TABLE outbox ALTER COLUMN type DROP NOT NULL;
ALTER TABLE outbox ALTER COLUMN key DROP NOT NULL;
ALTER TABLE outbox ALTER COLUMN data DROP NOT NULL;

-- The bus appends to outboxes of other schemas than its own: the function must take the id from its own schema's
-- sequence, whatever the search path of the caller.
DO $migration$
BEGIN
    EXECUTE format(
        $format$
        CREATE OR REPLACE FUNCTION next_outbox_id() RETURNS bigint
        LANGUAGE plpgsql
        AS $$
        BEGIN
            PERFORM pg_current_xact_id();
            RETURN nextval(%L);
        END
        $$
        $format$,
        format('%I.outbox_id', current_schema())
    );
END
$migration$;

COMMENT ON COLUMN outbox.headers IS
    'An object of names and texts; or, where names repeat or bytes are no text, an array of [name, text] and [name, null, base64].';

-- Drops outbox partitions that ended `outbox_keep` ago and hold no id above `done_id`.
CREATE FUNCTION drop_outbox_partitions(outbox_keep interval, done_id bigint) RETURNS integer
LANGUAGE plpgsql
AS $$
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
$$;
