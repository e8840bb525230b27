-- Queries of retention and of the sweeper.

-- name: is_held$
-- Whether a hold keeps a recording from being cooled, deleted or purged.
select coalesce((select held(r.stream_id, r.channel_id) from recordings as r where r.stream_id = :stream_id),
                held(:stream_id, null));

-- name: share_holds$
-- From here to the end of the transaction no hold is placed.
select pg_advisory_xact_lock_shared(hashtextextended('archive.retention_holds', 0));

-- name: lock_holds$
-- Waits for every transaction that has asked whether something is held.
select pg_advisory_xact_lock(hashtextextended('archive.retention_holds', 0));

-- name: add_hold!
-- Keep everything, a channel's recordings, or a recording.
insert into retention_holds (hold_id, scope, subject_id, reason, placed_by)
values (:hold_id, :scope, :subject_id, :reason, :placed_by);

-- name: release_hold!
-- Let go; the row stays. Nothing changes when it was released before.
update retention_holds set released_by = :released_by, released_at = now()
where hold_id = :hold_id and released_at is null;

-- name: list_holds
-- Holds, the newest first: those in force, or all.
select hold_id, scope, subject_id, reason, placed_by, placed_at, released_by, released_at from retention_holds
where released_at is null or :include_released
order by placed_at desc limit :rows_max;

-- name: set_channel_retention!
-- A channel gets terms of its own.
insert into channel_retention (channel_id, cold_after_days, cold_never, delete_after_days, delete_never, set_by)
values (:channel_id, :cold_after_days, :cold_never, :delete_after_days, :delete_never, :set_by)
on conflict (channel_id) do update
set cold_after_days = excluded.cold_after_days, cold_never = excluded.cold_never,
    delete_after_days = excluded.delete_after_days, delete_never = excluded.delete_never,
    set_by = excluded.set_by, set_at = now();

-- name: drop_channel_retention!
-- A channel goes by the settings again.
delete from channel_retention where channel_id = :channel_id;

-- name: list_channel_retention
-- The channels with terms of their own.
select channel_id, cold_after_days, cold_never, delete_after_days, delete_never, set_by, set_at
from channel_retention order by channel_id limit :rows_max;

-- name: find_channel_retention^
-- A channel's own terms.
select channel_id, cold_after_days, cold_never, delete_after_days, delete_never, set_by, set_at
from channel_retention where channel_id = :channel_id;

-- name: list_due_to_cool
-- Recordings old enough for the colder class, the oldest first: by the settings, or by their channel's terms.
select due.stream_id, due.channel_id, due.aged_from, due.preserve,
       (coalesce(due.size_bytes, (select sum(s.size_bytes) from segments as s where s.stream_id = due.stream_id), 0)
        + coalesce((select sum(f.size_bytes) from recording_files as f where f.stream_id = due.stream_id), 0)
       )::bigint as size_bytes
from (
    (select r.stream_id, r.channel_id, coalesce(r.published_at, r.ended_at, r.started_at) as aged_from,
            r.size_bytes, r.preserve
     from recordings as r
     where r.cold_at is null and r.deleted_at is null and not r.preserve and r.published_at is not null
       and r.status in ('completed', 'failed')
       and coalesce(r.published_at, r.ended_at, r.started_at) <= :default_before
       and held(r.stream_id, r.channel_id) = :held
       and not exists (select from channel_retention as c
                       where c.channel_id = r.channel_id and (c.cold_never or c.cold_after_days is not null))
     order by coalesce(r.published_at, r.ended_at, r.started_at) limit :rows_max)
    union all
    (select r.stream_id, r.channel_id, coalesce(r.published_at, r.ended_at, r.started_at) as aged_from,
            r.size_bytes, r.preserve
     from channel_retention as c join recordings as r on r.channel_id = c.channel_id
     where r.cold_at is null and r.deleted_at is null and not r.preserve and r.published_at is not null
       and r.status in ('completed', 'failed')
       and coalesce(r.published_at, r.ended_at, r.started_at) <= :now::timestamptz - make_interval(days => c.cold_after_days)
       and held(r.stream_id, r.channel_id) = :held
     order by coalesce(r.published_at, r.ended_at, r.started_at) limit :rows_max)
) as due
order by due.aged_from, due.stream_id limit :rows_max;

-- name: list_due_to_delete
-- Recordings older than they are kept, the oldest first: by the settings, or by their channel's terms.
select due.stream_id, due.channel_id, due.aged_from, due.preserve,
       (coalesce(due.size_bytes, (select sum(s.size_bytes) from segments as s where s.stream_id = due.stream_id), 0)
        + coalesce((select sum(f.size_bytes) from recording_files as f where f.stream_id = due.stream_id), 0)
       )::bigint as size_bytes
