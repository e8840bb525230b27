-- Queries about people who have another name, or whose accounts were deleted.

-- name: note_rename!
-- The name that somebody has from a moment on; an older one changes nothing.
with named as (
    insert into renames (user_id, username, renamed_at) values (:user_id, :username, :renamed_at)
    on conflict (user_id) do update set username = excluded.username, renamed_at = excluded.renamed_at
    where renames.renamed_at < excluded.renamed_at
    returning user_id, username
)
update recordings as r set channel_name = named.username
from named where r.channel_id = named.user_id and r.purged_at is null;

-- name: list_recordings_to_delete
-- Some recordings of a channel that are to be hidden: those that are over, and clips.
select stream_id from recordings
where channel_id = :channel_id and deleted_at is null and (ended_at is not null or clip_of is not null)
limit :rows_max;

-- name: hurry_purges!
-- What a channel's owner has deleted is not kept for them to change their mind any more.
update recordings set purge_due_at = least(purge_due_at, now()), delete_reason = 'account'
where channel_id = :channel_id and deleted_at is not null and purged_at is null and delete_reason is distinct from 'account';

-- name: list_recordings_to_erase
-- Some recordings of a channel whose objects are not all gone, and that may go: no shipper is at them, no hold is on.
select stream_id from recordings
where channel_id = :channel_id and deleted_at is not null
  and (removing_since is not null
       or purged_at is null and (settled_at is not null or clip_of is not null) and not held(stream_id, channel_id))
limit :rows_max;

-- name: is_removing$
-- Whether a recording is purged and has objects yet.
select removing_since is not null from recordings where stream_id = :stream_id;

-- name: forget_channel_of_purged!
-- What stays of some of a channel's recordings is the ids alone.
update recordings set channel_id = '00000000-0000-0000-0000-000000000000'
where stream_id = any(
    select stream_id from recordings
    where channel_id = :channel_id and deleted_at is not null and purged_at is not null and removing_since is null
    limit :rows_max);

-- name: erase_channel!
-- What else is kept of a channel.
with asked as (delete from clip_requests where channel_id = :channel_id),
     terms as (delete from channel_retention where channel_id = :channel_id)
delete from renames where user_id = :channel_id;

-- name: find_remains^
-- What is still there of a channel, and whether a hold keeps some of it.
select count(*) as recordings, coalesce(bool_or(held(stream_id, channel_id)), false) as held
from recordings where channel_id = :channel_id;
