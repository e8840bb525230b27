-- Queries of jobs: leasing them in turns, and what becomes of them.

-- name: add_jobs!
-- Jobs to do; one that exists is left alone.
insert into jobs (stream_id, kind, number, particulars, work_ms, urgency)
select n.stream_id, n.kind, n.number, n.particulars::jsonb, n.work_ms, n.urgency
from unnest(:stream_ids::uuid[], :kinds::text[], :numbers::integer[], :particulars::text[], :work_ms::bigint[],
            :urgencies::smallint[]) as n(stream_id, kind, number, particulars, work_ms, urgency)
on conflict do nothing;

-- name: add_turns!
-- Let recordings have a turn, from where the others are; locks the turns that exist (see lease_job).
insert into job_turns as t (stream_id, urgency, live, served_ms)
select n.stream_id, n.urgency, n.live,
       coalesce((select min(o.served_ms) from job_turns as o where o.urgency = n.urgency and o.live = n.live), 0)
from (
    select distinct u.stream_id, u.urgency,
           u.urgency > 0 and exists (
               select from recordings as r where r.stream_id = u.stream_id and r.ended_at is null) as live
    from unnest(:stream_ids::uuid[], :urgencies::smallint[]) as u(stream_id, urgency)
    order by u.stream_id, u.urgency) as n
on conflict (stream_id, urgency) do update
set live = excluded.live, served_ms = case when t.live = excluded.live then t.served_ms else excluded.served_ms end;

-- name: lease_job^
-- Take the next job of these kinds: urgent ones first, then recordings in turn.
select j.stream_id, j.kind, j.number, j.particulars, j.work_ms, j.fence, j.attempts, j.failure, r.traceparent
from lease_job(:kinds::text[], :lease_seconds) as j left join recordings as r on r.stream_id = j.stream_id;

-- name: extend_lease!
-- The holder is alive, and so far.
update jobs
set due_at = now() + make_interval(secs => :lease_seconds), progress = greatest(progress, :progress), changed_at = now()
where stream_id = :stream_id and kind = :kind and number = :number and fence = :fence and state = 'leased';

-- name: finish_job!
-- The job is done; only the holder of the latest lease may say so.
update jobs set state = 'done', result = :result::jsonb, failure = null, progress = 1, changed_at = now()
where stream_id = :stream_id and kind = :kind and number = :number and fence = :fence and state = 'leased';

-- name: retry_job!
-- Give the job back, to be tried again after a while; an attempt that met an outage is not counted.
update jobs
set state = 'pending', due_at = now() + make_interval(secs => :wait_seconds), failure = :failure,
    attempts = attempts - :attempts_forgiven, progress = 0, changed_at = now()
where stream_id = :stream_id and kind = :kind and number = :number and fence = :fence and state = 'leased';

-- name: give_up_job!
-- The job has failed for good.
update jobs set state = 'failed', failure = :failure, changed_at = now()
where stream_id = :stream_id and kind = :kind and number = :number and fence = :fence and state = 'leased';

-- name: do_again$
-- A job that failed for good, or was done, is to be done (again); answers its urgency. The fence goes on.
update jobs
set state = 'pending', due_at = now(), attempts = 0, progress = 0, result = null, failure = null, changed_at = now()
where stream_id = :stream_id and kind = :kind and number = :number and state in ('failed', 'done')
returning urgency;

-- name: count_waiting_jobs$
-- How many jobs are not done, counted up to a limit.
select count(*) from (select from jobs where state in ('pending', 'leased') limit :rows_max) as waiting;

-- name: note_ladder_planned!
-- All chunk jobs of a recording are there.
update recordings set ladder_planned_at = now() where stream_id = :stream_id and ladder_planned_at is null;

-- name: list_chunks
-- A recording's chunk jobs in playing order.
select number, particulars, work_ms, state, fence, result, failure from jobs
where stream_id = :stream_id and kind = 'chunk' and state <> 'dropped' order by number limit :rows_max;

-- name: make_again!
-- Chunk jobs that were done and whose objects the store does not have.
update jobs set state = 'pending', due_at = now(), result = null, progress = 0, attempts = 0, changed_at = now()
where stream_id = :stream_id and kind = 'chunk' and number = any(:numbers::integer[]) and state = 'done';

-- name: list_finished_ladders
-- Recordings that play and have no chunk job left to do; deleted ones wait until they are restored.
select r.stream_id, r.traceparent from recordings as r
where r.status = 'processing' and r.ladder_planned_at is not null and r.deleted_at is null
  and not exists (
      select from jobs as j
      where j.stream_id = r.stream_id and j.state in ('pending', 'leased') and j.kind = 'chunk')
order by r.stream_id limit :rows_max;

