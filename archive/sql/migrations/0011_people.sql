-- Names that were corrected, and people whose accounts were deleted.

-- The name that somebody has since a moment; what streaming said before, and is heard late, carries another.
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

create function skip_deleted_user() returns trigger
language plpgsql set search_path from current as $$
begin
    if exists (select from erasures where user_id = new.user_id) then
        return null;
    end if;
    return new;
end
$$;

create trigger skip_deleted before insert on clip_requests for each row execute function skip_deleted_channel();
create trigger skip_deleted before insert on channel_retention for each row execute function skip_deleted_channel();
create trigger skip_deleted before insert on renames for each row execute function skip_deleted_user();

-- A recording that is promised late is not left out, since its segments may be on their way: it wakes the erasure, which
-- removes both.
create function erase_again() returns trigger
language plpgsql set search_path from current as $$
begin
    update erasures
    set erased_at = null, settled_at = null, due_at = case when lease is null then now() else due_at end
    where user_id = new.channel_id;
    return null;
end
$$;

create trigger erase_again after insert on recordings for each row execute function erase_again();

-- Ids of recordings that are purged stay without their channel, so that a late segment of them is known to be nobody's.
-- Serves: list_recordings_to_erase, forget_channel_of_purged.
create index recordings_deleted_of on recordings (channel_id) where deleted_at is not null;
