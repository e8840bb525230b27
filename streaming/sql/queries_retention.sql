-- name: list_months_to_move
-- Months of `streams` that ended before a moment, the oldest first, with their bytes.
select to_date(right(c.relname, 7), 'YYYY_MM')::timestamp as month, pg_total_relation_size(c.oid) as size_bytes
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'streams'::regclass and c.relname ~ '^streams_\d{4}_\d{2}$'
  and (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') at time zone 'UTC' <= :cold_before::timestamptz
order by c.relname
limit :months_max;

-- name: count_month^
-- The streams of a month, and whether some are too young for it to move.
select count(*) as streams, coalesce(bool_or(ended_at is null or ended_at >= :cold_before::timestamptz), false) as young
from streams
where stream_id >= first_id_of(:month::timestamp at time zone 'UTC')
  and stream_id < first_id_of((:month::timestamp + interval '1 month') at time zone 'UTC');

-- name: count_strays^
-- Streams that no month took and that are old enough to move, counted up to a limit.
select count(*) as streams, coalesce(sum(pg_column_size(due.*)), 0) as size_bytes
from (
    select s from streams_default as s
    where stream_id < first_id_of(:cold_before::timestamptz) and ended_at < :cold_before::timestamptz
    limit :rows_max
) as due;

-- name: count_due_streams
-- Streams that are too old to be kept, counted up to a limit: those that a hold keeps, and the others.
select held, count(*) as streams, sum(size_bytes) as size_bytes, min(started_at) as first_at, max(ended_at) as last_at
from (
    select is_held(stream_id, channel_id) as held, pg_column_size(s.*) as size_bytes, started_at, ended_at from streams_cold s
    where stream_id < first_id_of(:purge_before::timestamptz) and ended_at < :purge_before::timestamptz
    union all
    select is_held(stream_id, channel_id), pg_column_size(s.*), started_at, ended_at from streams s
    where stream_id < first_id_of(:purge_before::timestamptz) and ended_at < :purge_before::timestamptz
    limit :rows_max
) as due
group by held;

-- name: is_everything_held$
-- Whether a hold keeps everything as it is.
select exists (select from retention_holds where released_at is null and scope = 'everything');

-- name: fence_stream_month!
-- A month says what is in it, so that moving it is quick; `checked` looks at its rows.
select fence_stream_month(:month::timestamp, :checked);

-- name: move_stream_month$
-- Move a month of old streams to the cold table; null: it is not to move.
select move_stream_month(:month::timestamp, :cold_before);

-- name: move_stray_streams$
-- Move some streams that no month took; how many.
select move_stray_streams(:cold_before, :rows_max::integer);

-- name: purge_streams$
-- Remove some streams that are too old, with what is theirs; how many.
select purge_streams(:purge_before, :rows_max::integer);

-- name: purge_recordings_of_none!
-- Remove what was said of recordings of streams that are purged; an archive may outlive its stream and be told of later.
delete from recordings
where stream_id in (
    select r.stream_id from recordings r
    where r.stream_id < first_id_of(:purge_before::timestamptz)
      and not exists (select from streams s where s.stream_id = r.stream_id)
      and not exists (select from streams_cold c where c.stream_id = r.stream_id)
    limit :rows_max
);

-- name: forget_expired_preparations!
-- Remove what was prepared and is over: never begun, or begun so long ago that nobody asks by its id.
delete from prepared_streams
where prepared_id in (select prepared_id from prepared_streams where expires_at <= now() limit :rows_max);

-- name: drop_empty_stream_months$
-- Drop the months in which nothing is left; how many.
select drop_empty_stream_months(:ended_before);

-- name: place_stream_hold!
-- A hold in force; the same again changes nothing.
insert into retention_holds (hold_id, scope, subject_id, reason, placed_by)
values (:hold_id, :scope, :subject_id, :reason, :placed_by)
on conflict (hold_id) do nothing;

-- name: is_subject_there$
-- Whether what a hold is to keep is there: the stream; the channel, whose account was not deleted; or everything.
select case :scope::text
    when 'stream' then exists (select from streams where stream_id = :subject_id::uuid)
                    or exists (select from streams_cold where stream_id = :subject_id::uuid)
    when 'channel' then exists (select from channels where channel_id = :subject_id::uuid)
                    and not exists (select from erasures where user_id = :subject_id::uuid)
    else true end;

-- name: release_stream_hold!
-- Let go; the row stays.
update retention_holds set released_by = :released_by, released_at = now()
where hold_id = :hold_id and released_at is null;