-- name: plan_rendition!
-- A rendition that will be made; one that exists is left alone.
insert into renditions (stream_id, name, rank, state, width_px, height_px, frame_rate, video_bits_per_second_max)
values (:stream_id, :name, :rank, 'making', :width_px, :height_px, :frame_rate, :video_bits_per_second_max)
on conflict do nothing;

-- name: list_wanted_renditions
-- The renditions that a recording's chunks are made for, best first.
select name, width_px, height_px, codecs, video_bits_per_second_max from renditions
where stream_id = :stream_id and rank > 0 and state <> 'failed' order by rank limit 32;

-- name: plan_chunks!
-- Chunk jobs; one that is planned otherwise, because segments came late, is made again under its next fence.
insert into jobs as j (stream_id, kind, number, particulars, work_ms)
select :stream_id, 'chunk', n.number, n.particulars::jsonb, n.work_ms
from unnest(:numbers::integer[], :particulars::text[], :work_ms::bigint[]) as n(number, particulars, work_ms)
order by n.number
on conflict (stream_id, kind, number) do update
set particulars = excluded.particulars, work_ms = excluded.work_ms, state = 'pending', due_at = now(), attempts = 0,
    progress = 0, result = null, failure = null, changed_at = now()
where j.particulars <> excluded.particulars or j.work_ms <> excluded.work_ms or j.state = 'dropped';

-- name: drop_chunks_from!
-- There are fewer chunks than were planned.
update jobs set state = 'dropped', result = null, changed_at = now()
where stream_id = :stream_id and kind = 'chunk' and number >= :number and state <> 'dropped';

-- name: list_unplanned
-- Recordings that play and have no whole plan of their ladder.
select stream_id, traceparent from recordings
where status = 'processing' and ladder_planned_at is null and deleted_at is null order by stream_id limit :rows_max;

-- name: list_live_unplanned
-- Recordings that do not play yet and have a chunk's segments that are in no chunk.
select r.stream_id, coalesce(c.number, -1) as number, c.last_sequence
from recordings as r
left join lateral (
    select j.number, (j.particulars ->> 'last_sequence')::integer as last_sequence from jobs as j
    where j.stream_id = r.stream_id and j.kind = 'chunk' and j.state <> 'dropped'
    order by j.number desc limit 1) as c on true
where r.status = 'pending' and r.published_at is null and r.clip_of is null and r.deleted_at is null
  and r.stream_id <> all(:skipped::uuid[])
  and :target_ms::bigint <= (
      select sum(n.duration_ms) from (
          select s.duration_ms from segments as s
          where s.stream_id = r.stream_id and s.sequence > coalesce(c.last_sequence, -1)
          order by s.sequence limit :segments_max) as n)
order by r.stream_id limit :rows_max;

-- name: list_segments_after
-- The segments after one, each with whether it has been there for a while.
select sequence, duration_ms, size_bytes, discontinuity,
       shipped_at < now() - make_interval(secs => :hole_seconds) as shipped_long_ago
from segments where stream_id = :stream_id and sequence > :after order by sequence limit :rows_max;

-- name: lock_unplanned$
-- Keep a recording that plays and has no whole plan from being planned by others.
select stream_id from recordings
where stream_id = :stream_id and status = 'processing' and ladder_planned_at is null and deleted_at is null
for update;

-- name: lock_live$
-- Keep a recording that does not play yet from being planned by others; nothing if somebody has it.
select stream_id from recordings
where stream_id = :stream_id and status = 'pending' and published_at is null for update skip locked;

-- name: note_progress^
-- How much of a planned ladder is done, one chunk more than the rows say; answers only when the percentage has grown.
with work as (
    select sum(j.work_ms)::numeric as all_ms,
           sum(case when j.state in ('done', 'failed') or j.number = :number then j.work_ms
                    else j.work_ms * j.progress end)::numeric as done_ms
    from jobs as j where j.stream_id = :stream_id and j.kind = 'chunk' and j.state <> 'dropped'),
percentage as (
    select least(99, floor(100 * done_ms / greatest(all_ms, 1)))::smallint as percent from work where all_ms > 0),
before as (
    select r.stream_id, r.progress_percent, p.percent from recordings as r cross join percentage as p
    where r.stream_id = :stream_id and r.status = 'processing' and r.ladder_planned_at is not null
      and r.progress_percent < p.percent
    for update of r)
update recordings as r set progress_percent = b.percent from before as b
where r.stream_id = b.stream_id
returning r.channel_id, b.progress_percent as percent_before, r.progress_percent as percent;

-- name: add_size!
-- The bytes of the renditions that were made.
update recordings set size_bytes = coalesce(size_bytes, 0) + :size_bytes where stream_id = :stream_id;
