-- How many watched, minute by minute. Viewers themselves are in Redis; a stream's row has no counter.

-- At most one row a stream and minute; the sums are those since the stream began. Partitioned as `streams` is.
create table stream_stats (
    stream_id uuid not null,
    minute timestamptz not null,
    viewers integer not null check (viewers >= 0),
    unique_viewers integer not null check (unique_viewers >= 0),
    peak_viewers integer not null check (peak_viewers >= 0),
    primary key (stream_id, minute)
) partition by range (stream_id);

-- Serves: list_watched_streams.
create index stream_stats_watched on stream_stats (minute) where viewers > 0;

create table stream_stats_default partition of stream_stats default;

-- Makes the partitions of this month and the next `months_ahead`; answers the names of those that were missing.
create function make_stream_stats_partitions(months_ahead integer) returns setof text
language plpgsql as $$
declare
    this_month timestamp := date_trunc('month', now() at time zone 'UTC');
    month timestamp;
    partition text;
begin
    perform pg_advisory_xact_lock(hashtextextended('streaming.make_stream_stats_partitions', 0));
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
