-- Queries of the shipper; each is prepared against a migrated database in the tests.

-- name: list_unsettled
-- Streams that are over and whose last segments are not known to be shipped; clips have none to ship.
select stream_id, traceparent from recordings
where ended_at is not null and settled_at is null and status = 'pending' and clip_of is null
order by ended_at limit :rows_max;

-- name: list_known
-- What is known of some streams: whether their recording is settled, and since when it plays.
select stream_id, settled_at, published_at from recordings where stream_id = any(:stream_ids::uuid[]);

-- name: list_swept
-- Those of some streams whose recording has played for so long that local copies may go, or is gone itself.
select stream_id from recordings
where stream_id = any(:stream_ids::uuid[])
  and (published_at < now() - make_interval(secs => :keep_seconds) or purged_at is not null);

-- name: list_shipped
-- The numbers of a stream's segments that are in the store.
select sequence from segments where stream_id = :stream_id order by sequence limit :rows_max;

-- name: note_segments!
-- Segments are in the store; saying it again changes nothing. Those that were given up have turned up.
with shipped as (
    select * from unnest(
        :stream_ids::uuid[], :sequences::integer[], :durations_ms::integer[], :sizes_bytes::bigint[],
        :discontinuities::boolean[], :ended_at::timestamptz[]
    ) as s (stream_id, sequence, duration_ms, size_bytes, discontinuity, ended_at)
),
found as (
    delete from lost_segments as l using shipped as s where l.stream_id = s.stream_id and l.sequence = s.sequence
)
insert into segments (stream_id, sequence, duration_ms, size_bytes, discontinuity, ended_at)
select stream_id, sequence, duration_ms, size_bytes, discontinuity, ended_at from shipped
on conflict (stream_id, sequence) do nothing;

-- name: note_segment!
-- A segment is in the store; saying it again changes nothing.
insert into segments (stream_id, sequence, duration_ms, size_bytes, discontinuity)
values (:stream_id, :sequence, :duration_ms, :size_bytes, :discontinuity)
on conflict (stream_id, sequence) do nothing;

-- name: note_lost!
-- A segment will not come, as far as anybody knows. The first reason counts.
insert into lost_segments (stream_id, sequence, reason, duration_ms)
select :stream_id::uuid, :sequence::integer, :reason, :duration_ms::integer
where not exists (select from segments where stream_id = :stream_id::uuid and sequence = :sequence::integer)
on conflict (stream_id, sequence) do nothing;

-- name: list_lost
-- The segments of a stream that were given up.
select sequence, reason, duration_ms from lost_segments
where stream_id = :stream_id order by sequence limit :rows_max;

-- name: forget_found!
-- Segments that were given up and are in the store all the same: of two shippers, or of one that was killed in between.
delete from lost_segments as l using segments as s
where l.stream_id = :stream_id and s.stream_id = :stream_id and s.sequence = l.sequence;

-- name: settle$
-- Nothing more will be shipped of this stream; how many segments it has. Never fewer than were once counted.
update recordings set settled_at = now(), segments_expected = greatest(
    coalesce(segments_expected, 0), (select count(*)::integer from segments where segments.stream_id = :stream_id))
where stream_id = :stream_id and settled_at is null and ended_at is not null and status = 'pending'
returning segments_expected;

-- name: running_recording$
-- The recording of a stream or, the newest, of a channel that runs, or is over and waits for its last segments.
select stream_id from recordings
where (stream_id = :name or channel_id = :name) and settled_at is null and status = 'pending' and clip_of is null
order by stream_id = :name desc, stream_id desc limit 1;
