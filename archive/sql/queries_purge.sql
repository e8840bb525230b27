-- Queries of the purge of deleted recordings.

-- name: list_purges
-- Recordings whose undo period is over and that no hold keeps, and those whose objects are being removed already. Those of
-- a deleted account have no undo period: its shipper may be at work yet.
(select stream_id, true as begun from recordings where removing_since is not null
 order by removing_since limit :rows_max)
union all
(select stream_id, false from recordings
 where purge_due_at <= now() and purged_at is null and not held(stream_id, channel_id)
   and (delete_reason is distinct from 'account' or settled_at is not null or clip_of is not null)
 order by purge_due_at limit :rows_max);

-- name: begin_purge$
-- The recording cannot be restored any more, and nobody works on it. Answers nothing when it is not due (any more).
update recordings
set purged_at = clock_timestamp(), removing_since = clock_timestamp(), title = '', title_edited_at = clock_timestamp(),
    channel_name = '', missing = null,
    settled_at = coalesce(settled_at, clock_timestamp()), segments_expected = coalesce(segments_expected, 0),
    failed_at = case when status in ('pending', 'processing') then clock_timestamp() else failed_at end,
    failure = case when status in ('pending', 'processing') then 'it was deleted' else failure end,
    status = case when status in ('pending', 'processing') then 'failed' else status end
where stream_id = :stream_id and deleted_at is not null and purged_at is null and purge_due_at <= clock_timestamp()
  and (delete_reason is distinct from 'account' or settled_at is not null or clip_of is not null)
returning stream_id;

-- name: drop_rows!
-- All that is known of a recording but that it was there.
with dropped_jobs as (delete from jobs where stream_id = :stream_id),
     dropped_turns as (delete from job_turns where stream_id = :stream_id),
     dropped_files as (delete from recording_files where stream_id = :stream_id),
     dropped_lost as (delete from lost_segments where stream_id = :stream_id),
     dropped_renditions as (delete from renditions where stream_id = :stream_id),
     dropped_grants as (delete from playback_grants where stream_id = :stream_id)
delete from segments where stream_id = :stream_id;

-- name: end_purge!
-- No object of it is left.
update recordings set removing_since = null where stream_id = :stream_id;
