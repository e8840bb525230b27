-- Old streams: months of them leave `streams` for a table of years, where they are found by their id alone, until they go.

-- The columns of `streams`, always: whoever adds one there adds it here. A year holds the months that were `streams`' own,
-- so that moving one moves no row.
create table streams_cold (like streams including defaults including constraints) partition by range (stream_id);
alter table streams_cold add primary key (stream_id);

-- What may not be purged: everything, a channel's streams or one stream. Released ones stay, to be read.
create table retention_holds (
    hold_id uuid primary key,
    scope text not null check (scope in ('everything', 'channel', 'stream')),
    subject_id uuid,                                -- the channel or the stream
    reason text not null check (reason <> ''),
    placed_by text not null,
    placed_at timestamptz not null default now(),
    released_by text,
    released_at timestamptz,
    check ((scope = 'everything') = (subject_id is null)),
    check ((released_by is null) = (released_at is null))
);

-- Whether a hold keeps a stream of a channel.
create function is_held(stream_id uuid, channel_id uuid) returns boolean
language sql stable as $$
    select exists (
        select from retention_holds as h
        where h.released_at is null
          and (h.scope = 'everything'
               or h.scope = 'stream' and h.subject_id = is_held.stream_id
               or h.scope = 'channel' and h.subject_id = is_held.channel_id))
$$;

-- The beginning of the month that an id was made in, in UTC.
create function month_of(id uuid) returns timestamp
language sql immutable strict as $$
    select date_trunc(
        'month',
        to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) at time zone 'UTC'
    )
$$;

-- Makes the year that a month's streams go to; a year is partitioned by months.
create function make_cold_year(month timestamp) returns text
language plpgsql as $$
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

-- The first two steps of moving a month, each a transaction of its own: a constraint that says what is in the month, so
-- that the move need not look at its rows while everybody waits.
create function fence_stream_month(month timestamp, checked boolean) returns void
language plpgsql as $$
declare
    hot text := 'streams_' || to_char(month, 'YYYY_MM');
    fenced boolean;
begin
    perform pg_advisory_xact_lock(hashtextextended('streaming.retention', 0));
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

-- Moves a month in which every stream ended before `cold_before`: no row is copied, and nobody sees it twice or not at all,
-- since both changes are one commit that waits for who reads `streams`. Answers how many streams; null: it is not to move.
create function move_stream_month(month timestamp, cold_before timestamptz) returns bigint
language plpgsql as $$
declare
    hot text := 'streams_' || to_char(month, 'YYYY_MM');
    cold text := 'streams_cold_' || to_char(month, 'YYYY_MM');
    year text;
    useless text;
    moved bigint;
    young boolean;
begin
    perform pg_advisory_xact_lock(hashtextextended('streaming.retention', 0));
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
$$;

-- Moves streams that no month took, of one month and at most `rows_max`; answers how many.
create function move_stray_streams(cold_before timestamptz, rows_max integer) returns integer
language plpgsql as $$
declare
    month timestamp;
    cold text;
    year text;
    moved integer;
begin
    perform pg_advisory_xact_lock(hashtextextended('streaming.retention', 0));
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

-- Removes cold streams that ended before a moment and that no hold keeps, at most `rows_max`, with all that is theirs here.
create function purge_streams(purge_before timestamptz, rows_max integer) returns integer
language plpgsql as $$
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
$$;

-- Drops months (and years) that ended before a moment and in which nothing is left; answers how many.
create function drop_empty_stream_months(ended_before timestamptz) returns integer
language plpgsql as $$
declare
    root text;
    partition text;
    any_left boolean;
    dropped integer := 0;
begin
    perform pg_advisory_xact_lock(hashtextextended('streaming.retention', 0));
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
$$;
