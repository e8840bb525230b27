-- name: read_clock$
-- The database's time, by which what media servers answer is dated.
select clock_timestamp();

-- name: list_sessions
-- The sessions of one media server that streams listen to, a page by stream.
select stream_id, server, client, session_started_at, seen_at, status from open_streams
where server = :server and stream_id > :after
order by stream_id
limit :rows_max;

-- name: touch_sessions!
-- Live sessions that the media server had when it was asked; those that another transaction holds are left to it.
with there as (
    select channel_id from open_streams join unnest(:stream_ids::uuid[], :clients::text[]) as t (stream_id, client)
        using (stream_id, client)
    where server = :server and status = 'live' and session_started_at < :asked_at and seen_at < :asked_at
    order by channel_id
    for update of open_streams skip locked
)
update open_streams o set seen_at = :asked_at from there where o.channel_id = there.channel_id;

-- name: lock_open_streams
-- Open streams by their ids; those that another transaction holds are left to it.
select o.*, clock_timestamp() as now from open_streams o
where stream_id = any (:stream_ids::uuid[])
order by channel_id
for update skip locked;
