-- Streams that are prepared, what a stream says of itself, who may see it, and channels that may not stream.

alter table channels
    add column description text check (char_length(description) <= 2000),
    add column tags text[] not null default '{}' check (cardinality(tags) <= 10),   -- these three: of the next stream
    add column language text check (char_length(language) <= 35),
    add column visibility text not null default 'public' check (visibility in ('public', 'unlisted', 'private'));

alter table streams
    add column tags text[] not null default '{}',
    add column language text,
    add column visibility text not null default 'public' check (visibility in ('public', 'unlisted', 'private'));

-- Serves: list_channel_streams.
create index streams_channel_started on streams (channel_id, started_at desc, stream_id desc);

-- Streams that were announced, at most 20 a channel that have not begun. One that begins gets the id of a stream that
-- begins (docs/decisions/0095); its row here leads from the announced id to that one, until `expires_at`.
create table prepared_streams (
    prepared_id uuid primary key,
    channel_id uuid not null references channels,
    title text not null,
    category text,
    tags text[] not null default '{}' check (cardinality(tags) <= 10),
    language text,
    visibility text not null check (visibility in ('public', 'unlisted', 'private')),
    scheduled_at timestamptz,                       -- null: whenever the channel publishes next
    made_at timestamptz not null default now(),
    due_at timestamptz not null generated always as (coalesce(scheduled_at, made_at)) stored,
    expires_at timestamptz not null,
    begun_as uuid                                   -- the stream that it has become
);

-- Serves: begin_stream, list_prepared_streams, add_prepared_stream.
create index prepared_streams_channel_due on prepared_streams (channel_id, due_at, prepared_id) where begun_as is null;

-- Serves: drop_expired_prepared_streams.
create index prepared_streams_expires on prepared_streams (channel_id, expires_at);

-- Channels whose publishers are refused: by the streamer, until the key is replaced, or by an operator, until it is lifted.
create table channel_bans (
    channel_id uuid not null references channels,
    banned_by text not null check (banned_by in ('streamer', 'operator')),
    banned_until timestamptz not null,              -- infinity: until it is lifted
    reason text check (char_length(reason) <= 500),
    made_by uuid not null,
    made_at timestamptz not null default now(),
    primary key (channel_id, banned_by)
);

-- Whether a channel's publishers are refused at present.
create function is_banned(banned_channel_id uuid) returns boolean
language sql stable strict as $$
    select exists (select from channel_bans where channel_id = banned_channel_id and banned_until > now())
$$;
