-- Queries of the archive; each is prepared against a migrated database in the tests.

-- name: make_partitions
-- Make the partitions of this month and the months ahead.
select make_archive_partitions(:months_ahead) as partition;

-- name: note_started!
-- A stream began: it will have a recording.
insert into recordings (stream_id, channel_id, channel_name, title, visibility, started_at)
values (:stream_id, :channel_id,
        coalesce((select username from renames where user_id = :channel_id and renamed_at > :started_at), :channel_name),
        :title, :visibility, :started_at)
on conflict (stream_id) do update
set visibility = case when recordings.channel_name = '' then excluded.visibility else recordings.visibility end,
    channel_name = case when recordings.purged_at is null then excluded.channel_name else '' end, started_at = excluded.started_at,
    title = case when recordings.title_edited_at is null then excluded.title else recordings.title end;

-- name: follow_stream^
-- A stream is called something else, or other people may see it (null: the same): so is its recording, unless its owner
-- has given it a title of its own. Answers the channel, and whether others see it now; nothing where there is none.
update recordings as r
set title = case when r.title_edited_at is null then :title else r.title end,
    visibility = coalesce(:visibility, r.visibility)
from (select stream_id, visibility from recordings where stream_id = :stream_id for update) as b
where r.stream_id = :stream_id and b.stream_id = r.stream_id and r.deleted_at is null
returning r.channel_id, r.visibility, r.visibility <> b.visibility as visibility_changed;

-- name: note_ended!
-- A stream is over: the shipper settles its directory. The first end counts.
insert into recordings (stream_id, channel_id, started_at, ended_at, traceparent)
values (:stream_id, :channel_id, :started_at, :ended_at, :traceparent)
on conflict (stream_id) do update
set ended_at = excluded.ended_at, traceparent = excluded.traceparent
where recordings.ended_at is null;

-- name: list_segments
-- A stream's segments that are in the store.
select sequence, duration_ms, size_bytes, discontinuity from segments
where stream_id = :stream_id order by sequence limit :rows_max;

-- name: list_shipped_since
-- A stream's segments from a number on, and for how many seconds each has been in the store.
select sequence, duration_ms, discontinuity, extract(epoch from now() - shipped_at)::double precision as age_seconds
from segments where stream_id = :stream_id and sequence >= :next_sequence order by sequence limit :rows_max;

-- name: list_segment_range
-- The numbers and sizes of consecutive segments.
select sequence, duration_ms, size_bytes, discontinuity from segments
where stream_id = :stream_id and sequence between :first_sequence and :last_sequence
order by sequence limit :rows_max;

-- name: list_running
-- Streams of the last two days that run and of which something has been shipped, the newest first, besides some.
select r.stream_id from recordings as r
where r.status = 'pending' and r.ended_at is null and r.clip_of is null
  and r.stream_id >= uuid7_floor(now() - interval '2 days') and r.stream_id <> all(:besides::uuid[])
  and exists (select from segments as s where s.stream_id = r.stream_id)
order by r.stream_id desc limit :rows_max;

-- name: settle_abandoned
-- Streams that are over, and whose shipper has neither shipped anything nor settled them for a long time.
update recordings as r set settled_at = now(), segments_expected = coalesce(segments_expected, 0)
where r.stream_id in (
    select u.stream_id from recordings as u
    where u.ended_at < now() - make_interval(secs => :after_seconds)
      and u.settled_at is null and u.status = 'pending' and u.clip_of is null
      and not exists (
          select from segments as s where s.stream_id = u.stream_id
          and s.shipped_at >= now() - make_interval(secs => :after_seconds))
    order by u.ended_at limit :rows_max for update skip locked)
returning r.stream_id;

-- name: claim_settled^
-- Take one settled recording for finalising; nobody else is given it until the claim is over.
update recordings
set finalise_due_at = now() + make_interval(secs => :claim_seconds), finalise_attempts = finalise_attempts + 1
where stream_id = (
    select stream_id from recordings
    where settled_at is not null and status = 'pending' and finalise_due_at <= now() and deleted_at is null
    order by finalise_due_at limit 1 for update skip locked)
returning stream_id, channel_id, ended_at, segments_expected, finalise_attempts, clip_of, traceparent,
    started_at;

-- name: return_claim!
-- Give a claimed recording back, to be tried again after a while; an attempt that met an outage is not counted.
update recordings
set finalise_due_at = now() + make_interval(secs => :wait_seconds),
    finalise_attempts = finalise_attempts - :attempts_forgiven
where stream_id = :stream_id and status = 'pending';

-- name: lose_segments!
-- Segments that the store does not have after all. One that turns up again is shipped like any other.
with gone as (
    delete from segments where stream_id = :stream_id and sequence = any(:sequences::integer[])
    returning stream_id, sequence, duration_ms
)
insert into lost_segments (stream_id, sequence, reason, duration_ms)
select stream_id, sequence, :reason, duration_ms from gone
on conflict (stream_id, sequence) do update set reason = excluded.reason, duration_ms = excluded.duration_ms;

