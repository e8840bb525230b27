-- Clips: what takes another recording's place, and requests that are repeated.

alter table recordings
    add column clip_exact boolean not null default false,       -- cut between segments' edges, too
    add column takes_place boolean not null default false,      -- once it plays, what it was cut from is deleted
    add column replaced_by uuid;                                -- the clip that took its place

-- Serves: list_clips, list_public_clips.
create index recordings_clips on recordings (clip_of, stream_id desc) where clip_of is not null;
-- Serves: count_clips_in_the_making.
create index recordings_clips_pending on recordings (channel_id) where clip_of is not null and status = 'pending';
-- Serves: claim_replacement.
create index recordings_taking_place on recordings (stream_id) where takes_place;

-- Whoever repeats a request under the same key within a day is told of the clip that the first one made.
create table clip_requests (
    channel_id uuid not null,
    request_key text not null check (length(request_key) between 1 and 255),
    request_sha256 bytea not null check (octet_length(request_sha256) = 32),
    clip_id uuid not null,
    made_at timestamptz not null default now(),
    primary key (channel_id, request_key)
);

-- Serves: forget_clip_requests.
create index clip_requests_made on clip_requests (made_at);
