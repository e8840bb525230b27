-- What retention is told beside its settings: channels with terms of their own, and holds; and where its rounds are.

-- A channel's own terms. Null: as the settings say; never: not at all.
create table channel_retention (
    channel_id uuid primary key,
    cold_after_days integer check (cold_after_days between 1 and 36500),
    cold_never boolean not null default false,
    delete_after_days integer check (delete_after_days between 1 and 36500),
    delete_never boolean not null default false,
    set_by text not null,
    set_at timestamptz not null default now(),
    check (not (cold_never and cold_after_days is not null)),
    check (not (delete_never and delete_after_days is not null))
);

-- While one is not released, nothing in its scope is cooled, deleted or purged. Released ones stay, to be read.
create table retention_holds (
    hold_id uuid primary key,
    scope text not null check (scope in ('everything', 'channel', 'recording')),
    subject_id uuid,                                -- the channel or the recording
    reason text not null check (reason <> ''),
    placed_by text not null,
    placed_at timestamptz not null default now(),
    released_by text,
    released_at timestamptz,
    check ((scope = 'everything') = (subject_id is null)),
    check ((released_by is null) = (released_at is null))
);

-- serves: is_held, list_due_to_cool, list_due_to_delete
create index retention_holds_in_force on retention_holds (scope, subject_id) where released_at is null;

-- Whether a hold keeps a recording of a channel as it is.
create function held(stream_id uuid, channel_id uuid) returns boolean
language sql stable as $$
    select exists (
        select from retention_holds as h
        where h.released_at is null
          and (h.scope = 'everything'
               or h.scope = 'recording' and h.subject_id = held.stream_id
               or h.scope = 'channel' and h.subject_id = held.channel_id))
$$;

-- Rounds of retention and of the sweeper: one process at a time does one, and the next goes on where it was.
create table retention_rounds (
    kind text primary key check (kind in ('retention', 'sweep')),
    due_at timestamptz not null default '-infinity', -- not before; while a round runs: when it counts as dead
    cursor text not null default '',                -- the last folder that is done; '': begin at the first
    claim uuid                                      -- whose round it is
);

insert into retention_rounds (kind) values ('retention'), ('sweep');

-- While it is cooled: the last key that is in the colder class.
alter table recordings add column cooled_to text;

-- serves: list_due_to_cool
create index recordings_warm on recordings ((coalesce(published_at, ended_at, started_at)))
    where cold_at is null and deleted_at is null and not preserve and published_at is not null;

-- serves: list_due_to_delete
create index recordings_kept on recordings ((coalesce(published_at, ended_at, started_at)))
    where deleted_at is null and not preserve and status <> 'pending';
