-- Queries of clips: asking for one, what it is made of, and what takes its original's place.

-- name: lock_clips_of_channel^
-- One request for a clip of a channel at a time, until the transaction ends.
select pg_advisory_xact_lock(hashtextextended('archive.clips.' || :channel_id::uuid, 0));

-- name: forget_clip_requests!
-- Keys that are old enough; a few at a time.
delete from clip_requests where (channel_id, request_key) in (
    select channel_id, request_key from clip_requests
    where made_at < now() - make_interval(secs => :keep_seconds) order by made_at limit :rows_max);

-- name: find_clip_request^
-- What was asked for under this key.
select clip_id, request_sha256 from clip_requests
where channel_id = :channel_id and request_key = :request_key;

-- name: note_clip_request!
-- A clip was asked for under this key.
insert into clip_requests (channel_id, request_key, request_sha256, clip_id)
values (:channel_id, :request_key, :request_sha256, :clip_id);

-- name: count_clips_in_the_making$
-- How many clips of a channel are not made yet.
select count(*) from recordings
where channel_id = :channel_id and clip_of is not null and status = 'pending' and deleted_at is null;

-- name: add_clip$
-- Promise a clip; what is not said is as in its original. Answers nothing when that does not play, or is deleted.
insert into recordings (stream_id, channel_id, channel_name, title, visibility, preserve, started_at, clip_of,
                        clip_from_ms, clip_to_ms, clip_exact, takes_place, traceparent)
select :stream_id, o.channel_id, o.channel_name, coalesce(:title, o.title), coalesce(:visibility, o.visibility),
       o.preserve and :takes_place, now(), o.stream_id, :from_ms, :to_ms, :exact, :takes_place, :traceparent
from recordings as o
where o.stream_id = :original_id and o.published_at is not null and o.deleted_at is null
returning stream_id;

-- name: list_timed_segments
-- The segments that play between two moments, each with its beginning; all of it in ms of the recording.
select sequence, duration_ms, size_bytes, discontinuity, starts_ms
from (
    select sequence, duration_ms, size_bytes, discontinuity,
           sum(duration_ms) over (order by sequence) - duration_ms as starts_ms
    from segments where stream_id = :stream_id) as s
where starts_ms < :to_ms and starts_ms + duration_ms > :from_ms
order by sequence limit :rows_max;

-- name: find_clip_order^
-- What a clip is to be made of, and whether anybody still wants it.
select c.clip_of, c.clip_from_ms, c.clip_to_ms, c.clip_exact, c.deleted_at, o.deleted_at as original_deleted_at
from recordings as c left join recordings as o on o.stream_id = c.clip_of
where c.stream_id = :stream_id and c.clip_of is not null and c.status = 'pending';

-- name: add_segments!
-- Segments that are in the store.
insert into segments (stream_id, sequence, duration_ms, size_bytes, discontinuity)
select :stream_id, s.sequence, s.duration_ms, s.size_bytes, s.discontinuity
from unnest(:sequences::integer[], :durations_ms::integer[], :sizes_bytes::bigint[], :discontinuities::boolean[])
    as s(sequence, duration_ms, size_bytes, discontinuity);

-- name: settle_clip!
-- All of a clip's segments are in the store: it is finalised like a stream that has ended now.
update recordings
set ended_at = clock_timestamp(), settled_at = clock_timestamp(), segments_expected = :segments,
    clip_from_ms = :from_ms, clip_to_ms = :to_ms
where stream_id = :stream_id and clip_of is not null and settled_at is null and status = 'pending';

-- name: list_clips
-- A page of the clips of one recording as its owner sees them, newest first.
select stream_id from recordings
where clip_of = :clip_of and purged_at is null and stream_id < :before
order by stream_id desc limit :rows_max;

-- name: list_public_clips
-- A page of the clips of one recording that everybody may find, newest first.
select stream_id from recordings
where clip_of = :clip_of and visibility = 'public' and deleted_at is null and stream_id < :before
order by stream_id desc limit :rows_max;

-- name: claim_replacement^
-- A clip that plays and is to take the place of what it was cut from; locked, so that one process at a time does it.
select stream_id, clip_of from recordings
where takes_place and published_at is not null and deleted_at is null
order by stream_id limit 1 for update skip locked;

-- name: note_replaced!
-- A clip took this recording's place.
update recordings set replaced_by = :replaced_by where stream_id = :stream_id;

-- name: end_replacement!
-- Nothing more is to be done for the clip.
update recordings set takes_place = false where stream_id = :stream_id;
