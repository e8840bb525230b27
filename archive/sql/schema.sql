-- Generated from the migrations by `livestream generate`; read it, do not edit it.
-- Tables of the bus (outbox, inbox, …) come from eventbus/sql/migrations; partitions of dates are left out.

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
    SET search_path TO 'archive'
    AS $$
begin
    update erasures
    set erased_at = null, settled_at = null, due_at = case when lease is null then now() else due_at end
    where user_id = new.channel_id;
    return null;
end
$$;

CREATE FUNCTION held(stream_id uuid, channel_id uuid) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    select exists (
        select from retention_holds as h
        where h.released_at is null
          and (h.scope = 'everything'
               or h.scope = 'recording' and h.subject_id = held.stream_id
               or h.scope = 'channel' and h.subject_id = held.channel_id))
$$;

CREATE TABLE jobs (
    stream_id uuid NOT NULL,
    kind text NOT NULL,
    number integer DEFAULT 0 NOT NULL,
    particulars jsonb DEFAULT '{}'::jsonb NOT NULL,
    work_ms bigint DEFAULT 0 NOT NULL,
    urgency smallint DEFAULT 1 NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    fence integer DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    progress real DEFAULT 0 NOT NULL,
    result jsonb,
    failure text,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT jobs_check CHECK (((state <> 'done'::text) OR (result IS NOT NULL))),
    CONSTRAINT jobs_progress_check CHECK (((progress >= (0)::double precision) AND (progress <= (1)::double precision))),
    CONSTRAINT jobs_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'leased'::text, 'done'::text, 'failed'::text, 'dropped'::text]))),
    CONSTRAINT jobs_urgency_check CHECK (((urgency >= 0) AND (urgency <= 2)))
)
PARTITION BY RANGE (stream_id);

CREATE FUNCTION lease_job(kinds text[], lease_seconds double precision) RETURNS SETOF jobs
    LANGUAGE plpgsql
    AS $$
declare
    turn job_turns;
    job jobs;
begin
    for turn in select * from job_turns order by urgency, live, served_ms, stream_id loop
        select * into job from jobs as j
        where j.stream_id = turn.stream_id and j.urgency = turn.urgency and j.state in ('pending', 'leased')
          and j.due_at <= now() and j.kind = any(kinds)
        order by j.number, j.kind limit 1 for update skip locked;
        if found then
            update job_turns as t set served_ms = t.served_ms + greatest(job.work_ms, 1)
            where t.stream_id = turn.stream_id and t.urgency = turn.urgency;
            return query
                update jobs as j
                set state = 'leased', due_at = now() + make_interval(secs => lease_seconds), fence = j.fence + 1,
                    attempts = j.attempts + 1, progress = 0, changed_at = now()
                where j.stream_id = job.stream_id and j.kind = job.kind and j.number = job.number
                returning j.*;
            return;
        end if;
        if not exists (
            select from jobs as j
            where j.stream_id = turn.stream_id and j.urgency = turn.urgency and j.state in ('pending', 'leased'))
        then
            perform from job_turns as t
            where t.stream_id = turn.stream_id and t.urgency = turn.urgency for update skip locked;
            if found then
                delete from job_turns as t
                where t.stream_id = turn.stream_id and t.urgency = turn.urgency and not exists (
                    select from jobs as j
                    where j.stream_id = turn.stream_id and j.urgency = turn.urgency
                      and j.state in ('pending', 'leased'));
            end if;
        end if;
    end loop;
end
$$;

CREATE FUNCTION make_archive_partitions(months_ahead integer) RETURNS SETOF text
    LANGUAGE plpgsql
    AS $$
declare
    this_month timestamp := date_trunc('month', now() at time zone 'UTC');
    month timestamp;
    parent text;
    partition text;