-- name: unsettle!
-- Let the shipper look at the directory again.
update recordings set settled_at = null, finalise_due_at = now() + make_interval(secs => :wait_seconds)
where stream_id = :stream_id and status = 'pending';

-- name: lock_settled$
-- Let nobody else publish, settle or delete the recording until this transaction is over. Nothing: it is done already.
select stream_id from recordings
where stream_id = :stream_id and status = 'pending' and settled_at is not null for update;

-- name: count_segments$
-- How many segments of a stream are in the store.
select count(*) from segments where stream_id = :stream_id;

-- name: list_segment_ends
-- When a stream's segments had been written, as far as that is known.
select sequence, ended_at from segments
where stream_id = :stream_id and ended_at is not null order by sequence limit :rows_max;

-- name: publish^
-- The recording plays. Answers what is said of it besides.
update recordings
set status = 'processing', published_at = :published_at, duration_ms = :duration_ms, size_bytes = :size_bytes,
    partial = :partial, missing = :missing
where stream_id = :stream_id and status = 'pending' and settled_at is not null
returning visibility, clip_from_ms;

-- name: complete$
-- Every rendition is ready. Answers the channel, or nothing when it was said before.
update recordings set status = 'completed', completed_at = :completed_at, progress_percent = 100
where stream_id = :stream_id and status = 'processing'
returning channel_id;

-- name: fail$
-- There will be nothing (more) of this recording. Answers the channel, or nothing when it was said before.
update recordings set status = 'failed', failed_at = :failed_at, failure = :failure
where stream_id = :stream_id and status in ('pending', 'processing')
returning channel_id;

-- name: add_rendition!
-- A rendition that plays already, or will be made.
insert into renditions (stream_id, name, rank, state, width_px, height_px, frame_rate, codecs,
                        bits_per_second_peak, bits_per_second_average)
values (:stream_id, :name, :rank, :state, :width_px, :height_px, :frame_rate, :codecs, :peak, :average);

-- name: list_renditions
-- A recording's renditions, best first.
select name, rank, state, width_px, height_px, frame_rate, codecs, bits_per_second_peak, bits_per_second_average
from renditions where stream_id = :stream_id order by rank limit 32;

-- name: lock_master$
-- Let nobody else change what the master playlist names until this transaction is over. Nothing: it has none any more.
select stream_id from recordings where stream_id = :stream_id and purged_at is null for update;

-- name: list_ready_renditions
-- What a recording plays in, best first.
select name, width_px, height_px, frame_rate, codecs, bits_per_second_peak, bits_per_second_average
from renditions where stream_id = :stream_id and state = 'ready' order by rank limit 32;

-- name: list_caption_tracks
-- A recording's captions, by language.
select particulars from recording_files where stream_id = :stream_id and role = 'captions'
order by particulars ->> 'language', name limit 100;

-- name: find_rendition^
-- One rendition.
select name, rank, state, width_px, height_px, frame_rate, codecs, bits_per_second_peak, bits_per_second_average
from renditions where stream_id = :stream_id and name = :name;

-- name: note_codecs!
-- The codecs of a rendition, from the first chunk that was made of it.
update renditions set codecs = :codecs where stream_id = :stream_id and name = :name and codecs is null;

-- name: ready_rendition!
-- Every chunk of a rendition is in the store.
update renditions
set state = 'ready', bits_per_second_peak = :peak, bits_per_second_average = :average
where stream_id = :stream_id and name = :name and state = 'making';

-- name: fail_renditions!
-- What was being made of a recording will not be.
update renditions set state = 'failed' where stream_id = :stream_id and state = 'making';

-- name: list_named_objects
-- Every object of some recordings that a row or a playlist names, in the order of the keys; the size where a row knows
-- it. Of all recordings: from the lowest id to the highest.
select o.key, o.size_bytes
from (
    select s.stream_id, s.stream_id || '/source/' || s.sequence || '.ts' as key, s.size_bytes from segments as s
    union all
    select j.stream_id, j.stream_id || '/' || made.key || '/' || j.number || '-' || j.fence || '.ts',
           (made.value ->> 'size_bytes')::bigint
    from jobs as j cross join lateral jsonb_each(j.result) as made where j.kind = 'chunk' and j.state = 'done'
    union all
    select f.stream_id, f.stream_id || '/' || f.name, f.size_bytes from recording_files as f
    union all
    select n.stream_id, n.stream_id || '/' || n.name || '/index.m3u8', null
    from renditions as n join recordings as r on r.stream_id = n.stream_id
    where n.state = 'ready' and r.published_at is not null
    union all
    select r.stream_id, r.stream_id || '/master.m3u8', null
    from recordings as r where r.published_at is not null
) as o
where o.stream_id between :first_id and :last_id
order by o.key collate "C";
