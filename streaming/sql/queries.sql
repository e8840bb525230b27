-- name: save_channel!
-- Make the caller's channel, under the name in their token or a newer one that was heard of. One that is there is called
-- what it is called: a token of before a rename is good for some minutes yet.
insert into channels (channel_id, name)
values (:channel_id, coalesce((select username from renames where user_id = :channel_id), :name))
on conflict do nothing;

-- name: set_stream_key$
-- Give the channel its (new) stream key, and answer its id; the one before stops working. A person whose account was
-- deleted gets none. Lock the channel first: what another transaction has noted meanwhile is seen from then on.
update channels set stream_key_hash = :key_hash, stream_key_made_at = now()
where channel_id = :channel_id and not exists (select from erasures where user_id = :channel_id)
returning channel_id;

-- name: begin_stream^
-- Begin a stream for the channel of a stream key, as the due one of those that it has prepared says or else as the channel
-- itself does; unless one is open: then, or for a key that is nobody's, or while the channel is banned, no row. The
-- unique indexes of open_streams make publishes that race wait for each other here; whatever ends a stream is waited
-- for too, so that its event comes before the next beginning's.
with channel as (
    select channel_id, name, next_title, category, tags, language, visibility, clock_timestamp() as now
    from channels where stream_key_hash = :key_hash and not is_banned(channel_id)
), prepared as (
    select p.prepared_id, p.title, p.category, p.tags, p.language, p.visibility
    from prepared_streams p join channel using (channel_id)
    where p.begun_as is null and p.due_at <= channel.now + interval '1 hour' and p.expires_at > channel.now
    order by p.due_at, p.prepared_id limit 1
    for update of p
), opened as (
    insert into open_streams
        (channel_id, stream_id, status, key_hash, server, client, started_at, session_started_at, seen_at)
    select channel_id, :stream_id, 'live', :key_hash, :server, :client, now, now, now from channel
    on conflict do nothing
    returning channel_id, started_at
), said as (
    select c.channel_id, c.name, d.title, d.category, d.tags, d.language, d.visibility, o.started_at
    from opened o join channel c using (channel_id) cross join lateral (
        select title, category, tags, language, visibility from prepared
        union all
        select c.next_title, c.category, c.tags, c.language, c.visibility where not exists (select from prepared)
    ) d
), taken as (
    update prepared_streams p set begun_as = :stream_id, expires_at = said.started_at + interval '2 years'
    from said where p.prepared_id = (select prepared_id from prepared)
), begun as (
    insert into streams (stream_id, channel_id, title, category, tags, language, visibility, status, started_at)
    select :stream_id, channel_id, title, category, tags, language, visibility, 'live', started_at from said
)
select channel_id, name, title, category, tags, language, visibility, started_at from said;

-- name: lock_open_stream_of_channel_key^
-- The open stream of the channel that has this stream key and is not banned, whatever key its publisher showed.
select o.*, clock_timestamp() as now
from open_streams o join channels c using (channel_id)
where c.stream_key_hash = :key_hash and not is_banned(c.channel_id) for update of o;

-- name: is_stream_key$
-- Whether a stream key is somebody's who may stream.
select exists (select from channels where stream_key_hash = :key_hash and not is_banned(channel_id));

-- name: lock_open_stream_of_key^
-- The open stream whose publisher showed this key, which may have been replaced since: who is on stays on.
select o.*, is_banned(o.channel_id) as banned, clock_timestamp() as now
from open_streams o where o.key_hash = :key_hash for update;

-- name: lock_open_stream_of_session^
-- The open stream that listens to this session, for media servers that do not repeat the key.
select o.*, is_banned(o.channel_id) as banned, clock_timestamp() as now
from open_streams o where o.server = :server and o.client = :client
order by o.session_started_at desc limit 1 for update;

-- name: find_channel_of_key$
-- Whose a stream key is.
select channel_id from channels where stream_key_hash = :key_hash;

-- name: lock_open_stream^
-- An open stream by its id.
select o.*, clock_timestamp() as now from open_streams o where o.stream_id = :stream_id for update;

