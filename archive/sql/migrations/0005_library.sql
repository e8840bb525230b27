-- What owners decide of their recordings, and who is let in to a private one.

alter table recordings
    add column title_edited_at timestamptz,                 -- from then on the title is the owner's, not the stream's
    add column edited_at timestamptz,
    add column removing_since timestamptz,                  -- purged, and not all of its objects are gone yet
    add constraint recordings_deleted check ((deleted_at is null) = (purge_due_at is null)),
    add constraint recordings_purged check (purged_at is null or deleted_at is not null);

-- Serves: list_public.
create index recordings_public on recordings (stream_id desc) where visibility = 'public' and deleted_at is null;
-- Serves: list_channel_public.
create index recordings_channel_public on recordings (channel_id, stream_id desc)
    where visibility = 'public' and deleted_at is null;
-- Serves: list_purges.
create index recordings_purges on recordings (purge_due_at) where purge_due_at is not null and purged_at is null;

-- Serves: list_purges.
create index recordings_removing on recordings (removing_since) where removing_since is not null;

-- Whoever shows the token that this is the hash of may play one private recording for a while.
create table playback_grants (
    grant_sha256 bytea primary key check (octet_length(grant_sha256) = 32),
    stream_id uuid not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);

-- Serves: revoke_grants, count_grants.
create index playback_grants_stream on playback_grants (stream_id, created_at);
-- Serves: sweep_grants.
create index playback_grants_expires on playback_grants (expires_at);
