-- Queries about people who have another name, or whose accounts were deleted.

-- name: note_rename!
-- The name that somebody has from a moment on; an older one changes nothing.
with named as (
    insert into renames (user_id, username, renamed_at) values (:user_id, :username, :renamed_at)
    on conflict (user_id) do update set username = excluded.username, renamed_at = excluded.renamed_at
    where renames.renamed_at < excluded.renamed_at
    returning user_id, username
)
update channels set name = named.username from named where channel_id = named.user_id;

-- name: drop_stream_key!
-- Whoever has the channel's key begins nothing any more.
update channels set stream_key_hash = null where channel_id = :channel_id;

-- name: list_open_streams_of
-- The stream that a channel has open.
select stream_id from open_streams where channel_id = :channel_id limit 1;

-- name: erase_streams$
-- Erase some of a channel's ended streams, unless a hold keeps them; how many.
select erase_streams(:channel_id, :rows_max);

-- name: erase_cold_streams$
-- Erase a channel's among the next cold streams; answers the last id that was looked at, or null behind the last.
select erase_cold_streams(:channel_id, :after_id, :rows_max);

-- name: drop_recording!
-- Forget what archive said of the recording of a deleted account.
delete from recordings where stream_id = :stream_id;

-- name: erase_channel!
-- The channel, its name, and what it had announced; and the person's id where they did something to others' channels.
with announced as (delete from prepared_streams where channel_id = :channel_id),
     bans as (delete from channel_bans where channel_id = :channel_id),
     names as (delete from renames where user_id = :channel_id),
     acted as (
         update channel_bans set made_by = '00000000-0000-0000-0000-000000000000'
         where made_by = :channel_id and channel_id <> :channel_id
     )
delete from channels where channel_id = :channel_id;

-- name: has_streams$
-- Whether any stream of a channel is still there. Cold ones are looked for only where a hold may keep them: no index knows
-- their channels.
select exists (select from streams where channel_id = :channel_id)
    or exists (
        select from retention_holds h
        where h.released_at is null and h.scope = 'stream'
          and exists (select from streams_cold c where c.stream_id = h.subject_id and c.channel_id = :channel_id))
    or (exists (
            select from retention_holds h
            where h.released_at is null
              and (h.scope = 'everything' or h.scope = 'channel' and h.subject_id = :channel_id))
        and exists (select from streams_cold c where c.channel_id = :channel_id));