begin
    perform pg_advisory_xact_lock(hashtextextended('make_archive_partitions', 0));
    for ahead in 0..months_ahead loop
        month := this_month + make_interval(months => ahead);
        for parent in
            select c.relname
            from pg_partitioned_table as p
            join pg_class as c on c.oid = p.partrelid
            join pg_attribute as a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
            where c.relnamespace = current_schema()::regnamespace and p.partstrat = 'r' and a.attname = 'stream_id'
            order by c.relname
        loop
            partition := parent || '_' || to_char(month, 'YYYY_MM');
            continue when to_regclass(quote_ident(partition)) is not null;
            begin
                execute format(
                    'create table %I partition of %I for values from (%L) to (%L)',
                    partition, parent,
                    uuid7_floor(month at time zone 'UTC'),
                    uuid7_floor((month + interval '1 month') at time zone 'UTC')
                );
                return next partition;
            exception when check_violation then
                -- Rows of that month are in the default partition already; they stay there and are found there.
                null;
            end;
        end loop;
    end loop;
end
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
    SET search_path TO 'archive'
    AS $$
begin
    if exists (select from erasures where user_id = new.channel_id) then
        return null;
    end if;
    return new;
end
$$;

CREATE FUNCTION skip_deleted_user() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'archive'
    AS $$
begin
    if exists (select from erasures where user_id = new.user_id) then
        return null;
    end if;
    return new;
end
$$;

CREATE FUNCTION uuid7_floor(moment timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

CREATE TABLE channel_retention (
    channel_id uuid NOT NULL,
    cold_after_days integer,
    cold_never boolean DEFAULT false NOT NULL,
    delete_after_days integer,
    delete_never boolean DEFAULT false NOT NULL,
    set_by text NOT NULL,
    set_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT channel_retention_check CHECK ((NOT (cold_never AND (cold_after_days IS NOT NULL)))),
    CONSTRAINT channel_retention_check1 CHECK ((NOT (delete_never AND (delete_after_days IS NOT NULL)))),
    CONSTRAINT channel_retention_cold_after_days_check CHECK (((cold_after_days >= 1) AND (cold_after_days <= 36500))),
    CONSTRAINT channel_retention_delete_after_days_check CHECK (((delete_after_days >= 1) AND (delete_after_days <= 36500)))
);

CREATE TABLE clip_requests (
    channel_id uuid NOT NULL,
    request_key text NOT NULL,
    request_sha256 bytea NOT NULL,
    clip_id uuid NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT clip_requests_request_key_check CHECK (((length(request_key) >= 1) AND (length(request_key) <= 255))),
    CONSTRAINT clip_requests_request_sha256_check CHECK ((octet_length(request_sha256) = 32))
);

CREATE TABLE erasures (
    user_id uuid NOT NULL,
    deleted_at timestamp with time zone NOT NULL,
    noted_at timestamp with time zone DEFAULT now() NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    lease uuid,
    erased_at timestamp with time zone,
    settled_at timestamp with time zone
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

CREATE TABLE job_turns (
    stream_id uuid NOT NULL,
    urgency smallint NOT NULL,
    live boolean DEFAULT false NOT NULL,
    served_ms bigint DEFAULT 0 NOT NULL
);

CREATE TABLE jobs_default (
    stream_id uuid NOT NULL,
    kind text NOT NULL,
    number integer DEFAULT 0 NOT NULL,
    particulars jsonb DEFAULT '{}'::jsonb NOT NULL,
    work_ms bigint DEFAULT 0 NOT NULL,
    urgency smallint DEFAULT 1 NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    fence integer DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    progress real DEFAULT 0 NOT NULL,
    result jsonb,
    failure text,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT jobs_check CHECK (((state <> 'done'::text) OR (result IS NOT NULL))),
    CONSTRAINT jobs_progress_check CHECK (((progress >= (0)::double precision) AND (progress <= (1)::double precision))),
    CONSTRAINT jobs_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'leased'::text, 'done'::text, 'failed'::text, 'dropped'::text]))),
    CONSTRAINT jobs_urgency_check CHECK (((urgency >= 0) AND (urgency <= 2)))
);