-- name: lock_overdue_streams
-- Open streams that time has something to say to; those that another transaction holds are left to it.
select o.*, clock_timestamp() as now from open_streams o
where (status = 'interrupted' and interrupted_at <= now() - :grace::interval)
   or (status = 'live' and seen_at <= now() - :silence::interval)
order by channel_id
limit :streams_max
for update skip locked;

-- name: save_open_stream!
-- What an open stream has become; the stream's own row is touched only when its status changes.
with changed as (
    update streams set status = :status where stream_id = :stream_id and status <> :status
)
update open_streams
set status = :status, key_hash = :key_hash, server = :server, client = :client,
    session_started_at = :session_started_at, seen_at = :seen_at, interrupted_at = :interrupted_at, silent = :silent
where stream_id = :stream_id;

-- name: touch_open_stream!
-- An open stream was heard of.
update open_streams set seen_at = :seen_at where stream_id = :stream_id;

-- name: end_stream!
-- An open stream is over.
with closed as (
    delete from open_streams where stream_id = :stream_id
)
update streams set status = 'ended', ended_at = :ended_at, end_reason = :reason
where stream_id = :stream_id and status <> 'ended';

-- name: find_stream^
-- One stream with its channel's name and what is known of its recording.
select s.stream_id, s.channel_id, c.name as channel_name, s.title, s.category, s.tags, s.language, s.visibility, s.status,
       s.started_at, s.ended_at, s.end_reason, r.status as recording_status, r.playback_path as recording_path, r.duration_seconds as recording_seconds
from (
    -- Old ones are in the cold table, whose columns are the same.
    select * from streams where stream_id = :stream_id
    union all select * from streams_cold where stream_id = :stream_id
) as s
join channels c using (channel_id)
left join recordings r on r.stream_id = s.stream_id and not r.deleted;

-- name: find_session_of_stream^
-- The publisher that an open stream listens to, and how long ago its publish was accepted.
select server, client, extract(epoch from clock_timestamp() - session_started_at)::float8 as accepted_seconds_ago
from open_streams where stream_id = :stream_id;

-- name: list_live_streams
-- Public streams that are not over, newest first, with their channels' names.
select s.stream_id, s.channel_id, c.name as channel_name, s.title, s.category, s.tags, s.language, s.visibility, s.status,
       s.started_at
from streams s join channels c using (channel_id)
where s.status in ('live', 'interrupted') and s.visibility = 'public'
order by s.started_at desc, s.stream_id desc
limit :rows_max;

-- name: list_live_streams_after
-- The same, behind a stream already listed.
select s.stream_id, s.channel_id, c.name as channel_name, s.title, s.category, s.tags, s.language, s.visibility, s.status,
       s.started_at
from streams s join channels c using (channel_id)
where s.status in ('live', 'interrupted') and s.visibility = 'public'
  and (s.started_at, s.stream_id) < (:started_at::timestamptz, :stream_id::uuid)
order by s.started_at desc, s.stream_id desc
limit :rows_max;

-- name: count_open_streams
-- How many streams are open, by status.
select status, count(*) as streams from open_streams group by status;

-- name: save_recording!
-- What archive last said of a recording; a path or a duration once known stays known.
insert into recordings (stream_id, status, playback_path, duration_seconds)
values (:stream_id, :status, :playback_path, :duration_seconds)
on conflict (stream_id) do update set
    status = excluded.status,
    playback_path = coalesce(excluded.playback_path, recordings.playback_path),
    duration_seconds = coalesce(excluded.duration_seconds, recordings.duration_seconds),
    updated_at = now();

-- name: hide_recording!
-- Whether a recording was deleted; also of one that was never heard of, which may be told of later.
insert into recordings (stream_id, status, deleted) values (:stream_id, 'processing', :deleted)
on conflict (stream_id) do update set deleted = excluded.deleted, updated_at = now();

-- name: make_partitions
-- Partitions for streams of this month and the next ones; lists those that were made.
select make_stream_partitions(:months_ahead) as partition;
