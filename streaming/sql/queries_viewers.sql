-- name: list_open_stream_ids
-- The streams that somebody may watch now, and whether only those who are let in.
select stream_id, visibility = 'private' as private from open_streams join streams using (stream_id);

-- name: list_watched_streams
-- Streams whose viewers are to be written: those that are open, and those that are over and whose last row says that
-- somebody watches. With the sums of the last row.
select o.stream_id, true as open, coalesce(s.unique_viewers, 0) as unique_viewers, coalesce(s.peak_viewers, 0) as peak_viewers
from open_streams o
left join lateral (
    select unique_viewers, peak_viewers from stream_stats s where s.stream_id = o.stream_id order by minute desc limit 1
) s on true
union all
select s.stream_id, false, s.unique_viewers, s.peak_viewers
from stream_stats s
where s.viewers > 0 and s.minute > now() - :looked_back::interval
  and not exists (select from open_streams o where o.stream_id = s.stream_id)
  and not exists (select from stream_stats l where l.stream_id = s.stream_id and l.minute > s.minute)
  and exists (select from streams t where t.stream_id = s.stream_id);

-- name: keep_stream_stats!
-- This minute of many streams in one statement; what another process has written of it already only grows.
insert into stream_stats (stream_id, minute, viewers, unique_viewers, peak_viewers)
select stream_id, date_trunc('minute', now()), viewers, unique_viewers, peak_viewers
from unnest(:stream_ids::uuid[], :viewers::int[], :unique_viewers::int[], :peak_viewers::int[])
    as counted (stream_id, viewers, unique_viewers, peak_viewers)
on conflict (stream_id, minute) do update set
    viewers = greatest(stream_stats.viewers, excluded.viewers),
    unique_viewers = greatest(stream_stats.unique_viewers, excluded.unique_viewers),
    peak_viewers = greatest(stream_stats.peak_viewers, excluded.peak_viewers);

-- name: is_keeping_stream_stats$
-- Whether nobody else writes the viewers of this minute; then nobody will until the transaction ends.
select pg_try_advisory_xact_lock(hashtextextended('streaming.stream_stats', 0));

-- name: find_watched_stream^
-- What decides who may see a stream's statistics.
select channel_id, visibility, status from streams where stream_id = :stream_id
union all
select channel_id, visibility, status from streams_cold where stream_id = :stream_id;

-- name: sum_stream_stats^
-- A stream's statistics in one row; no minutes: nobody has counted yet.
select count(*) as minutes, coalesce(sum(viewers), 0) as viewer_minutes, coalesce(max(unique_viewers), 0) as unique_viewers,
       coalesce(max(peak_viewers), 0) as peak_viewers, min(minute) as first_minute, max(minute) as last_minute
from stream_stats where stream_id = :stream_id;

-- name: list_stream_stats
-- A stream's viewers over time, `step` minutes to a point.
select date_bin(make_interval(mins => :step), minute, :first_minute::timestamptz) as at,
       round(avg(viewers))::int as viewers, max(viewers) as viewers_max
from stream_stats where stream_id = :stream_id
group by 1 order by 1 limit :points_max;

-- name: make_stats_partitions
-- Partitions for the statistics of this month's and the next months' streams; lists those that were made.
select make_stream_stats_partitions(:months_ahead) as partition;
