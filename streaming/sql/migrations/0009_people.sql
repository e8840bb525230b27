-- Names that were corrected, and people whose accounts were deleted.

-- The name that somebody has since a moment; older tokens still carry the one before, for ten minutes.
create table renames (
    user_id uuid primary key,
    username text not null,
    renamed_at timestamptz not null
);

-- What is to be erased, and for 90 days the ids of whom it was erased: nothing that comes late brings them back.
create table erasures (
    user_id uuid primary key,
    deleted_at timestamptz not null,
    noted_at timestamptz not null default now(),
    due_at timestamptz not null default now(),      -- not before; while leased: when the lease runs out
    lease uuid,
    erased_at timestamptz,                          -- nothing was left
    settled_at timestamptz                          -- nothing was left when somebody looked again
);

-- Serves: claim_erasure.
create index erasures_open on erasures (due_at) where settled_at is null;

-- Leaves out a row of a channel whose person is deleted.
create function skip_deleted_channel() returns trigger
language plpgsql set search_path from current as $$
begin
    if exists (select from erasures where user_id = new.channel_id) then
        return null;
    end if;
    return new;
end
$$;

-- Leaves out a row of a person who is deleted.
create function skip_deleted_user() returns trigger
language plpgsql set search_path from current as $$
begin
    if exists (select from erasures where user_id = new.user_id) then
        return null;
    end if;
    return new;
end
$$;

create trigger skip_deleted before insert on channels for each row execute function skip_deleted_channel();
create trigger skip_deleted before insert on prepared_streams for each row execute function skip_deleted_channel();
create trigger skip_deleted before insert on channel_bans for each row execute function skip_deleted_channel();
create trigger skip_deleted before insert on renames for each row execute function skip_deleted_user();

-- Removes streams by their ids, with what is kept beside them.
create function drop_stream_rows(gone uuid[]) returns void
language plpgsql as $$
begin
    delete from recordings where stream_id = any (gone);
    if to_regclass('stream_stats') is not null then
        execute 'delete from stream_stats where stream_id = any ($1)' using gone;
    end if;
end
$$;

-- Erases ended streams of a channel that no hold keeps, at most `rows_max`; answers how many.
create function erase_streams(erased_channel_id uuid, rows_max integer) returns integer
language plpgsql as $$
declare
    gone uuid[];
begin
    with due as (
        select stream_id from streams
        where channel_id = erased_channel_id and status = 'ended' and not is_held(stream_id, channel_id)
        limit rows_max
    ), deleted as (
        delete from streams s using due where s.stream_id = due.stream_id returning s.stream_id
    )
    select coalesce(array_agg(stream_id), '{}') into gone from deleted;
    perform drop_stream_rows(gone);
    return cardinality(gone);
end
$$;

-- The same among the next `rows_max` cold streams of everybody, by their ids: no index knows their channels. Answers the
-- last id that was looked at; null: there are no more.
create function erase_cold_streams(erased_channel_id uuid, after_id uuid, rows_max integer) returns uuid
language plpgsql as $$
declare
    last_id uuid;
    gone uuid[];
begin
    select stream_id into last_id from (
        select stream_id from streams_cold where stream_id > after_id order by stream_id limit rows_max
    ) as seen order by stream_id desc limit 1;
    with deleted as (
        delete from streams_cold
        where stream_id > after_id and stream_id <= last_id and channel_id = erased_channel_id
          and not is_held(stream_id, channel_id)
        returning stream_id
    )
    select coalesce(array_agg(stream_id), '{}') into gone from deleted;
    perform drop_stream_rows(gone);
    return last_id;
end
$$;
