-- Channels, their keys, their streams, and which publisher each open stream listens to.

create table channels (
    channel_id uuid primary key,                    -- the streamer's user id
    name text not null,
    title text,                                     -- of the next stream; null: made from the name
    stream_key_hash bytea unique,                   -- SHA-256; null: no key was asked for yet
    stream_key_made_at timestamptz,
    created_at timestamptz not null default now(),
    check (octet_length(stream_key_hash) = 32)
);

-- One row a stream, for years: partitioned by month on the time in its UUIDv7, so that a stream is found in one
-- partition by its id alone and the primary key spans them all.
create table streams (
    stream_id uuid primary key,
    channel_id uuid not null,
    title text not null,
    status text not null check (status in ('live', 'interrupted', 'ended')),
    started_at timestamptz not null,
    ended_at timestamptz,
    end_reason text,
    check ((status = 'ended') = (ended_at is not null)),
    check ((status = 'ended') = (end_reason is not null))
) partition by range (stream_id);

-- Serves: list_live_streams.
create index streams_status_started on streams (status, started_at desc, stream_id desc);

-- Takes what no month takes, so that a stream can start even if nobody made its partition.
create table streams_default partition of streams default;

-- The streams that are not over: a few hundred rows that change with every sign of life, so that `streams` does not.
-- Its primary key is what makes a channel have one open stream at most; no index on a partitioned table could.
create table open_streams (
    channel_id uuid primary key references channels,
    stream_id uuid not null unique,
    status text not null check (status in ('live', 'interrupted')),
    key_hash bytea not null unique,                 -- of the key that the publisher showed
    server text not null,
    client text not null,
    started_at timestamptz not null,
    session_started_at timestamptz not null,
    seen_at timestamptz not null,
    interrupted_at timestamptz,
    silent boolean not null default false,
    check ((status = 'interrupted') = (interrupted_at is not null))
) with (fillfactor = 50);                           -- seen_at is in no index: updates stay in their page

-- What archive has said of a stream's recording.
create table recordings (
    stream_id uuid primary key,
    status text not null check (status in ('processing', 'completed', 'failed')),
    playback_path text,
    duration_seconds double precision,
    updated_at timestamptz not null default now()
);

-- The lowest UUIDv7 that can be made at `moment`.
create function first_id_of(moment timestamptz) returns uuid
language sql immutable strict as $$
    select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partitions of this month and the next `months_ahead`; answers the names of those that were missing.
create function make_stream_partitions(months_ahead integer) returns setof text
language plpgsql as $$
declare
    this_month timestamp := date_trunc('month', now() at time zone 'UTC');
    month timestamp;
    partition text;
begin
    perform pg_advisory_xact_lock(hashtextextended('streaming.make_stream_partitions', 0));
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
