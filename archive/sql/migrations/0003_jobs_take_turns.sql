-- Chunks become jobs like all others, and recordings take turns. Stop the archive's workers before: an older one knows
-- the table `chunks` alone.

-- One job now makes a segment of every rendition. Older versions made one rendition at most, so the fence of its job is
-- the one in the objects' names.
insert into jobs (stream_id, kind, number, particulars, work_ms, state, due_at, fence, attempts, progress, result, failure)
select
    c.stream_id, 'chunk', c.number,
    jsonb_build_object('first_sequence', min(c.first_sequence), 'last_sequence', max(c.last_sequence),
                       'discontinuity', bool_or(c.discontinuity)),
    max(c.duration_ms),
    case when bool_or(c.state = 'failed') then 'failed'
         when bool_and(c.state = 'done') then 'done'
         else 'pending' end,
    now(), max(c.fence),
    case when bool_or(c.state = 'failed') then max(c.attempts) else 0 end,
    case when bool_and(c.state = 'done') then 1 else 0 end,
    case when bool_and(c.state = 'done')
         then jsonb_object_agg(c.rendition, jsonb_build_object('size_bytes', c.size_bytes)) end,
    max(c.failure)
from chunks as c
group by c.stream_id, c.number;

drop table chunks;

-- What was published before has its jobs.
update recordings set ladder_planned_at = published_at where published_at is not null;

-- Written down when the rendition is planned: other settings are for other recordings.
alter table renditions add column video_bits_per_second_max integer not null default 0;
update renditions set video_bits_per_second_max = 1400000 where rank > 0;

-- Serves: lease_job, list_finished_ladders, count_waiting_jobs.
create index jobs_open on jobs (stream_id, urgency, number, kind) where state in ('pending', 'leased');

-- Serves: list_live_unplanned.
create index recordings_unpublished on recordings (stream_id) where status = 'pending' and published_at is null;

-- Recordings that have open jobs take turns: the one for which the least was done goes first, so a short one does not
-- wait behind a long one. Who joins begins where the others are. Those that still run stand behind those that are over.
create table job_turns (
    stream_id uuid not null,
    urgency smallint not null,
    live boolean not null default false,
    served_ms bigint not null default 0,            -- media that was gone through, counted from where it joined
    primary key (stream_id, urgency)
);

-- Serves: lease_job, add_turns.
create index job_turns_next on job_turns (urgency, live, served_ms, stream_id);

insert into job_turns (stream_id, urgency)
select distinct stream_id, urgency from jobs where state in ('pending', 'leased');

-- Takes the next job of the given kinds: of the recording whose turn it is, the first that is due or whose holder has let
-- its lease run out. Two callers never get the same one. A recording without open jobs leaves the turns here; each
-- statement sees what was committed before it, so none leaves while a job is being added (add_turns locks the turn).
create function lease_job(kinds text[], lease_seconds double precision) returns setof jobs
language plpgsql as $$
declare
    turn job_turns;
    job jobs;
begin
    for turn in select * from job_turns order by urgency, live, served_ms, stream_id loop
        select * into job from jobs as j
        where j.stream_id = turn.stream_id and j.urgency = turn.urgency and j.state in ('pending', 'leased')
          and j.due_at <= now() and j.kind = any(kinds)
        order by j.number, j.kind limit 1 for update skip locked;
        if found then
            update job_turns as t set served_ms = t.served_ms + greatest(job.work_ms, 1)
            where t.stream_id = turn.stream_id and t.urgency = turn.urgency;
            return query
                update jobs as j
                set state = 'leased', due_at = now() + make_interval(secs => lease_seconds), fence = j.fence + 1,
                    attempts = j.attempts + 1, progress = 0, changed_at = now()
                where j.stream_id = job.stream_id and j.kind = job.kind and j.number = job.number
                returning j.*;
            return;
        end if;
        if not exists (
            select from jobs as j
            where j.stream_id = turn.stream_id and j.urgency = turn.urgency and j.state in ('pending', 'leased'))
        then
            perform from job_turns as t
            where t.stream_id = turn.stream_id and t.urgency = turn.urgency for update skip locked;
            if found then
                delete from job_turns as t
                where t.stream_id = turn.stream_id and t.urgency = turn.urgency and not exists (
                    select from jobs as j
                    where j.stream_id = turn.stream_id and j.urgency = turn.urgency
                      and j.state in ('pending', 'leased'));
            end if;
        end if;
    end loop;
end
$$;

-- As before, without the chunks.
create or replace function make_archive_partitions(months_ahead integer) returns setof text
language plpgsql as $$
declare
    this_month timestamp := date_trunc('month', now() at time zone 'UTC');
    month timestamp;
    parent text;
    partition text;
begin
    perform pg_advisory_xact_lock(hashtextextended('archive.make_archive_partitions', 0));
    for ahead in 0..months_ahead loop
        month := this_month + make_interval(months => ahead);
        foreach parent in array array['recordings', 'segments', 'renditions', 'jobs', 'recording_files'] loop
            partition := parent || '_' || to_char(month, 'YYYY_MM');
            continue when to_regclass(quote_ident(partition)) is not null;
            begin
                execute format(
                    'create table %I partition of %I for values from (%L) to (%L)',
                    partition, parent,
                    uuid7_floor(month at time zone 'UTC'),
                    uuid7_floor((month + interval '1 month') at time zone 'UTC')
                );
                return next partition;
            exception when check_violation then
                -- Rows of that month are in the default partition already; they stay there and are found there.
                null;
            end;
        end loop;
    end loop;
end
$$;