CREATE TABLE lost_segments (
    stream_id uuid NOT NULL,
    sequence integer NOT NULL,
    reason text NOT NULL,
    duration_ms integer,
    lost_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT lost_segments_duration_ms_check CHECK ((duration_ms >= 0)),
    CONSTRAINT lost_segments_sequence_check CHECK ((sequence >= 0))
)
PARTITION BY RANGE (stream_id);

CREATE TABLE lost_segments_default (
    stream_id uuid NOT NULL,
    sequence integer NOT NULL,
    reason text NOT NULL,
    duration_ms integer,
    lost_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT lost_segments_duration_ms_check CHECK ((duration_ms >= 0)),
    CONSTRAINT lost_segments_sequence_check CHECK ((sequence >= 0))
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

CREATE TABLE playback_grants (
    grant_sha256 bytea NOT NULL,
    stream_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT playback_grants_grant_sha256_check CHECK ((octet_length(grant_sha256) = 32))
);

CREATE TABLE recording_files (
    stream_id uuid NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    size_bytes bigint NOT NULL,
    particulars jsonb DEFAULT '{}'::jsonb NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT recording_files_size_bytes_check CHECK ((size_bytes >= 0))
)
PARTITION BY RANGE (stream_id);

CREATE TABLE recording_files_default (
    stream_id uuid NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    size_bytes bigint NOT NULL,
    particulars jsonb DEFAULT '{}'::jsonb NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT recording_files_size_bytes_check CHECK ((size_bytes >= 0))
);

CREATE TABLE recordings (
    stream_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    channel_name text DEFAULT ''::text NOT NULL,
    title text DEFAULT ''::text NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    settled_at timestamp with time zone,
    segments_expected integer,
    finalise_due_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    finalise_attempts integer DEFAULT 0 NOT NULL,
    published_at timestamp with time zone,
    completed_at timestamp with time zone,
    failed_at timestamp with time zone,
    failure text,
    duration_ms bigint,
    traceparent text,
    partial boolean DEFAULT false NOT NULL,
    missing jsonb,
    visibility text DEFAULT 'public'::text NOT NULL,
    preserve boolean DEFAULT false NOT NULL,
    deleted_at timestamp with time zone,
    purge_due_at timestamp with time zone,
    purged_at timestamp with time zone,
    delete_reason text,
    clip_of uuid,
    clip_from_ms bigint,
    clip_to_ms bigint,
    ladder_planned_at timestamp with time zone,
    progress_percent smallint DEFAULT 0 NOT NULL,
    size_bytes bigint,
    cold_at timestamp with time zone,
    title_edited_at timestamp with time zone,
    edited_at timestamp with time zone,
    removing_since timestamp with time zone,
    cooled_to text,
    clip_exact boolean DEFAULT false NOT NULL,
    takes_place boolean DEFAULT false NOT NULL,
    replaced_by uuid,
    CONSTRAINT recordings_check CHECK (((status = 'failed'::text) = (failed_at IS NOT NULL))),
    CONSTRAINT recordings_check1 CHECK (((status = 'failed'::text) = (failure IS NOT NULL))),
    CONSTRAINT recordings_check2 CHECK (((status <> 'completed'::text) OR ((completed_at IS NOT NULL) AND (published_at IS NOT NULL)))),
    CONSTRAINT recordings_check3 CHECK (((status <> 'processing'::text) OR (published_at IS NOT NULL))),
    CONSTRAINT recordings_check4 CHECK (((published_at IS NULL) OR ((settled_at IS NOT NULL) AND (duration_ms IS NOT NULL)))),
    CONSTRAINT recordings_delete_reason_check CHECK ((delete_reason = ANY (ARRAY['owner'::text, 'retention'::text, 'account'::text, 'replaced'::text]))),
    CONSTRAINT recordings_deleted CHECK (((deleted_at IS NULL) = (purge_due_at IS NULL))),
    CONSTRAINT recordings_progress_percent_check CHECK (((progress_percent >= 0) AND (progress_percent <= 100))),
    CONSTRAINT recordings_purged CHECK (((purged_at IS NULL) OR (deleted_at IS NOT NULL))),
    CONSTRAINT recordings_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'completed'::text, 'failed'::text]))),
    CONSTRAINT recordings_visibility_check CHECK ((visibility = ANY (ARRAY['public'::text, 'unlisted'::text, 'private'::text])))
)
PARTITION BY RANGE (stream_id);

