-- Queries of what streamers prepare and change, of lists, and of bans.

-- name: view_channel^
-- One channel with its open stream, if it has one.
select c.channel_id, c.name, c.next_title as title, c.category, c.description, c.tags, c.language, c.visibility,
       c.created_at, c.stream_key_made_at, o.stream_id as open_stream_id, s.visibility as open_visibility
from channels c left join open_streams o using (channel_id) left join streams s on s.stream_id = o.stream_id
where c.channel_id = :channel_id;

-- name: change_channel!
-- What a channel says of itself, and its next stream.
update channels
set title = :title, category = :category, description = :description, tags = :tags, language = :language,
    visibility = :visibility
where channel_id = :channel_id;

-- name: lock_channel^
-- What a channel says of itself; no other transaction changes that or prepares a stream for it meanwhile. No row when
-- the person was deleted, whether the channel has been erased yet or not.
select title, category, description, tags, language, visibility
from channels
where channel_id = :channel_id and not exists (select from erasures where user_id = :channel_id) for update;

-- name: drop_expired_prepared_streams!
-- A channel's prepared streams that never began, and announced ids of old streams.
delete from prepared_streams where channel_id = :channel_id and expires_at <= now();

-- name: add_prepared_stream^
-- Prepare a stream, unless the channel has too many: then no row. The channel is locked.
insert into prepared_streams
    (prepared_id, channel_id, title, category, tags, language, visibility, scheduled_at, expires_at)
select :prepared_id, :channel_id, :title, :category, :tags, :language, :visibility, :scheduled_at::timestamptz,
       coalesce(:scheduled_at::timestamptz, now()) + :kept::interval
where (select count(*) from prepared_streams where channel_id = :channel_id and begun_as is null) < :streams_max
returning prepared_id;

-- name: find_prepared_stream^
-- A prepared stream, or what it has become.
select p.prepared_id, p.channel_id, c.name as channel_name, p.title, p.category, p.tags, p.language, p.visibility,
       p.scheduled_at, p.begun_as
from prepared_streams p join channels c using (channel_id)
where p.prepared_id = :prepared_id and (p.begun_as is not null or p.expires_at > now());

-- name: lock_prepared_stream^
-- A prepared stream that has not begun, and does not begin meanwhile.
select prepared_id, channel_id, title, category, tags, language, visibility, scheduled_at
from prepared_streams where prepared_id = :prepared_id and begun_as is null and expires_at > now()
for update;

-- name: change_prepared_stream!
-- What a prepared stream will be.
update prepared_streams
set title = :title, category = :category, tags = :tags, language = :language, visibility = :visibility,
    scheduled_at = :scheduled_at::timestamptz, expires_at = coalesce(:scheduled_at::timestamptz, made_at) + :kept::interval
where prepared_id = :prepared_id;

-- name: drop_prepared_stream$
-- A prepared stream will not be; answers its id unless it has begun.
delete from prepared_streams where prepared_id = :prepared_id and begun_as is null returning prepared_id;

-- name: list_prepared_streams
-- A channel's prepared streams behind a place, the next first.
select p.prepared_id, p.channel_id, c.name as channel_name, p.title, p.category, p.tags, p.language, p.visibility,
       p.scheduled_at, p.due_at
from prepared_streams p join channels c using (channel_id)
where p.channel_id = :channel_id and p.begun_as is null and p.expires_at > now()
  and (p.due_at, p.prepared_id) > (:due_at::timestamptz, :prepared_id::uuid)
  and (p.visibility = 'public' or :with_hidden)
  and (:category::text is null or lower(p.category) = lower(:category))
  and (:language::text is null or p.language = :language or starts_with(p.language, :language || '-'))
  and (:tag::text is null or :tag = any (p.tags))
order by p.due_at, p.prepared_id
limit :rows_max;

-- name: list_open_streams
-- Streams that are not over and fit what was asked for, behind a place, the newest first; of the few that are open.
select s.stream_id, s.channel_id, c.name as channel_name, s.title, s.category, s.tags, s.language, s.visibility, s.status,
       s.started_at
from open_streams o join streams s using (stream_id) join channels c on c.channel_id = o.channel_id
where (o.started_at, o.stream_id) < (:started_at::timestamptz, :stream_id::uuid)
  and (:channel_id::uuid is null or o.channel_id = :channel_id)
  and (s.visibility = 'public' or :with_hidden)
  and (:category::text is null or lower(s.category) = lower(:category))
  and (:language::text is null or s.language = :language or starts_with(s.language, :language || '-'))
  and (:tag::text is null or :tag = any (s.tags))
order by o.started_at desc, o.stream_id desc
limit :rows_max;

-- name: list_channel_streams
-- A channel's streams that are over and fit what was asked for, behind a place, the newest first.
select s.stream_id, s.channel_id, c.name as channel_name, s.title, s.category, s.tags, s.language, s.visibility, s.status,
       s.started_at, s.ended_at
from streams s join channels c using (channel_id)
where s.channel_id = :channel_id and (s.started_at, s.stream_id) < (:started_at::timestamptz, :stream_id::uuid)
  and s.status = 'ended'
  and (s.visibility = 'public' or :with_hidden)
  and (:category::text is null or lower(s.category) = lower(:category))
  and (:language::text is null or s.language = :language or starts_with(s.language, :language || '-'))
  and (:tag::text is null or :tag = any (s.tags))
order by s.started_at desc, s.stream_id desc
limit :rows_max;

-- name: list_categories
-- What the public streams that are on are about, and how many are about it, the most first.
select min(s.category) as category, count(*) as streams
from open_streams o join streams s using (stream_id)
where s.visibility = 'public' and s.category is not null
group by lower(s.category)
order by count(*) desc, lower(s.category)
limit :rows_max;

-- name: find_changeable_stream^
-- What a stream is called and who may see it.
select title, category, tags, language, visibility from streams where stream_id = :stream_id;

-- name: change_stream!
-- What a stream that is on is called and who may see it.
update streams
set title = :title, category = :category, tags = :tags, language = :language, visibility = :visibility
where stream_id = :stream_id;

-- name: find_visibility$
-- Who may see a stream.
select visibility from streams where stream_id = :stream_id;

-- name: ban_channel!
-- Refuse a channel's publishers for some seconds, or until the ban is lifted.
insert into channel_bans (channel_id, banned_by, banned_until, reason, made_by)
values (:channel_id, :banned_by, coalesce(now() + make_interval(secs => :seconds::integer), 'infinity'), :reason, :made_by)
on conflict (channel_id, banned_by) do update
set banned_until = excluded.banned_until, reason = excluded.reason, made_by = excluded.made_by, made_at = now();

-- name: lift_bans
-- Let a channel stream again, as far as it is these who refuse it.
delete from channel_bans where channel_id = :channel_id and banned_by = any (:banned_by::text[]) returning banned_by;

-- name: find_ban^
-- Why a channel's publishers are refused at present: an operator's ban before the streamer's own.
select banned_by, nullif(banned_until, 'infinity') as banned_until, reason
from channel_bans where channel_id = :channel_id and banned_until > now()
order by banned_by limit 1;
