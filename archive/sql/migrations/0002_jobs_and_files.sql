-- Leased jobs of every kind, the files beside the renditions, and what a recording's owner may decide.

-- One job: a chunk of the ladder, a poster, a storyboard, a download … . `kind` says who does it (archive/jobs/jobs.py).
create table jobs (
    stream_id uuid not null,
    kind text not null,
    number integer not null default 0,
    particulars jsonb not null default '{}',        -- what its kind needs to know
    work_ms bigint not null default 0,              -- about how much media it goes through: recordings take turns by it
    urgency smallint not null default 1 check (urgency between 0 and 2), -- 0: a person waits; 1: the ladder; 2: whenever
    state text not null default 'pending' check (state in ('pending', 'leased', 'done', 'failed', 'dropped')),
    due_at timestamptz not null default now(),      -- pending: not before; leased: the lease ends
    fence integer not null default 0,               -- goes up with each lease; only its holder may finish
    attempts integer not null default 0,
    progress real not null default 0 check (progress between 0 and 1),
    result jsonb,                                   -- what its kind made
    failure text,
    changed_at timestamptz not null default now(),
    primary key (stream_id, kind, number),
    check (state <> 'done' or result is not null)
) partition by range (stream_id);

create table jobs_default partition of jobs default;

-- Objects beside segments and playlists: poster, storyboard, download, captions. A row says: it is in the store.
create table recording_files (
    stream_id uuid not null,
    name text not null,                             -- the object's key below the recording's folder
    role text not null,                             -- poster, storyboard, sprite, download, captions …
    size_bytes bigint not null check (size_bytes >= 0),
    particulars jsonb not null default '{}',
    made_at timestamptz not null default now(),
    primary key (stream_id, name)
) partition by range (stream_id);

create table recording_files_default partition of recording_files default;

alter table recordings
    -- Some of what was streamed is not in it; `missing` says what: a list of gaps (archive/publishing/gaps.py).
    add column partial boolean not null default false,
    add column missing jsonb,
    add column visibility text not null default 'public' check (visibility in ('public', 'unlisted', 'private')),
    add column preserve boolean not null default false,     -- retention leaves it alone
    add column deleted_at timestamptz,                      -- nobody sees it any more; may be undone until it is purged
    add column purge_due_at timestamptz,
    add column purged_at timestamptz,                       -- its objects are gone; the row stays, so that it stays gone
    add column delete_reason text check (delete_reason in ('owner', 'retention', 'account', 'replaced')),
    add column clip_of uuid,                                -- it was cut from this recording
    add column clip_from_ms bigint,
    add column clip_to_ms bigint,
    add column ladder_planned_at timestamptz,               -- its jobs are all there
    add column progress_percent smallint not null default 0 check (progress_percent between 0 and 100),
    add column size_bytes bigint,                           -- of its segments, all renditions; known once it plays
    add column cold_at timestamptz;                         -- since when it is in the store's colder class

-- As before, with the new tables.
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
        foreach parent in array array['recordings', 'segments', 'renditions', 'chunks', 'jobs', 'recording_files'] loop
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

select make_archive_partitions(2);
