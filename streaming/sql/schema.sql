-- Generated from the migrations by `livestream generate`; read it, do not edit it.
-- Tables of the bus (outbox, inbox, …) come from eventbus/sql/migrations; partitions of dates are left out.

CREATE FUNCTION drop_empty_stream_months(ended_before timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql
    AS $_$
declare
    root text;
    partition text;
    any_left boolean;
    dropped integer := 0;
begin
    perform pg_advisory_xact_lock(hashtextextended('retention', 0));
    for root, partition in
        select case when i.inhparent = to_regclass('stream_stats') then 'stream_stats' else 'streams_cold' end, c.relname
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent in (
                select to_regclass('stream_stats')
                union all select inhrelid from pg_inherits where inhparent = 'streams_cold'::regclass
              )
          and c.relname ~ '_\d{4}_\d{2}$'
          and (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') at time zone 'UTC' <= ended_before
        order by c.relname
    loop
        execute format('select exists (select from %I)', partition) into any_left;
        continue when any_left;
        -- From the top, as readers lock it.
        execute format('lock table %I in access exclusive mode', root);
        execute format('select exists (select from %I)', partition) into any_left;
        continue when any_left;
        execute format('drop table %I', partition);
        dropped := dropped + 1;
    end loop;
    for partition in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'streams_cold'::regclass
          and (to_date(right(c.relname, 4), 'YYYY') + interval '1 year') at time zone 'UTC' <= ended_before
          and not exists (select from pg_inherits as months where months.inhparent = c.oid)
        order by c.relname
    loop
        execute format('drop table %I', partition);
        dropped := dropped + 1;
    end loop;
    return dropped;
end
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

CREATE FUNCTION drop_stream_rows(gone uuid[]) RETURNS void
    LANGUAGE plpgsql
    AS $_$
begin
    delete from recordings where stream_id = any (gone);
    if to_regclass('stream_stats') is not null then
        execute 'delete from stream_stats where stream_id = any ($1)' using gone;
    end if;
end
$_$;

CREATE FUNCTION erase_cold_streams(erased_channel_id uuid, after_id uuid, rows_max integer) RETURNS uuid
    LANGUAGE plpgsql
    AS $$
declare
    last_id uuid;
    gone uuid[];
begin
    lock table retention_holds in share mode;
    select stream_id into last_id from (
        select stream_id from streams_cold where stream_id > after_id order by stream_id limit rows_max
    ) as seen order by stream_id desc limit 1;
    with deleted as (
        delete from streams_cold
        where stream_id > after_id and stream_id <= last_id and channel_id = erased_channel_id
          and not is_held(stream_id, channel_id)
        returning stream_id
    )
    select coalesce(array_agg(stream_id), '{}') into gone from deleted;
    perform drop_stream_rows(gone);
    return last_id;
end
$$;

CREATE FUNCTION erase_streams(erased_channel_id uuid, rows_max integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
    gone uuid[];
begin
    -- From here to the end no hold is placed; one that is being placed is waited for, and seen by what follows.
    lock table retention_holds in share mode;
    with due as (
        select stream_id from streams
        where channel_id = erased_channel_id and status = 'ended' and not is_held(stream_id, channel_id)
        limit rows_max
    ), deleted as (
        delete from streams s using due where s.stream_id = due.stream_id returning s.stream_id
    )
    select coalesce(array_agg(stream_id), '{}') into gone from deleted;
    perform drop_stream_rows(gone);
    return cardinality(gone);
end
$$;

CREATE FUNCTION fence_stream_month(month timestamp without time zone, checked boolean) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
    hot text := 'streams_' || to_char(month, 'YYYY_MM');
    fenced boolean;
begin
    perform pg_advisory_xact_lock(hashtextextended('retention', 0));
    if to_regclass(quote_ident(hot)) is null then
        return;
    end if;
    select exists (select from pg_constraint where conrelid = to_regclass(quote_ident(hot)) and conname = 'in_its_month')
        into fenced;
    if not fenced then
        execute format(
            'alter table %I add constraint in_its_month check (stream_id >= %L and stream_id < %L) not valid',
            hot,
            first_id_of(month at time zone 'UTC'),
            first_id_of((month + interval '1 month') at time zone 'UTC')
        );
    end if;
    if checked then
        execute format('alter table %I validate constraint in_its_month', hot);
    end if;
end
$$;

CREATE FUNCTION first_id_of(moment timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT
    AS $$
    select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

CREATE FUNCTION is_banned(banned_channel_id uuid) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    AS $$
    select exists (select from channel_bans where channel_id = banned_channel_id and banned_until > now())
$$;

CREATE FUNCTION is_held(stream_id uuid, channel_id uuid) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    select exists (
        select from retention_holds as h
        where h.released_at is null
          and (h.scope = 'everything'
               or h.scope = 'stream' and h.subject_id = is_held.stream_id
               or h.scope = 'channel' and h.subject_id = is_held.channel_id))
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

CREATE FUNCTION make_cold_year(month timestamp without time zone) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
    year timestamp := date_trunc('year', month);
    partition text := 'streams_cold_' || to_char(year, 'YYYY');
begin
    if to_regclass(quote_ident(partition)) is null then
        execute format(
            'create table %I (like streams_cold including defaults including constraints) partition by range (stream_id)',
            partition
        );
        execute format(
            'alter table streams_cold attach partition %I for values from (%L) to (%L)',
            partition,
            first_id_of(year at time zone 'UTC'),
            first_id_of((year + interval '1 year') at time zone 'UTC')
        );
    end if;
    return partition;
end
$$;

CREATE FUNCTION make_stream_partitions(months_ahead integer) RETURNS SETOF text
    LANGUAGE plpgsql
    AS $$
declare
    this_month timestamp := date_trunc('month', now() at time zone 'UTC');
    month timestamp;
    partition text;
begin
    perform pg_advisory_xact_lock(hashtextextended('make_stream_partitions', 0));
    for ahead in 0..months_ahead loop
        month := this_month + make_interval(months => ahead);
        partition := 'streams_' || to_char(month, 'YYYY_MM');
        if to_regclass(quote_ident(partition)) is null then
            execute format('create table %I (like streams including defaults including constraints)', partition);
            execute format(
                'alter table streams attach partition %I for values from (%L) to (%L)',
                partition,
                first_id_of(month at time zone 'UTC'),
                first_id_of((month + interval '1 month') at time zone 'UTC')
            );
            return next partition;
        end if;
    end loop;
end
$$;

CREATE FUNCTION make_stream_stats_partitions(months_ahead integer) RETURNS SETOF text
    LANGUAGE plpgsql
    AS $$
declare
    this_month timestamp := date_trunc('month', now() at time zone 'UTC');
    month timestamp;
    partition text;
begin
    perform pg_advisory_xact_lock(hashtextextended('make_stream_stats_partitions', 0));
    for ahead in 0..months_ahead loop
        month := this_month + make_interval(months => ahead);
        partition := 'stream_stats_' || to_char(month, 'YYYY_MM');
        if to_regclass(quote_ident(partition)) is null then
            execute format('create table %I (like stream_stats including defaults including constraints)', partition);
            execute format(
                'alter table stream_stats attach partition %I for values from (%L) to (%L)',
                partition,
                first_id_of(month at time zone 'UTC'),
                first_id_of((month + interval '1 month') at time zone 'UTC')
            );
            return next partition;
        end if;
    end loop;
end
$$;

CREATE FUNCTION month_of(id uuid) RETURNS timestamp without time zone
    LANGUAGE sql IMMUTABLE STRICT
    AS $$
    select date_trunc(
        'month',
        to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) at time zone 'UTC'
    )
$$;

CREATE FUNCTION move_stray_streams(cold_before timestamp with time zone, rows_max integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
    month timestamp;
    cold text;
    year text;
    moved integer;
begin
    perform pg_advisory_xact_lock(hashtextextended('retention', 0));
    lock table retention_holds in share mode;
    select month_of(stream_id) into month from streams_default
    where stream_id < first_id_of(cold_before) and ended_at < cold_before
      and not exists (select from retention_holds where released_at is null and scope = 'everything')
    order by stream_id limit 1;
    if month is null then
        return 0;
    end if;
    year := make_cold_year(month);
    cold := 'streams_cold_' || to_char(month, 'YYYY_MM');
    if to_regclass(quote_ident(cold)) is null then
        execute format('create table %I (like streams_cold including defaults including constraints)', cold);
        execute format(
            'alter table %I attach partition %I for values from (%L) to (%L)',
            year,
            cold,
            first_id_of(month at time zone 'UTC'),
            first_id_of((month + interval '1 month') at time zone 'UTC')
        );
    end if;
    with due as (
        select stream_id from streams_default
        where stream_id >= first_id_of(month at time zone 'UTC')
          and stream_id < first_id_of((month + interval '1 month') at time zone 'UTC') and ended_at < cold_before
        order by stream_id limit rows_max
    ), gone as (
        delete from streams_default s using due where s.stream_id = due.stream_id returning s.*
    )
    insert into streams_cold select * from gone;
    get diagnostics moved = row_count;
    return moved;
end
$$;

CREATE FUNCTION move_stream_month(month timestamp without time zone, cold_before timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql
    AS $_$
declare
    hot text := 'streams_' || to_char(month, 'YYYY_MM');
    cold text := 'streams_cold_' || to_char(month, 'YYYY_MM');
    year text;
    useless text;
    moved bigint;
    young boolean;
begin
    perform pg_advisory_xact_lock(hashtextextended('retention', 0));
    lock table retention_holds in share mode;
    if to_regclass(quote_ident(hot)) is null
       or exists (select from retention_holds where released_at is null and scope = 'everything') then
        return null;
    end if;
    -- Nobody writes to the month from here on.
    execute format('lock table %I in share mode', hot);
    execute format('select count(*), coalesce(bool_or(ended_at is null or ended_at >= $1), false) from %I', hot)
        into moved, young using cold_before;
    if young then
        return null;
    end if;
    year := make_cold_year(month);
    lock table streams in access exclusive mode;
    execute format('alter table streams detach partition %I', hot);
    -- What serves lists serves nobody here.
    for useless in
        select i.indexrelid::regclass::text from pg_index i
        where i.indrelid = hot::regclass
          and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
    loop
        execute format('drop index %s', useless);
    end loop;
    execute format('alter table %I rename to %I', hot, cold);
    execute format(
        'alter table %I attach partition %I for values from (%L) to (%L)',
        year,
        cold,
        first_id_of(month at time zone 'UTC'),
        first_id_of((month + interval '1 month') at time zone 'UTC')
    );
    execute format('alter table %I drop constraint if exists in_its_month', cold);
    return moved;
end
$_$;

CREATE FUNCTION next_outbox_id() RETURNS bigint
    LANGUAGE plpgsql
    AS $$
        BEGIN
            PERFORM pg_current_xact_id();
            RETURN nextval('outbox_id');
        END
        $$;

CREATE FUNCTION purge_streams(purge_before timestamp with time zone, rows_max integer) RETURNS integer
    LANGUAGE plpgsql
    AS $_$
declare
    gone uuid[];
begin
    -- From here to the end no hold is placed.
    lock table retention_holds in share mode;
    with due as (
        select stream_id from streams_cold as s
        where s.stream_id < first_id_of(purge_before) and s.ended_at < purge_before
          and not is_held(s.stream_id, s.channel_id)
        order by s.stream_id limit rows_max
    ), deleted as (
        delete from streams_cold c using due where c.stream_id = due.stream_id returning c.stream_id
    )
    select coalesce(array_agg(stream_id), '{}') into gone from deleted;
    delete from recordings where stream_id = any (gone);
    if to_regclass('stream_stats') is not null then
        execute 'delete from stream_stats where stream_id = any ($1)' using gone;
    end if;
    return cardinality(gone);
end
$_$;

CREATE FUNCTION skip_deleted_channel() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'streaming'
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
    SET search_path TO 'streaming'
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

CREATE TABLE channel_bans (
    channel_id uuid NOT NULL,
    banned_by text NOT NULL,
    banned_until timestamp with time zone NOT NULL,
    reason text,
    made_by uuid NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT channel_bans_banned_by_check CHECK ((banned_by = ANY (ARRAY['streamer'::text, 'operator'::text]))),
    CONSTRAINT channel_bans_reason_check CHECK ((char_length(reason) <= 500))
);

CREATE TABLE channels (
    channel_id uuid NOT NULL,
    name text NOT NULL,
    title text,
    stream_key_hash bytea,
    stream_key_made_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    next_title text GENERATED ALWAYS AS (COALESCE(title, (name || ' is live'::text))) STORED NOT NULL,
    category text,
    description text,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    language text,
    visibility text DEFAULT 'public'::text NOT NULL,
    CONSTRAINT channels_category_check CHECK ((char_length(category) <= 50)),
    CONSTRAINT channels_description_check CHECK ((char_length(description) <= 2000)),
    CONSTRAINT channels_language_check CHECK ((char_length(language) <= 35)),
    CONSTRAINT channels_stream_key_hash_check CHECK ((octet_length(stream_key_hash) = 32)),
    CONSTRAINT channels_tags_check CHECK ((cardinality(tags) <= 10)),
    CONSTRAINT channels_visibility_check CHECK ((visibility = ANY (ARRAY['public'::text, 'unlisted'::text, 'private'::text])))
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

CREATE TABLE open_streams (
    channel_id uuid NOT NULL,
    stream_id uuid NOT NULL,
    status text NOT NULL,
    key_hash bytea NOT NULL,
    server text NOT NULL,
    client text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    session_started_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    interrupted_at timestamp with time zone,
    silent boolean DEFAULT false NOT NULL,
    CONSTRAINT open_streams_check CHECK (((status = 'interrupted'::text) = (interrupted_at IS NOT NULL))),
    CONSTRAINT open_streams_status_check CHECK ((status = ANY (ARRAY['live'::text, 'interrupted'::text])))
)
WITH (fillfactor='50');

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

CREATE TABLE prepared_streams (
    prepared_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    title text NOT NULL,
    category text,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    language text,
    visibility text NOT NULL,
    scheduled_at timestamp with time zone,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    due_at timestamp with time zone GENERATED ALWAYS AS (COALESCE(scheduled_at, made_at)) STORED NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    begun_as uuid,
    CONSTRAINT prepared_streams_tags_check CHECK ((cardinality(tags) <= 10)),
    CONSTRAINT prepared_streams_visibility_check CHECK ((visibility = ANY (ARRAY['public'::text, 'unlisted'::text, 'private'::text])))
);

CREATE TABLE recordings (
    stream_id uuid NOT NULL,
    status text NOT NULL,
    playback_path text,
    duration_seconds double precision,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted boolean DEFAULT false NOT NULL,
    CONSTRAINT recordings_status_check CHECK ((status = ANY (ARRAY['processing'::text, 'completed'::text, 'failed'::text])))
);

CREATE TABLE renames (
    user_id uuid NOT NULL,
    username text NOT NULL,
    renamed_at timestamp with time zone NOT NULL
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
    CONSTRAINT retention_holds_scope_check CHECK ((scope = ANY (ARRAY['everything'::text, 'channel'::text, 'stream'::text])))
);

CREATE TABLE stream_stats (
    stream_id uuid NOT NULL,
    minute timestamp with time zone NOT NULL,
    viewers integer NOT NULL,
    unique_viewers integer NOT NULL,
    peak_viewers integer NOT NULL,
    CONSTRAINT stream_stats_peak_viewers_check CHECK ((peak_viewers >= 0)),
    CONSTRAINT stream_stats_unique_viewers_check CHECK ((unique_viewers >= 0)),
    CONSTRAINT stream_stats_viewers_check CHECK ((viewers >= 0))
)
PARTITION BY RANGE (stream_id);

CREATE TABLE stream_stats_default (
    stream_id uuid NOT NULL,
    minute timestamp with time zone NOT NULL,
    viewers integer NOT NULL,
    unique_viewers integer NOT NULL,
    peak_viewers integer NOT NULL,
    CONSTRAINT stream_stats_peak_viewers_check CHECK ((peak_viewers >= 0)),
    CONSTRAINT stream_stats_unique_viewers_check CHECK ((unique_viewers >= 0)),
    CONSTRAINT stream_stats_viewers_check CHECK ((viewers >= 0))
);

CREATE TABLE streams (
    stream_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    title text NOT NULL,
    status text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    end_reason text,
    category text,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    language text,
    visibility text DEFAULT 'public'::text NOT NULL,
    CONSTRAINT streams_check CHECK (((status = 'ended'::text) = (ended_at IS NOT NULL))),
    CONSTRAINT streams_check1 CHECK (((status = 'ended'::text) = (end_reason IS NOT NULL))),
    CONSTRAINT streams_status_check CHECK ((status = ANY (ARRAY['live'::text, 'interrupted'::text, 'ended'::text]))),
    CONSTRAINT streams_visibility_check CHECK ((visibility = ANY (ARRAY['public'::text, 'unlisted'::text, 'private'::text])))
)
PARTITION BY RANGE (stream_id);

CREATE TABLE streams_cold (
    stream_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    title text NOT NULL,
    status text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    end_reason text,
    category text,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    language text,
    visibility text DEFAULT 'public'::text NOT NULL,
    CONSTRAINT streams_check CHECK (((status = 'ended'::text) = (ended_at IS NOT NULL))),
    CONSTRAINT streams_check1 CHECK (((status = 'ended'::text) = (end_reason IS NOT NULL))),
    CONSTRAINT streams_status_check CHECK ((status = ANY (ARRAY['live'::text, 'interrupted'::text, 'ended'::text]))),
    CONSTRAINT streams_visibility_check CHECK ((visibility = ANY (ARRAY['public'::text, 'unlisted'::text, 'private'::text])))
)
PARTITION BY RANGE (stream_id);

CREATE TABLE streams_default (
    stream_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    title text NOT NULL,
    status text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    end_reason text,
    category text,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    language text,
    visibility text DEFAULT 'public'::text NOT NULL,
    CONSTRAINT streams_check CHECK (((status = 'ended'::text) = (ended_at IS NOT NULL))),
    CONSTRAINT streams_check1 CHECK (((status = 'ended'::text) = (end_reason IS NOT NULL))),
    CONSTRAINT streams_status_check CHECK ((status = ANY (ARRAY['live'::text, 'interrupted'::text, 'ended'::text]))),
    CONSTRAINT streams_visibility_check CHECK ((visibility = ANY (ARRAY['public'::text, 'unlisted'::text, 'private'::text])))
);

ALTER TABLE ONLY inbox ATTACH PARTITION inbox_default DEFAULT;

ALTER TABLE ONLY outbox ATTACH PARTITION outbox_default DEFAULT;

ALTER TABLE ONLY stream_stats ATTACH PARTITION stream_stats_default DEFAULT;

ALTER TABLE ONLY streams ATTACH PARTITION streams_default DEFAULT;

ALTER TABLE ONLY channel_bans
    ADD CONSTRAINT channel_bans_pkey PRIMARY KEY (channel_id, banned_by);

ALTER TABLE ONLY channels
    ADD CONSTRAINT channels_pkey PRIMARY KEY (channel_id);

ALTER TABLE ONLY channels
    ADD CONSTRAINT channels_stream_key_hash_key UNIQUE (stream_key_hash);

ALTER TABLE ONLY erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY inbox_default
    ADD CONSTRAINT inbox_default_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY open_streams
    ADD CONSTRAINT open_streams_key_hash_key UNIQUE (key_hash);

ALTER TABLE ONLY open_streams
    ADD CONSTRAINT open_streams_pkey PRIMARY KEY (channel_id);

ALTER TABLE ONLY open_streams
    ADD CONSTRAINT open_streams_stream_id_key UNIQUE (stream_id);

ALTER TABLE ONLY outbox_cursor
    ADD CONSTRAINT outbox_cursor_pkey PRIMARY KEY (single);

ALTER TABLE ONLY prepared_streams
    ADD CONSTRAINT prepared_streams_pkey PRIMARY KEY (prepared_id);

ALTER TABLE ONLY recordings
    ADD CONSTRAINT recordings_pkey PRIMARY KEY (stream_id);

ALTER TABLE ONLY renames
    ADD CONSTRAINT renames_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY retention_holds
    ADD CONSTRAINT retention_holds_pkey PRIMARY KEY (hold_id);

ALTER TABLE ONLY stream_stats
    ADD CONSTRAINT stream_stats_pkey PRIMARY KEY (stream_id, minute);

ALTER TABLE ONLY stream_stats_default
    ADD CONSTRAINT stream_stats_default_pkey PRIMARY KEY (stream_id, minute);

ALTER TABLE ONLY streams_cold
    ADD CONSTRAINT streams_cold_pkey PRIMARY KEY (stream_id);

ALTER TABLE ONLY streams
    ADD CONSTRAINT streams_pkey PRIMARY KEY (stream_id);

ALTER TABLE ONLY streams_default
    ADD CONSTRAINT streams_default_pkey PRIMARY KEY (stream_id);

CREATE INDEX erasures_open ON erasures USING btree (due_at) WHERE (settled_at IS NULL);

CREATE INDEX open_streams_session ON open_streams USING btree (server, client);

CREATE INDEX outbox_order ON ONLY outbox USING btree (id);

CREATE INDEX outbox_default_id_idx ON outbox_default USING btree (id);

CREATE INDEX prepared_streams_channel_due ON prepared_streams USING btree (channel_id, due_at, prepared_id) WHERE (begun_as IS NULL);

CREATE INDEX prepared_streams_expires ON prepared_streams USING btree (channel_id, expires_at);

CREATE INDEX stream_stats_watched ON ONLY stream_stats USING btree (minute) WHERE (viewers > 0);

CREATE INDEX stream_stats_default_minute_idx ON stream_stats_default USING btree (minute) WHERE (viewers > 0);

CREATE INDEX streams_channel_started ON ONLY streams USING btree (channel_id, started_at DESC, stream_id DESC);

CREATE INDEX streams_default_channel_id_started_at_stream_id_idx ON streams_default USING btree (channel_id, started_at DESC, stream_id DESC);

CREATE INDEX streams_status_started ON ONLY streams USING btree (status, started_at DESC, stream_id DESC);

CREATE INDEX streams_default_status_started_at_stream_id_idx ON streams_default USING btree (status, started_at DESC, stream_id DESC);

ALTER INDEX inbox_pkey ATTACH PARTITION inbox_default_pkey;

ALTER INDEX outbox_order ATTACH PARTITION outbox_default_id_idx;

ALTER INDEX stream_stats_watched ATTACH PARTITION stream_stats_default_minute_idx;

ALTER INDEX stream_stats_pkey ATTACH PARTITION stream_stats_default_pkey;

ALTER INDEX streams_channel_started ATTACH PARTITION streams_default_channel_id_started_at_stream_id_idx;

ALTER INDEX streams_pkey ATTACH PARTITION streams_default_pkey;

ALTER INDEX streams_status_started ATTACH PARTITION streams_default_status_started_at_stream_id_idx;

CREATE TRIGGER skip_deleted BEFORE INSERT ON channel_bans FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();

CREATE TRIGGER skip_deleted BEFORE INSERT ON channels FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();

CREATE TRIGGER skip_deleted BEFORE INSERT ON prepared_streams FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();

CREATE TRIGGER skip_deleted BEFORE INSERT ON renames FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

ALTER TABLE ONLY channel_bans
    ADD CONSTRAINT channel_bans_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES channels(channel_id);

ALTER TABLE ONLY open_streams
    ADD CONSTRAINT open_streams_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES channels(channel_id);

ALTER TABLE ONLY prepared_streams
    ADD CONSTRAINT prepared_streams_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES channels(channel_id);