from (
    (select r.stream_id, r.channel_id, coalesce(r.published_at, r.ended_at, r.started_at) as aged_from,
            r.size_bytes, r.preserve
     from recordings as r
     where r.deleted_at is null and not r.preserve and r.status <> 'pending'
       and coalesce(r.published_at, r.ended_at, r.started_at) <= :default_before
       and held(r.stream_id, r.channel_id) = :held
       and not exists (select from channel_retention as c
                       where c.channel_id = r.channel_id and (c.delete_never or c.delete_after_days is not null))
     order by coalesce(r.published_at, r.ended_at, r.started_at) limit :rows_max)
    union all
    (select r.stream_id, r.channel_id, coalesce(r.published_at, r.ended_at, r.started_at) as aged_from,
            r.size_bytes, r.preserve
     from channel_retention as c join recordings as r on r.channel_id = c.channel_id
     where r.deleted_at is null and not r.preserve and r.status <> 'pending'
       and coalesce(r.published_at, r.ended_at, r.started_at) <= :now::timestamptz - make_interval(days => c.delete_after_days)
       and held(r.stream_id, r.channel_id) = :held
     order by coalesce(r.published_at, r.ended_at, r.started_at) limit :rows_max)
) as due
order by due.aged_from, due.stream_id limit :rows_max;

-- name: list_due_to_purge
-- Deleted recordings whose undo period is over, and whose objects are therefore to be removed.
select r.stream_id, r.channel_id, r.purge_due_at as aged_from, r.preserve,
       (coalesce(r.size_bytes, (select sum(s.size_bytes) from segments as s where s.stream_id = r.stream_id), 0)
        + coalesce((select sum(f.size_bytes) from recording_files as f where f.stream_id = r.stream_id), 0)
       )::bigint as size_bytes
from recordings as r
where r.purge_due_at is not null and r.purged_at is null and r.purge_due_at <= :now
  and held(r.stream_id, r.channel_id) = :held
order by r.purge_due_at limit :rows_max;

-- name: lock_due^
-- One recording, as it is now, locked: what was planned of it may not be true any more.
select r.channel_id, coalesce(r.published_at, r.ended_at, r.started_at) as aged_from,
       r.preserve or r.deleted_at is not null or held(r.stream_id, r.channel_id) as kept, r.cooled_to
from recordings as r where r.stream_id = :stream_id for update of r;

-- name: note_cooled_to!
-- So far a recording is in the colder class.
update recordings set cooled_to = :cooled_to where stream_id = :stream_id and cold_at is null;

-- name: note_cold!
-- A recording is in the colder class.
update recordings set cold_at = now(), cooled_to = null where stream_id = :stream_id and cold_at is null;

-- name: claim_round$
-- Begin a round, or take over one that is dead; answers where to go on. Nobody else is given it for a while.
update retention_rounds set due_at = now() + make_interval(secs => :claim_seconds), claim = :claim
where kind = :kind and due_at <= now()
returning cursor;

-- name: extend_round!
-- The round goes on, and is done up to here. Changes nothing when another has taken it over.
update retention_rounds set due_at = now() + make_interval(secs => :claim_seconds), cursor = :cursor
where kind = :kind and claim = :claim;

-- name: end_round!
-- The round is over; the next begins after a while.
update retention_rounds set due_at = now() + make_interval(secs => :wait_seconds), cursor = :cursor, claim = null
where kind = :kind and claim = :claim;

-- name: find_folder^
-- What is known of a recording's folder: whether somebody may be about to name what is in it, or it is held, and whether
-- all that is named has to be there. Of a folder that is not known one can't tell whether a hold on a channel covers it.
select r.channel_id, r.stream_id is not null as known,
       coalesce(r.status in ('pending', 'processing'), false)
           or exists (select from jobs as j
                      where j.stream_id = f.stream_id and j.state in ('pending', 'leased')) as busy,
       held(f.stream_id, r.channel_id)
           or r.stream_id is null and exists (select from retention_holds where released_at is null) as held,
       coalesce(r.published_at is not null and r.deleted_at is null, false) as complete
from (select :stream_id::uuid as stream_id) as f left join recordings as r on r.stream_id = f.stream_id;

-- name: list_playing_after
-- The next recordings that play, in order.
select stream_id from recordings
where stream_id > :after and published_at is not null and deleted_at is null
order by stream_id limit :rows_max;

-- name: measure_months
-- What recordings that have their objects still take, by months of 30 days before now.
select greatest(0, floor(extract(epoch from :now - r.published_at) / 2592000))::integer as month,
       count(*) as streams, coalesce(sum(r.duration_ms), 0)::bigint as duration_ms,
       coalesce(sum(z.size_bytes), 0)::bigint as size_bytes,
       coalesce(sum(z.size_bytes) filter (where r.cold_at is not null), 0)::bigint as cold_bytes
from recordings as r
cross join lateral (
    select coalesce(r.size_bytes, (select sum(s.size_bytes) from segments as s where s.stream_id = r.stream_id), 0)
           + coalesce((select sum(f.size_bytes) from recording_files as f where f.stream_id = r.stream_id), 0)
           as size_bytes) as z
where r.published_at is not null and r.purged_at is null
group by 1 order by 1 limit :rows_max;

-- name: measure_tables
-- The tables of the schema with their partitions: rows as the server estimates them, and bytes with indexes.
select coalesce(p.relname, c.relname)::text as name, sum(s.n_live_tup)::bigint as rows,
       sum(pg_total_relation_size(c.oid))::bigint as size_bytes
from pg_class as c
join pg_stat_user_tables as s on s.relid = c.oid
left join pg_inherits as i on i.inhrelid = c.oid
left join pg_class as p on p.oid = i.inhparent
where c.relkind = 'r' and s.schemaname = current_schema()
group by 1 order by 1 limit :rows_max;
