-- Generated from the migrations by `livestream generate`; read it, do not edit it.
-- Tables of the bus (outbox, inbox, …) come from eventbus/sql/migrations; partitions of dates are left out.

CREATE FUNCTION drop_audit_months(ended_before timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql
    AS $_$
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
$_$;

CREATE FUNCTION drop_message_months(ended_before timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql
    AS $_$
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
$_$;

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

CREATE FUNCTION erase_called_name(erased uuid, rows_max integer) RETURNS integer
    LANGUAGE plpgsql
    AS $_$
DECLARE
    called text := (SELECT '@' || username FROM people WHERE user_id = erased AND username ~ '^\w+$');
    gone   integer;
BEGIN
    UPDATE messages m
       SET text = regexp_replace(m.text, called || '\M', '@', 'gi'), particulars = without_person(m.particulars, erased)
      FROM (SELECT f.channel_id, f.message_id FROM messages f
             WHERE (to_tsvector('simple', f.text) || array_to_tsvector(ARRAY['#' || f.channel_id::text]))
                   @@ plainto_tsquery('simple', called)
               AND f.deleted_at IS NULL AND f.text ~* (called || '\M')
             LIMIT rows_max) AS found
     WHERE m.channel_id = found.channel_id AND m.message_id = found.message_id;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$_$;

CREATE FUNCTION erase_from_messages(erased uuid, room uuid, after_id uuid, rows_max integer) RETURNS uuid
    LANGUAGE plpgsql
    AS $$
DECLARE
    last_id uuid;
BEGIN
    SELECT message_id INTO last_id FROM (
        SELECT message_id FROM messages WHERE channel_id = room AND message_id > after_id ORDER BY message_id LIMIT rows_max
    ) AS seen ORDER BY message_id DESC LIMIT 1;
    UPDATE messages
       SET particulars = without_person(particulars, erased),
           deleted_by = CASE WHEN deleted_by = erased THEN '00000000-0000-0000-0000-000000000000' ELSE deleted_by END
     WHERE channel_id = room AND message_id > after_id AND message_id <= last_id
       AND (deleted_by = erased OR strpos(particulars::text, erased::text) > 0);
    RETURN last_id;
END
$$;

CREATE FUNCTION erase_from_rooms(erased uuid, some_rooms uuid[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    DELETE FROM bans WHERE channel_id = ANY (some_rooms) AND user_id = erased;
    UPDATE bans SET banned_by = nobody WHERE channel_id = ANY (some_rooms) AND banned_by = erased;
    DELETE FROM moderators WHERE channel_id = ANY (some_rooms) AND user_id = erased;
    UPDATE moderators SET added_by = nobody WHERE channel_id = ANY (some_rooms) AND added_by = erased;
    DELETE FROM followers WHERE channel_id = ANY (some_rooms) AND user_id = erased;
    DELETE FROM subscribers WHERE channel_id = ANY (some_rooms) AND user_id = erased;
    DELETE FROM held_messages WHERE channel_id = ANY (some_rooms) AND user_id = erased;
    UPDATE held_messages SET decided_by = nobody WHERE channel_id = ANY (some_rooms) AND decided_by = erased;
    UPDATE blocked_terms SET added_by = nobody WHERE channel_id = ANY (some_rooms) AND added_by = erased;
    UPDATE emotes SET added_by = nobody WHERE channel_id = ANY (some_rooms) AND added_by = erased;
    UPDATE polls SET started_by = nobody WHERE channel_id = ANY (some_rooms) AND started_by = erased;
    DELETE FROM poll_votes v USING polls p
     WHERE p.channel_id = ANY (some_rooms) AND v.poll_id = p.poll_id AND v.user_id = erased;
    WITH unpinned AS (
        DELETE FROM pins WHERE channel_id = ANY (some_rooms) AND strpos(said::text, erased::text) > 0 RETURNING channel_id
    )
    UPDATE rooms SET version = version + 1 WHERE channel_id IN (SELECT channel_id FROM unpinned);
    UPDATE pins SET pinned_by = nobody WHERE channel_id = ANY (some_rooms) AND pinned_by = erased;
    DELETE FROM log_deletions WHERE channel_id = ANY (some_rooms) AND user_id = erased;
    UPDATE log_deletions SET deleted_by = nobody WHERE channel_id = ANY (some_rooms) AND deleted_by = erased;
    UPDATE audit_log SET actor_id = nobody, actor_name = '' WHERE channel_id = ANY (some_rooms) AND actor_id = erased;
    UPDATE audit_log SET target_id = nobody, target_name = NULL WHERE channel_id = ANY (some_rooms) AND target_id = erased;
END
$$;

CREATE FUNCTION erase_room(erased uuid, rows_max integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    gone integer := 0;
BEGIN
    UPDATE rooms SET channel_name = NULL, version = version + 1 WHERE channel_id = erased AND channel_name IS NOT NULL;
    IF NOT is_log_held(erased) THEN
        DELETE FROM messages WHERE channel_id = erased AND message_id = ANY (ARRAY (
            SELECT message_id FROM messages WHERE channel_id = erased LIMIT rows_max));
        GET DIAGNOSTICS gone = ROW_COUNT;
    END IF;
    IF gone = 0 THEN
        DELETE FROM audit_log WHERE channel_id = erased AND audit_id = ANY (ARRAY (
            SELECT audit_id FROM audit_log WHERE channel_id = erased LIMIT rows_max));
        GET DIAGNOSTICS gone = ROW_COUNT;
    END IF;
    IF gone = 0 THEN
        DELETE FROM followers WHERE channel_id = erased AND user_id = ANY (ARRAY (
            SELECT user_id FROM followers WHERE channel_id = erased LIMIT rows_max));
        GET DIAGNOSTICS gone = ROW_COUNT;
    END IF;
    IF gone > 0 THEN
        RETURN gone;
    END IF;
    UPDATE emotes SET state = 'removing', state_since = now() WHERE channel_id = erased AND state = 'ready';
    DELETE FROM polls WHERE channel_id = erased;
    DELETE FROM pins WHERE channel_id = erased;
    DELETE FROM bans WHERE channel_id = erased;
    DELETE FROM moderators WHERE channel_id = erased;
    DELETE FROM blocked_terms WHERE channel_id = erased;
    DELETE FROM held_messages WHERE channel_id = erased;
    DELETE FROM subscribers WHERE channel_id = erased;
    DELETE FROM untold_entries WHERE channel_id = erased;
    DELETE FROM log_tails WHERE channel_id = erased;
    DELETE FROM replays WHERE channel_id = erased;
    DELETE FROM log_deletions WHERE channel_id = erased;
    DELETE FROM rooms r WHERE r.channel_id = erased AND NOT EXISTS (SELECT FROM emotes e WHERE e.channel_id = erased);
    RETURN 0;
END
$$;

CREATE FUNCTION is_log_held(room uuid) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT EXISTS (SELECT FROM log_holds h WHERE h.released_at IS NULL AND (h.channel_id IS NULL OR h.channel_id = room))
$$;

CREATE FUNCTION is_taken_back(room uuid, message uuid, person uuid, said_at timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT EXISTS (
        SELECT FROM log_deletions d
         WHERE d.channel_id = room AND d.applied_at IS NULL
           AND (d.message_id = message
                OR (d.message_id IS NULL AND (d.user_id IS NULL OR d.user_id = person)
                    AND said_at >= d.since AND said_at < d.before)))
$$;

CREATE FUNCTION make_audit_months(months_ahead integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    month     timestamp;
    partition text;
    made      integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('make_audit_months', 0));
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

CREATE FUNCTION make_message_months(months_ahead integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    month     timestamp;
    partition text;
    made      integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('make_message_months', 0));
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

CREATE FUNCTION next_outbox_id() RETURNS bigint
    LANGUAGE plpgsql
    AS $$
        BEGIN
            PERFORM pg_current_xact_id();
            RETURN nextval('outbox_id');
        END
        $$;

CREATE FUNCTION skip_deleted_channel() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'chat'
    AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE user_id = NEW.channel_id) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION skip_deleted_either() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'chat'
    AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE user_id IN (NEW.user_id, NEW.channel_id)) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION skip_deleted_user() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'chat'
    AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE user_id = NEW.user_id) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION uuid7_floor(moment timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

CREATE FUNCTION without_person(particulars jsonb, person uuid) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT CASE WHEN jsonb_typeof(named -> 'mentions') = 'array' THEN jsonb_set(named, '{mentions}', (
               SELECT coalesce(jsonb_agg(one), '[]') FROM jsonb_array_elements(named -> 'mentions') AS one
                WHERE one ->> 'user_id' IS DISTINCT FROM person::text)) ELSE named END
      FROM (SELECT CASE WHEN particulars #>> '{reply_to,user_id}' = person::text THEN particulars - 'reply_to'
                        ELSE particulars END AS named) AS answered
$$;

CREATE TABLE audit_log (
    channel_id uuid NOT NULL,
    audit_id uuid NOT NULL,
    actor_id uuid NOT NULL,
    actor_name text NOT NULL,
    action text NOT NULL,
    target_id uuid,
    target_name text,
    message_id uuid,
    reason text,
    particulars jsonb DEFAULT '{}'::jsonb NOT NULL,
    acted_at timestamp with time zone DEFAULT now() NOT NULL
)
PARTITION BY RANGE (audit_id);

CREATE TABLE audit_log_other_months (
    channel_id uuid NOT NULL,
    audit_id uuid NOT NULL,
    actor_id uuid NOT NULL,
    actor_name text NOT NULL,
    action text NOT NULL,
    target_id uuid,
    target_name text,
    message_id uuid,
    reason text,
    particulars jsonb DEFAULT '{}'::jsonb NOT NULL,
    acted_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE bans (
    channel_id uuid NOT NULL,
    user_id uuid NOT NULL,
    until timestamp with time zone,
    reason text,
    banned_by uuid NOT NULL,
    banned_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT streamers_are_not_banned CHECK ((channel_id <> user_id))
);

COMMENT ON COLUMN bans.until IS 'The end of a timeout; null: a ban.';

CREATE TABLE blocked_terms (
    term_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    term text NOT NULL,
    folded text NOT NULL,
    hold boolean NOT NULL,
    added_by uuid NOT NULL,
    added_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON COLUMN blocked_terms.term IS 'As a moderator wrote it.';

COMMENT ON COLUMN blocked_terms.folded IS 'As it is compared (chat/moderation/terms.py): two that are the same here are one.';

COMMENT ON COLUMN blocked_terms.hold IS 'Messages with it wait for a moderator; otherwise they are refused.';

CREATE TABLE emotes (
    emote_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    name text NOT NULL,
    state text DEFAULT 'storing'::text NOT NULL,
    content_type text NOT NULL,
    size_bytes integer NOT NULL,
    width_px integer NOT NULL,
    height_px integer NOT NULL,
    animated boolean NOT NULL,
    added_by uuid NOT NULL,
    state_since timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT emotes_state_check CHECK ((state = ANY (ARRAY['storing'::text, 'ready'::text, 'removing'::text])))
);

COMMENT ON COLUMN emotes.state IS 'Its image is being stored, is there, or is to be removed: no image is without a row.';

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

CREATE TABLE followers (
    channel_id uuid NOT NULL,
    user_id uuid NOT NULL,
    followed_at timestamp with time zone,
    left_at timestamp with time zone,
    CONSTRAINT followers_check CHECK (((followed_at IS NOT NULL) OR (left_at IS NOT NULL)))
);

CREATE TABLE held_messages (
    held_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    user_id uuid NOT NULL,
    username text NOT NULL,
    send_id text NOT NULL,
    kind text NOT NULL,
    text text NOT NULL,
    reply_to uuid,
    term text NOT NULL,
    held_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    decision text,
    decided_by uuid,
    decided_at timestamp with time zone,
    CONSTRAINT held_messages_check CHECK (((decision IS NULL) = (decided_at IS NULL))),
    CONSTRAINT held_messages_decision_check CHECK ((decision = ANY (ARRAY['approved'::text, 'denied'::text, 'expired'::text]))),
    CONSTRAINT held_messages_kind_check CHECK ((kind = ANY (ARRAY['message'::text, 'action'::text])))
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

CREATE TABLE irc_passwords (
    password_id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    password_hash bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone,
    CONSTRAINT irc_passwords_password_hash_check CHECK ((octet_length(password_hash) = 32))
);

CREATE TABLE log_deletions (
    deletion_id bigint NOT NULL,
    channel_id uuid NOT NULL,
    message_id uuid,
    user_id uuid,
    since timestamp with time zone NOT NULL,
    before timestamp with time zone NOT NULL,
    deleted_by uuid NOT NULL,
    noted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    applied_at timestamp with time zone,
    CONSTRAINT log_deletions_check CHECK (((message_id IS NULL) OR (user_id IS NULL)))
);

ALTER TABLE log_deletions ALTER COLUMN deletion_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME log_deletions_deletion_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE log_holds (
    hold_id uuid NOT NULL,
    channel_id uuid,
    reason text NOT NULL,
    placed_by text NOT NULL,
    placed_at timestamp with time zone DEFAULT now() NOT NULL,
    released_by text,
    released_at timestamp with time zone,
    CONSTRAINT log_holds_reason_check CHECK ((reason <> ''::text))
);

CREATE TABLE log_tails (
    channel_id uuid NOT NULL,
    epoch text NOT NULL,
    last_offset bigint NOT NULL,
    moved_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE messages (
    channel_id uuid NOT NULL,
    message_id uuid NOT NULL,
    user_id uuid NOT NULL,
    username text NOT NULL,
    text text NOT NULL,
    kind text NOT NULL,
    particulars jsonb DEFAULT '{}'::jsonb NOT NULL,
    epoch text NOT NULL,
    "offset" bigint NOT NULL,
    sent_at timestamp with time zone NOT NULL,
    stream_id uuid,
    deleted_at timestamp with time zone,
    deleted_by uuid,
    CONSTRAINT messages_check CHECK (((deleted_at IS NULL) OR (text = ''::text))),
    CONSTRAINT messages_kind_check CHECK ((kind = ANY (ARRAY['message'::text, 'action'::text, 'announcement'::text, 'system'::text])))
)
PARTITION BY RANGE (message_id);

CREATE TABLE messages_other_months (
    channel_id uuid NOT NULL,
    message_id uuid NOT NULL,
    user_id uuid NOT NULL,
    username text NOT NULL,
    text text NOT NULL,
    kind text NOT NULL,
    particulars jsonb DEFAULT '{}'::jsonb NOT NULL,
    epoch text NOT NULL,
    "offset" bigint NOT NULL,
    sent_at timestamp with time zone NOT NULL,
    stream_id uuid,
    deleted_at timestamp with time zone,
    deleted_by uuid,
    CONSTRAINT messages_check CHECK (((deleted_at IS NULL) OR (text = ''::text))),
    CONSTRAINT messages_kind_check CHECK ((kind = ANY (ARRAY['message'::text, 'action'::text, 'announcement'::text, 'system'::text])))
);

CREATE TABLE moderators (
    channel_id uuid NOT NULL,
    user_id uuid NOT NULL,
    added_by uuid NOT NULL,
    added_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT streamers_are_not_their_moderators CHECK ((channel_id <> user_id))
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
    registered_at timestamp with time zone,
    renamed_at timestamp with time zone
);

COMMENT ON COLUMN people.registered_at IS 'Unknown while only their token was seen.';

COMMENT ON COLUMN people.renamed_at IS 'Since when they have this name; null: since they registered.';

CREATE TABLE pins (
    channel_id uuid NOT NULL,
    message_id uuid NOT NULL,
    said jsonb NOT NULL,
    pinned_by uuid NOT NULL,
    pinned_at timestamp with time zone DEFAULT now() NOT NULL,
    ends_at timestamp with time zone
);

COMMENT ON COLUMN pins.said IS 'The message as it was said (chat/rooms/entries.py).';

CREATE TABLE poll_votes (
    poll_id uuid NOT NULL,
    user_id uuid NOT NULL,
    option smallint NOT NULL,
    voted_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE polls (
    poll_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    question text NOT NULL,
    options text[] NOT NULL,
    started_by uuid NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    told_at timestamp with time zone DEFAULT now() NOT NULL,
    shown boolean DEFAULT true NOT NULL,
    result bigint[],
    CONSTRAINT polls_check CHECK ((shown OR (result IS NOT NULL)))
);

COMMENT ON COLUMN polls.told_at IS 'When gateways were last told that there are new votes.';

COMMENT ON COLUMN polls.shown IS 'Whether the room shows it: while it runs, and for seconds after its end.';

COMMENT ON COLUMN polls.result IS 'Votes for each option, counted once when it is shown no more.';

CREATE TABLE replays (
    stream_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    duration_seconds double precision,
    timeline jsonb DEFAULT '[]'::jsonb NOT NULL,
    visibility text DEFAULT 'public'::text NOT NULL,
    deleted boolean DEFAULT false NOT NULL,
    clip_of uuid,
    clip_from_seconds double precision,
    CONSTRAINT replays_visibility_check CHECK ((visibility = ANY (ARRAY['public'::text, 'unlisted'::text, 'private'::text])))
);

CREATE TABLE rooms (
    channel_id uuid NOT NULL,
    channel_name text,
    stream_id uuid,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    live_stream_id uuid GENERATED ALWAYS AS (
CASE
    WHEN (ended_at IS NULL) THEN stream_id
    ELSE NULL::uuid
END) STORED,
    version bigint DEFAULT 0 NOT NULL,
    rules jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT rooms_check CHECK (((stream_id IS NULL) = (started_at IS NULL))),
    CONSTRAINT rooms_check1 CHECK (((ended_at IS NULL) OR (stream_id IS NOT NULL)))
);

COMMENT ON COLUMN rooms.rules IS 'What differs from the defaults of chat/speaking/rules.py.';

CREATE TABLE subscribers (
    channel_id uuid NOT NULL,
    user_id uuid NOT NULL,
    subscribed_until timestamp with time zone NOT NULL
);

CREATE TABLE untold_entries (
    entry_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    message_id text NOT NULL,
    body text NOT NULL,
    spooled boolean NOT NULL,
    noted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

COMMENT ON COLUMN untold_entries.message_id IS 'Under which it is published: the same again is published once.';

ALTER TABLE ONLY audit_log ATTACH PARTITION audit_log_other_months DEFAULT;

ALTER TABLE ONLY inbox ATTACH PARTITION inbox_default DEFAULT;

ALTER TABLE ONLY messages ATTACH PARTITION messages_other_months DEFAULT;

ALTER TABLE ONLY outbox ATTACH PARTITION outbox_default DEFAULT;

ALTER TABLE ONLY audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (channel_id, audit_id);

ALTER TABLE ONLY audit_log_other_months
    ADD CONSTRAINT audit_log_other_months_pkey PRIMARY KEY (channel_id, audit_id);

ALTER TABLE ONLY bans
    ADD CONSTRAINT bans_pkey PRIMARY KEY (channel_id, user_id);

ALTER TABLE ONLY blocked_terms
    ADD CONSTRAINT blocked_terms_channel_id_folded_key UNIQUE (channel_id, folded);

ALTER TABLE ONLY blocked_terms
    ADD CONSTRAINT blocked_terms_pkey PRIMARY KEY (term_id);

ALTER TABLE ONLY emotes
    ADD CONSTRAINT emotes_pkey PRIMARY KEY (emote_id);

ALTER TABLE ONLY erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY followers
    ADD CONSTRAINT followers_pkey PRIMARY KEY (channel_id, user_id);

ALTER TABLE ONLY held_messages
    ADD CONSTRAINT held_messages_channel_id_user_id_send_id_key UNIQUE (channel_id, user_id, send_id);

ALTER TABLE ONLY held_messages
    ADD CONSTRAINT held_messages_pkey PRIMARY KEY (held_id);

ALTER TABLE ONLY inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY inbox_default
    ADD CONSTRAINT inbox_default_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY irc_passwords
    ADD CONSTRAINT irc_passwords_pkey PRIMARY KEY (password_id);

ALTER TABLE ONLY log_deletions
    ADD CONSTRAINT log_deletions_pkey PRIMARY KEY (deletion_id);

ALTER TABLE ONLY log_holds
    ADD CONSTRAINT log_holds_pkey PRIMARY KEY (hold_id);

ALTER TABLE ONLY log_tails
    ADD CONSTRAINT log_tails_pkey PRIMARY KEY (channel_id, epoch);

ALTER TABLE ONLY messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (channel_id, message_id);

ALTER TABLE ONLY messages_other_months
    ADD CONSTRAINT messages_other_months_pkey PRIMARY KEY (channel_id, message_id);

ALTER TABLE ONLY moderators
    ADD CONSTRAINT moderators_pkey PRIMARY KEY (channel_id, user_id);

ALTER TABLE ONLY outbox_cursor
    ADD CONSTRAINT outbox_cursor_pkey PRIMARY KEY (single);

ALTER TABLE ONLY people
    ADD CONSTRAINT people_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY pins
    ADD CONSTRAINT pins_pkey PRIMARY KEY (channel_id);

ALTER TABLE ONLY poll_votes
    ADD CONSTRAINT poll_votes_pkey PRIMARY KEY (poll_id, user_id);

ALTER TABLE ONLY polls
    ADD CONSTRAINT polls_pkey PRIMARY KEY (poll_id);

ALTER TABLE ONLY replays
    ADD CONSTRAINT replays_pkey PRIMARY KEY (stream_id);

ALTER TABLE ONLY rooms
    ADD CONSTRAINT rooms_pkey PRIMARY KEY (channel_id);

ALTER TABLE ONLY subscribers
    ADD CONSTRAINT subscribers_pkey PRIMARY KEY (channel_id, user_id);

ALTER TABLE ONLY untold_entries
    ADD CONSTRAINT untold_entries_pkey PRIMARY KEY (entry_id);

CREATE INDEX bans_newest_first ON bans USING btree (channel_id, banned_at DESC, user_id DESC);

CREATE INDEX bans_that_end ON bans USING btree (until) WHERE (until IS NOT NULL);

CREATE INDEX emotes_by_channel ON emotes USING btree (channel_id);

CREATE UNIQUE INDEX emotes_by_name ON emotes USING btree (channel_id, name) WHERE (state = 'ready'::text);

CREATE INDEX emotes_unsettled ON emotes USING btree (state_since) WHERE (state <> 'ready'::text);

CREATE INDEX erasures_open ON erasures USING btree (due_at) WHERE (settled_at IS NULL);

CREATE INDEX followers_left ON followers USING btree (left_at) WHERE (left_at IS NOT NULL);

CREATE INDEX held_decided ON held_messages USING btree (decided_at) WHERE (decision IS NOT NULL);

CREATE INDEX held_that_expire ON held_messages USING btree (expires_at) WHERE (decision IS NULL);

CREATE INDEX held_waiting ON held_messages USING btree (channel_id, held_id) WHERE (decision IS NULL);

CREATE UNIQUE INDEX irc_passwords_hash ON irc_passwords USING btree (password_hash);

CREATE INDEX irc_passwords_user_id ON irc_passwords USING btree (user_id, password_id);

CREATE INDEX log_deletions_of ON log_deletions USING btree (channel_id, noted_at);

CREATE INDEX log_deletions_open ON log_deletions USING btree (channel_id, deletion_id) WHERE (applied_at IS NULL);

CREATE INDEX messages_by_person ON ONLY messages USING btree (channel_id, user_id, message_id DESC);

CREATE INDEX messages_by_words ON ONLY messages USING gin (((to_tsvector('simple'::regconfig, text) || array_to_tsvector(ARRAY[('#'::text || (channel_id)::text)])))) WHERE (deleted_at IS NULL);

CREATE INDEX messages_other_months_channel_id_user_id_message_id_idx ON messages_other_months USING btree (channel_id, user_id, message_id DESC);

CREATE INDEX messages_other_months_expr_idx ON messages_other_months USING gin (((to_tsvector('simple'::regconfig, text) || array_to_tsvector(ARRAY[('#'::text || (channel_id)::text)])))) WHERE (deleted_at IS NULL);

CREATE INDEX outbox_order ON ONLY outbox USING btree (id);

CREATE INDEX outbox_default_id_idx ON outbox_default USING btree (id);

CREATE INDEX people_by_name ON people USING btree (username, user_id DESC);

CREATE INDEX pins_that_end ON pins USING btree (ends_at) WHERE (ends_at IS NOT NULL);

CREATE INDEX poll_votes_newest ON poll_votes USING btree (poll_id, voted_at DESC);

CREATE INDEX polls_by_channel ON polls USING btree (channel_id, poll_id DESC);

CREATE UNIQUE INDEX polls_running ON polls USING btree (channel_id) WHERE (ended_at IS NULL);

CREATE INDEX polls_shown ON polls USING btree (channel_id, poll_id DESC) WHERE shown;

CREATE INDEX rooms_by_name ON rooms USING btree (channel_name, channel_id DESC);

CREATE INDEX untold_by_age ON untold_entries USING btree (noted_at);

ALTER INDEX audit_log_pkey ATTACH PARTITION audit_log_other_months_pkey;

ALTER INDEX inbox_pkey ATTACH PARTITION inbox_default_pkey;

ALTER INDEX messages_by_person ATTACH PARTITION messages_other_months_channel_id_user_id_message_id_idx;

ALTER INDEX messages_by_words ATTACH PARTITION messages_other_months_expr_idx;

ALTER INDEX messages_pkey ATTACH PARTITION messages_other_months_pkey;

ALTER INDEX outbox_order ATTACH PARTITION outbox_default_id_idx;

CREATE TRIGGER skip_deleted BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();

CREATE TRIGGER skip_deleted BEFORE INSERT ON bans FOR EACH ROW EXECUTE FUNCTION skip_deleted_either();

CREATE TRIGGER skip_deleted BEFORE INSERT ON blocked_terms FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();

CREATE TRIGGER skip_deleted BEFORE INSERT ON emotes FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();

CREATE TRIGGER skip_deleted BEFORE INSERT ON followers FOR EACH ROW EXECUTE FUNCTION skip_deleted_either();

CREATE TRIGGER skip_deleted BEFORE INSERT ON held_messages FOR EACH ROW EXECUTE FUNCTION skip_deleted_either();

CREATE TRIGGER skip_deleted BEFORE INSERT ON irc_passwords FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

CREATE TRIGGER skip_deleted BEFORE INSERT ON moderators FOR EACH ROW EXECUTE FUNCTION skip_deleted_either();

CREATE TRIGGER skip_deleted BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

CREATE TRIGGER skip_deleted BEFORE INSERT ON pins FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();

CREATE TRIGGER skip_deleted BEFORE INSERT ON poll_votes FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

CREATE TRIGGER skip_deleted BEFORE INSERT ON polls FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();

CREATE TRIGGER skip_deleted BEFORE INSERT ON replays FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();

CREATE TRIGGER skip_deleted BEFORE INSERT ON rooms FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();

CREATE TRIGGER skip_deleted BEFORE INSERT ON subscribers FOR EACH ROW EXECUTE FUNCTION skip_deleted_either();

ALTER TABLE ONLY bans
    ADD CONSTRAINT bans_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES rooms(channel_id);

ALTER TABLE ONLY blocked_terms
    ADD CONSTRAINT blocked_terms_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES rooms(channel_id);

ALTER TABLE ONLY emotes
    ADD CONSTRAINT emotes_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES rooms(channel_id);

ALTER TABLE ONLY held_messages
    ADD CONSTRAINT held_messages_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES rooms(channel_id);

ALTER TABLE ONLY irc_passwords
    ADD CONSTRAINT irc_passwords_user_id_fkey FOREIGN KEY (user_id) REFERENCES people(user_id) ON DELETE CASCADE;

ALTER TABLE ONLY moderators
    ADD CONSTRAINT moderators_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES rooms(channel_id);

ALTER TABLE ONLY pins
    ADD CONSTRAINT pins_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES rooms(channel_id);

ALTER TABLE ONLY poll_votes
    ADD CONSTRAINT poll_votes_poll_id_fkey FOREIGN KEY (poll_id) REFERENCES polls(poll_id) ON DELETE CASCADE;

ALTER TABLE ONLY polls
    ADD CONSTRAINT polls_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES rooms(channel_id);