CREATE TABLE recordings_default (
    stream_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    channel_name text DEFAULT ''::text NOT NULL,
    title text DEFAULT ''::text NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    settled_at timestamp with time zone,
    segments_expected integer,
    finalise_due_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    finalise_attempts integer DEFAULT 0 NOT NULL,
    published_at timestamp with time zone,
    completed_at timestamp with time zone,
    failed_at timestamp with time zone,
    failure text,
    duration_ms bigint,
    traceparent text,
    partial boolean DEFAULT false NOT NULL,
    missing jsonb,
    visibility text DEFAULT 'public'::text NOT NULL,
    preserve boolean DEFAULT false NOT NULL,
    deleted_at timestamp with time zone,
    purge_due_at timestamp with time zone,
    purged_at timestamp with time zone,
    delete_reason text,
    clip_of uuid,
    clip_from_ms bigint,
    clip_to_ms bigint,
    ladder_planned_at timestamp with time zone,
    progress_percent smallint DEFAULT 0 NOT NULL,
    size_bytes bigint,
    cold_at timestamp with time zone,
    title_edited_at timestamp with time zone,
    edited_at timestamp with time zone,
    removing_since timestamp with time zone,
    cooled_to text,
    clip_exact boolean DEFAULT false NOT NULL,
    takes_place boolean DEFAULT false NOT NULL,
    replaced_by uuid,
    CONSTRAINT recordings_check CHECK (((status = 'failed'::text) = (failed_at IS NOT NULL))),
    CONSTRAINT recordings_check1 CHECK (((status = 'failed'::text) = (failure IS NOT NULL))),
    CONSTRAINT recordings_check2 CHECK (((status <> 'completed'::text) OR ((completed_at IS NOT NULL) AND (published_at IS NOT NULL)))),
    CONSTRAINT recordings_check3 CHECK (((status <> 'processing'::text) OR (published_at IS NOT NULL))),
    CONSTRAINT recordings_check4 CHECK (((published_at IS NULL) OR ((settled_at IS NOT NULL) AND (duration_ms IS NOT NULL)))),
    CONSTRAINT recordings_delete_reason_check CHECK ((delete_reason = ANY (ARRAY['owner'::text, 'retention'::text, 'account'::text, 'replaced'::text]))),
    CONSTRAINT recordings_deleted CHECK (((deleted_at IS NULL) = (purge_due_at IS NULL))),
    CONSTRAINT recordings_progress_percent_check CHECK (((progress_percent >= 0) AND (progress_percent <= 100))),
    CONSTRAINT recordings_purged CHECK (((purged_at IS NULL) OR (deleted_at IS NOT NULL))),
    CONSTRAINT recordings_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'completed'::text, 'failed'::text]))),
    CONSTRAINT recordings_visibility_check CHECK ((visibility = ANY (ARRAY['public'::text, 'unlisted'::text, 'private'::text])))
);

CREATE TABLE renames (
    user_id uuid NOT NULL,
    username text NOT NULL,
    renamed_at timestamp with time zone NOT NULL
);

CREATE TABLE renditions (
    stream_id uuid NOT NULL,
    name text NOT NULL,
    rank integer NOT NULL,
    state text NOT NULL,
    width_px integer NOT NULL,
    height_px integer NOT NULL,
    frame_rate double precision NOT NULL,
    codecs text,
    bits_per_second_peak bigint,
    bits_per_second_average bigint,
    video_bits_per_second_max integer DEFAULT 0 NOT NULL,
    CONSTRAINT renditions_check CHECK (((state <> 'ready'::text) OR ((bits_per_second_peak IS NOT NULL) AND (bits_per_second_average IS NOT NULL)))),
    CONSTRAINT renditions_state_check CHECK ((state = ANY (ARRAY['making'::text, 'ready'::text, 'failed'::text])))
)
PARTITION BY RANGE (stream_id);

