-- A channel's chat room, and the newest stream of the channel.
--
-- Events of one channel may come late, twice, and (from two topics) in any order, so the row keeps the newest stream by its
-- start and whether that one has ended; an older stream's events change nothing.
CREATE TABLE rooms (
    channel_id   uuid PRIMARY KEY,
    channel_name text,        -- unknown while only the end of a stream was heard
    stream_id    uuid,
    started_at   timestamptz,
    ended_at     timestamptz,
    live_stream_id uuid GENERATED ALWAYS AS (CASE WHEN ended_at IS NULL THEN stream_id END) STORED,
    CHECK ((stream_id IS NULL) = (started_at IS NULL)),
    CHECK (ended_at IS NULL OR stream_id IS NOT NULL)
);
