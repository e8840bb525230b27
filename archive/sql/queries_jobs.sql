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
-- How many jobs are not done.
select count(*) from jobs where state in ('pending', 'leased');

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
-- Recordings that play and have no chunk job left to do.
select r.stream_id, r.traceparent from recordings as r
where r.status = 'processing' and r.ladder_planned_at is not null
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
