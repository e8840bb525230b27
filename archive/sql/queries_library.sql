-- Queries of the library: what people see of recordings, and what owners change.

-- name: find_recordings
-- Recordings in full, newest first: with the renditions that play, best first, and the files beside them.
select r.stream_id, r.channel_id, r.channel_name, r.title, r.status, r.started_at, r.ended_at, r.settled_at,
       r.published_at, r.completed_at, r.failure, r.duration_ms, r.partial, r.missing, r.visibility, r.preserve,
       r.deleted_at, r.purge_due_at, r.purged_at, r.delete_reason, r.clip_of, r.clip_from_ms, r.clip_to_ms,
       r.replaced_by, r.progress_percent, r.size_bytes, r.edited_at,
       array(select n.name from renditions as n
             where n.stream_id = r.stream_id and n.state = 'ready' order by n.rank) as renditions,
       (select jsonb_agg(jsonb_build_object('name', f.name, 'role', f.role, 'size_bytes', f.size_bytes,
                                            'particulars', f.particulars) order by f.role, f.name)
        from recording_files as f where f.stream_id = r.stream_id) as files
from recordings as r where r.stream_id = any(:stream_ids::uuid[]) order by r.stream_id desc;

-- name: list_public
-- A page of the recordings that everybody may find, newest first.
select stream_id from recordings
where visibility = 'public' and deleted_at is null and stream_id < :before
order by stream_id desc limit :rows_max;

-- name: list_channel_public
-- A page of what everybody may find of one channel, newest first.
select stream_id from recordings
where channel_id = :channel_id and visibility = 'public' and deleted_at is null and stream_id < :before
order by stream_id desc limit :rows_max;

-- name: list_channel_recordings
-- A page of one channel's recordings as its owner sees them, newest first.
select stream_id from recordings
where channel_id = :channel_id and purged_at is null and stream_id < :before
order by stream_id desc limit :rows_max;

-- name: edit_recording^
-- What its owner says of a recording; null leaves as it is. Answers the channel, and whether others see it now;
-- nothing when it is deleted.
update recordings as r
set title = coalesce(:title, r.title),
    title_edited_at = case when :title::text is null then r.title_edited_at else now() end,
    visibility = coalesce(:visibility, r.visibility),
    preserve = coalesce(:preserve::boolean, r.preserve),
    edited_at = now()
from (select stream_id, visibility from recordings where stream_id = :stream_id for update) as b
where r.stream_id = :stream_id and b.stream_id = r.stream_id and r.deleted_at is null
returning r.channel_id, r.visibility, r.visibility <> b.visibility as visibility_changed;

-- name: mark_deleted$
-- Nobody sees the recording any more. Answers the channel, or nothing when it is deleted already or still runs.
update recordings
set deleted_at = :deleted_at, purge_due_at = :purge_due_at, delete_reason = :reason
where stream_id = :stream_id and deleted_at is null and (ended_at is not null or clip_of is not null)
returning channel_id;

-- name: mark_restored$
-- A deleted recording is seen again. Answers the channel, or nothing when it is not deleted, or it is too late: by the
-- clock and not by the transaction's time, for a purge that began meanwhile had the row locked. One that was deleted for
-- its age is preserved from now on, or it would be deleted again at once.
update recordings
set deleted_at = null, purge_due_at = null, delete_reason = null,
    preserve = preserve or coalesce(delete_reason = 'retention', false)
where stream_id = :stream_id and deleted_at is not null and purged_at is null and purge_due_at > clock_timestamp()
  and delete_reason is distinct from 'account'
returning channel_id;