CREATE TABLE renditions_default (
    stream_id uuid NOT NULL,
    name text NOT NULL,
    rank integer NOT NULL,
    state text NOT NULL,
    width_px integer NOT NULL,
    height_px integer NOT NULL,
    frame_rate double precision NOT NULL,
    codecs text,
    bits_per_second_peak bigint,
    bits_per_second_average bigint,
    video_bits_per_second_max integer DEFAULT 0 NOT NULL,
    CONSTRAINT renditions_check CHECK (((state <> 'ready'::text) OR ((bits_per_second_peak IS NOT NULL) AND (bits_per_second_average IS NOT NULL)))),
    CONSTRAINT renditions_state_check CHECK ((state = ANY (ARRAY['making'::text, 'ready'::text, 'failed'::text])))
);

CREATE TABLE retention_holds (
    hold_id uuid NOT NULL,
    scope text NOT NULL,
    subject_id uuid,
    reason text NOT NULL,
    placed_by text NOT NULL,
    placed_at timestamp with time zone DEFAULT now() NOT NULL,
    released_by text,
    released_at timestamp with time zone,
    CONSTRAINT retention_holds_check CHECK (((scope = 'everything'::text) = (subject_id IS NULL))),
    CONSTRAINT retention_holds_check1 CHECK (((released_by IS NULL) = (released_at IS NULL))),
    CONSTRAINT retention_holds_reason_check CHECK ((reason <> ''::text)),
    CONSTRAINT retention_holds_scope_check CHECK ((scope = ANY (ARRAY['everything'::text, 'channel'::text, 'recording'::text])))
);

CREATE TABLE retention_rounds (
    kind text NOT NULL,
    due_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    cursor text DEFAULT ''::text NOT NULL,
    claim uuid,
    CONSTRAINT retention_rounds_kind_check CHECK ((kind = ANY (ARRAY['retention'::text, 'sweep'::text])))
);

CREATE TABLE segments (
    stream_id uuid NOT NULL,
    sequence integer NOT NULL,
    duration_ms integer NOT NULL,
    size_bytes bigint NOT NULL,
    discontinuity boolean NOT NULL,
    shipped_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT segments_duration_ms_check CHECK ((duration_ms >= 0)),
    CONSTRAINT segments_sequence_check CHECK ((sequence >= 0)),
    CONSTRAINT segments_size_bytes_check CHECK ((size_bytes > 0))
)
PARTITION BY RANGE (stream_id);

CREATE TABLE segments_default (
    stream_id uuid NOT NULL,
    sequence integer NOT NULL,
    duration_ms integer NOT NULL,
    size_bytes bigint NOT NULL,
    discontinuity boolean NOT NULL,
    shipped_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT segments_duration_ms_check CHECK ((duration_ms >= 0)),
    CONSTRAINT segments_sequence_check CHECK ((sequence >= 0)),
    CONSTRAINT segments_size_bytes_check CHECK ((size_bytes > 0))
);

ALTER TABLE ONLY inbox ATTACH PARTITION inbox_default DEFAULT;

ALTER TABLE ONLY jobs ATTACH PARTITION jobs_default DEFAULT;

ALTER TABLE ONLY lost_segments ATTACH PARTITION lost_segments_default DEFAULT;

ALTER TABLE ONLY outbox ATTACH PARTITION outbox_default DEFAULT;

ALTER TABLE ONLY recording_files ATTACH PARTITION recording_files_default DEFAULT;

ALTER TABLE ONLY recordings ATTACH PARTITION recordings_default DEFAULT;

ALTER TABLE ONLY renditions ATTACH PARTITION renditions_default DEFAULT;

ALTER TABLE ONLY segments ATTACH PARTITION segments_default DEFAULT;

ALTER TABLE ONLY channel_retention
    ADD CONSTRAINT channel_retention_pkey PRIMARY KEY (channel_id);

ALTER TABLE ONLY clip_requests
    ADD CONSTRAINT clip_requests_pkey PRIMARY KEY (channel_id, request_key);

