-- Recordings, the segments that were shipped of them, and the leased jobs that make their renditions.

-- One row a stream, for years: partitioned by month on the time in the stream's UUIDv7, so that a month of archives is
-- found, moved or dropped as one and the primary key still spans them all.
create table recordings (
    stream_id uuid primary key,
    channel_id uuid not null,
    channel_name text not null default '',
    title text not null default '',
    -- pending: the stream runs, or its last bytes are on their way; processing: plays, renditions are being made
    status text not null default 'pending' check (status in ('pending', 'processing', 'completed', 'failed')),
    started_at timestamptz not null,
    ended_at timestamptz,
    settled_at timestamptz,                         -- the shipper has nothing more to ship
    segments_expected integer,                      -- how many segments it had shipped then
    finalise_due_at timestamptz not null default '-infinity',
    finalise_attempts integer not null default 0,
    published_at timestamptz,
    completed_at timestamptz,
    failed_at timestamptz,
    failure text,
    duration_ms bigint,
    traceparent text,                               -- of what ended the stream
    check ((status = 'failed') = (failed_at is not null)),
    check ((status = 'failed') = (failure is not null)),
    check (status <> 'completed' or (completed_at is not null and published_at is not null)),
    check (status <> 'processing' or published_at is not null),
    check (published_at is null or (settled_at is not null and duration_ms is not null))
) partition by range (stream_id);

-- Serves: list_channel_recordings.
create index recordings_channel on recordings (channel_id, stream_id desc);
-- Serves: list_unsettled.
create index recordings_unsettled on recordings (ended_at)
    where ended_at is not null and settled_at is null and status = 'pending';
-- Serves: claim_settled.
create index recordings_settled on recordings (finalise_due_at) where settled_at is not null and status = 'pending';
-- Serves: list_finished_ladders.
create index recordings_processing on recordings (stream_id) where status = 'processing';

-- Takes what no month takes, so that a recording is kept even if nobody made its partition.
create table recordings_default partition of recordings default;

-- A row says: the object is in the store and has this size. No foreign key: segments may come before the recording.
create table segments (
    stream_id uuid not null,
    sequence integer not null check (sequence >= 0),
    duration_ms integer not null check (duration_ms >= 0),
    size_bytes bigint not null check (size_bytes > 0),
    discontinuity boolean not null,
    shipped_at timestamptz not null default now(),
    primary key (stream_id, sequence)
) partition by range (stream_id);

create table segments_default partition of segments default;

-- What a recording plays in, best first by rank; source is rank 0.
create table renditions (
    stream_id uuid not null,
    name text not null,
    rank integer not null,
    state text not null check (state in ('making', 'ready', 'failed')),
    width_px integer not null,
    height_px integer not null,
    frame_rate double precision not null,
    codecs text,                                    -- null until they are known, or when they are not known for sure
    bits_per_second_peak bigint,
    bits_per_second_average bigint,
    primary key (stream_id, name),
    check (state <> 'ready' or (bits_per_second_peak is not null and bits_per_second_average is not null))
) partition by range (stream_id);

create table renditions_default partition of renditions default;

-- One job each: consecutive source segments that become one segment of a rendition.
create table chunks (
    stream_id uuid not null,
    rendition text not null,
    number integer not null,
    first_sequence integer not null,
    last_sequence integer not null,
    duration_ms integer not null,
    discontinuity boolean not null,
    state text not null default 'pending' check (state in ('pending', 'leased', 'done', 'failed')),
    due_at timestamptz not null default now(),      -- pending: not before; leased: the lease ends
    fence integer not null default 0,               -- goes up with each lease; only its holder may finish
    attempts integer not null default 0,
    size_bytes bigint,
    failure text,
    primary key (stream_id, rendition, number),
    check (state <> 'done' or size_bytes is not null)
) partition by range (stream_id);

-- Serves: lease_chunk.
create index chunks_due on chunks (due_at, stream_id, number) where state in ('pending', 'leased');

create table chunks_default partition of chunks default;

-- Makes the partitions of this month and the next `months_ahead`; answers the names of those that were missing.
create function make_archive_partitions(months_ahead integer) returns setof text
language plpgsql as $$
declare
    this_month timestamp := date_trunc('month', now() at time zone 'UTC');
    month timestamp;
    parent text;
    partition text;
begin
    perform pg_advisory_xact_lock(hashtextextended('archive.make_archive_partitions', 0));
    for ahead in 0..months_ahead loop
        month := this_month + make_interval(months => ahead);
        foreach parent in array array['recordings', 'segments', 'renditions', 'chunks'] loop
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

select make_archive_partitions(2);