ALTER TABLE ONLY erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY inbox_default
    ADD CONSTRAINT inbox_default_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY job_turns
    ADD CONSTRAINT job_turns_pkey PRIMARY KEY (stream_id, urgency);

ALTER TABLE ONLY jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (stream_id, kind, number);

ALTER TABLE ONLY jobs_default
    ADD CONSTRAINT jobs_default_pkey PRIMARY KEY (stream_id, kind, number);

ALTER TABLE ONLY lost_segments
    ADD CONSTRAINT lost_segments_pkey PRIMARY KEY (stream_id, sequence);

ALTER TABLE ONLY lost_segments_default
    ADD CONSTRAINT lost_segments_default_pkey PRIMARY KEY (stream_id, sequence);

ALTER TABLE ONLY outbox_cursor
    ADD CONSTRAINT outbox_cursor_pkey PRIMARY KEY (single);

ALTER TABLE ONLY playback_grants
    ADD CONSTRAINT playback_grants_pkey PRIMARY KEY (grant_sha256);

ALTER TABLE ONLY recording_files
    ADD CONSTRAINT recording_files_pkey PRIMARY KEY (stream_id, name);

ALTER TABLE ONLY recording_files_default
    ADD CONSTRAINT recording_files_default_pkey PRIMARY KEY (stream_id, name);

ALTER TABLE ONLY recordings
    ADD CONSTRAINT recordings_pkey PRIMARY KEY (stream_id);

ALTER TABLE ONLY recordings_default
    ADD CONSTRAINT recordings_default_pkey PRIMARY KEY (stream_id);

ALTER TABLE ONLY renames
    ADD CONSTRAINT renames_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY renditions
    ADD CONSTRAINT renditions_pkey PRIMARY KEY (stream_id, name);

ALTER TABLE ONLY renditions_default
    ADD CONSTRAINT renditions_default_pkey PRIMARY KEY (stream_id, name);

ALTER TABLE ONLY retention_holds
    ADD CONSTRAINT retention_holds_pkey PRIMARY KEY (hold_id);

ALTER TABLE ONLY retention_rounds
    ADD CONSTRAINT retention_rounds_pkey PRIMARY KEY (kind);

ALTER TABLE ONLY segments
    ADD CONSTRAINT segments_pkey PRIMARY KEY (stream_id, sequence);

ALTER TABLE ONLY segments_default
    ADD CONSTRAINT segments_default_pkey PRIMARY KEY (stream_id, sequence);

CREATE INDEX clip_requests_made ON clip_requests USING btree (made_at);

CREATE INDEX erasures_open ON erasures USING btree (due_at) WHERE (settled_at IS NULL);

CREATE INDEX job_turns_next ON job_turns USING btree (urgency, live, served_ms, stream_id);

CREATE INDEX jobs_open ON ONLY jobs USING btree (stream_id, urgency, number, kind) WHERE (state = ANY (ARRAY['pending'::text, 'leased'::text]));

CREATE INDEX jobs_default_stream_id_urgency_number_kind_idx ON jobs_default USING btree (stream_id, urgency, number, kind) WHERE (state = ANY (ARRAY['pending'::text, 'leased'::text]));

CREATE INDEX outbox_order ON ONLY outbox USING btree (id);

CREATE INDEX outbox_default_id_idx ON outbox_default USING btree (id);

CREATE INDEX playback_grants_expires ON playback_grants USING btree (expires_at);

CREATE INDEX playback_grants_stream ON playback_grants USING btree (stream_id, created_at);

CREATE INDEX recording_files_downloads ON ONLY recording_files USING btree (((particulars ->> 'expires_at'::text))) WHERE (role = 'download'::text);

CREATE INDEX recording_files_default_expr_idx ON recording_files_default USING btree (((particulars ->> 'expires_at'::text))) WHERE (role = 'download'::text);

CREATE INDEX recordings_channel ON ONLY recordings USING btree (channel_id, stream_id DESC);

CREATE INDEX recordings_channel_public ON ONLY recordings USING btree (channel_id, stream_id DESC) WHERE ((visibility = 'public'::text) AND (deleted_at IS NULL));

CREATE INDEX recordings_clips ON ONLY recordings USING btree (clip_of, stream_id DESC) WHERE (clip_of IS NOT NULL);

CREATE INDEX recordings_clips_pending ON ONLY recordings USING btree (channel_id) WHERE ((clip_of IS NOT NULL) AND (status = 'pending'::text));

CREATE INDEX recordings_default_channel_id_idx ON recordings_default USING btree (channel_id) WHERE ((clip_of IS NOT NULL) AND (status = 'pending'::text));

CREATE INDEX recordings_deleted_of ON ONLY recordings USING btree (channel_id) WHERE (deleted_at IS NOT NULL);

CREATE INDEX recordings_default_channel_id_idx1 ON recordings_default USING btree (channel_id) WHERE (deleted_at IS NOT NULL);

CREATE INDEX recordings_default_channel_id_stream_id_idx ON recordings_default USING btree (channel_id, stream_id DESC);

CREATE INDEX recordings_default_channel_id_stream_id_idx1 ON recordings_default USING btree (channel_id, stream_id DESC) WHERE ((visibility = 'public'::text) AND (deleted_at IS NULL));

CREATE INDEX recordings_default_clip_of_stream_id_idx ON recordings_default USING btree (clip_of, stream_id DESC) WHERE (clip_of IS NOT NULL);

CREATE INDEX recordings_warm ON ONLY recordings USING btree (COALESCE(published_at, ended_at, started_at)) WHERE ((cold_at IS NULL) AND (deleted_at IS NULL) AND (NOT preserve) AND (published_at IS NOT NULL));

CREATE INDEX recordings_default_coalesce_idx ON recordings_default USING btree (COALESCE(published_at, ended_at, started_at)) WHERE ((cold_at IS NULL) AND (deleted_at IS NULL) AND (NOT preserve) AND (published_at IS NOT NULL));

CREATE INDEX recordings_kept ON ONLY recordings USING btree (COALESCE(published_at, ended_at, started_at)) WHERE ((deleted_at IS NULL) AND (NOT preserve) AND (status <> 'pending'::text));

CREATE INDEX recordings_default_coalesce_idx1 ON recordings_default USING btree (COALESCE(published_at, ended_at, started_at)) WHERE ((deleted_at IS NULL) AND (NOT preserve) AND (status <> 'pending'::text));

CREATE INDEX recordings_unsettled ON ONLY recordings USING btree (ended_at) WHERE ((ended_at IS NOT NULL) AND (settled_at IS NULL) AND (status = 'pending'::text));

CREATE INDEX recordings_default_ended_at_idx ON recordings_default USING btree (ended_at) WHERE ((ended_at IS NOT NULL) AND (settled_at IS NULL) AND (status = 'pending'::text));

CREATE INDEX recordings_settled ON ONLY recordings USING btree (finalise_due_at) WHERE ((settled_at IS NOT NULL) AND (status = 'pending'::text));

CREATE INDEX recordings_default_finalise_due_at_idx ON recordings_default USING btree (finalise_due_at) WHERE ((settled_at IS NOT NULL) AND (status = 'pending'::text));

CREATE INDEX recordings_purges ON ONLY recordings USING btree (purge_due_at) WHERE ((purge_due_at IS NOT NULL) AND (purged_at IS NULL));

CREATE INDEX recordings_default_purge_due_at_idx ON recordings_default USING btree (purge_due_at) WHERE ((purge_due_at IS NOT NULL) AND (purged_at IS NULL));

CREATE INDEX recordings_removing ON ONLY recordings USING btree (removing_since) WHERE (removing_since IS NOT NULL);

CREATE INDEX recordings_default_removing_since_idx ON recordings_default USING btree (removing_since) WHERE (removing_since IS NOT NULL);

CREATE INDEX recordings_processing ON ONLY recordings USING btree (stream_id) WHERE (status = 'processing'::text);

CREATE INDEX recordings_default_stream_id_idx ON recordings_default USING btree (stream_id) WHERE (status = 'processing'::text);

CREATE INDEX recordings_unpublished ON ONLY recordings USING btree (stream_id) WHERE ((status = 'pending'::text) AND (published_at IS NULL));

CREATE INDEX recordings_default_stream_id_idx1 ON recordings_default USING btree (stream_id) WHERE ((status = 'pending'::text) AND (published_at IS NULL));

CREATE INDEX recordings_public ON ONLY recordings USING btree (stream_id DESC) WHERE ((visibility = 'public'::text) AND (deleted_at IS NULL));

CREATE INDEX recordings_default_stream_id_idx2 ON recordings_default USING btree (stream_id DESC) WHERE ((visibility = 'public'::text) AND (deleted_at IS NULL));

CREATE INDEX recordings_taking_place ON ONLY recordings USING btree (stream_id) WHERE takes_place;

CREATE INDEX recordings_default_stream_id_idx3 ON recordings_default USING btree (stream_id) WHERE takes_place;

CREATE INDEX retention_holds_in_force ON retention_holds USING btree (scope, subject_id) WHERE (released_at IS NULL);

ALTER INDEX inbox_pkey ATTACH PARTITION inbox_default_pkey;

ALTER INDEX jobs_pkey ATTACH PARTITION jobs_default_pkey;

ALTER INDEX jobs_open ATTACH PARTITION jobs_default_stream_id_urgency_number_kind_idx;

ALTER INDEX lost_segments_pkey ATTACH PARTITION lost_segments_default_pkey;

ALTER INDEX outbox_order ATTACH PARTITION outbox_default_id_idx;

ALTER INDEX recording_files_downloads ATTACH PARTITION recording_files_default_expr_idx;

ALTER INDEX recording_files_pkey ATTACH PARTITION recording_files_default_pkey;

ALTER INDEX recordings_clips_pending ATTACH PARTITION recordings_default_channel_id_idx;

ALTER INDEX recordings_deleted_of ATTACH PARTITION recordings_default_channel_id_idx1;

ALTER INDEX recordings_channel ATTACH PARTITION recordings_default_channel_id_stream_id_idx;

ALTER INDEX recordings_channel_public ATTACH PARTITION recordings_default_channel_id_stream_id_idx1;

ALTER INDEX recordings_clips ATTACH PARTITION recordings_default_clip_of_stream_id_idx;

ALTER INDEX recordings_warm ATTACH PARTITION recordings_default_coalesce_idx;

ALTER INDEX recordings_kept ATTACH PARTITION recordings_default_coalesce_idx1;

ALTER INDEX recordings_unsettled ATTACH PARTITION recordings_default_ended_at_idx;

ALTER INDEX recordings_settled ATTACH PARTITION recordings_default_finalise_due_at_idx;

ALTER INDEX recordings_pkey ATTACH PARTITION recordings_default_pkey;

ALTER INDEX recordings_purges ATTACH PARTITION recordings_default_purge_due_at_idx;

ALTER INDEX recordings_removing ATTACH PARTITION recordings_default_removing_since_idx;

ALTER INDEX recordings_processing ATTACH PARTITION recordings_default_stream_id_idx;

ALTER INDEX recordings_unpublished ATTACH PARTITION recordings_default_stream_id_idx1;

ALTER INDEX recordings_public ATTACH PARTITION recordings_default_stream_id_idx2;

ALTER INDEX recordings_taking_place ATTACH PARTITION recordings_default_stream_id_idx3;

ALTER INDEX renditions_pkey ATTACH PARTITION renditions_default_pkey;

ALTER INDEX segments_pkey ATTACH PARTITION segments_default_pkey;

CREATE TRIGGER erase_again AFTER INSERT ON recordings FOR EACH ROW EXECUTE FUNCTION erase_again();

CREATE TRIGGER skip_deleted BEFORE INSERT ON channel_retention FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();

CREATE TRIGGER skip_deleted BEFORE INSERT ON clip_requests FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();

CREATE TRIGGER skip_deleted BEFORE INSERT ON renames FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();
