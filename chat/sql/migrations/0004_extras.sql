-- What a room has besides messages: emotes, a pinned message, polls.

CREATE TABLE emotes (
    emote_id     uuid PRIMARY KEY,
    channel_id   uuid NOT NULL REFERENCES rooms,
    name         text NOT NULL,
    state        text NOT NULL DEFAULT 'storing' CHECK (state IN ('storing', 'ready', 'removing')),
    content_type text NOT NULL,
    size_bytes   integer NOT NULL,
    width_px     integer NOT NULL,
    height_px    integer NOT NULL,
    animated     boolean NOT NULL,
    added_by     uuid NOT NULL,
    state_since  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN emotes.state IS 'Its image is being stored, is there, or is to be removed: no image is without a row.';
-- serves: find_room, list_emotes, ready_emote, remove_emote
CREATE UNIQUE INDEX emotes_by_name ON emotes (channel_id, name) WHERE state = 'ready';
-- serves: find_emote_leftovers
CREATE INDEX emotes_unsettled ON emotes (state_since) WHERE state <> 'ready';
-- serves: count_emotes
CREATE INDEX emotes_by_channel ON emotes (channel_id);

CREATE TABLE pins (
    channel_id uuid PRIMARY KEY REFERENCES rooms,
    message_id uuid NOT NULL,
    said       jsonb NOT NULL,
    pinned_by  uuid NOT NULL,
    pinned_at  timestamptz NOT NULL DEFAULT now(),
    ends_at    timestamptz
);
COMMENT ON COLUMN pins.said IS 'The message as it was said (chat/rooms/entries.py).';
-- serves: pass_deadlines
CREATE INDEX pins_that_end ON pins (ends_at) WHERE ends_at IS NOT NULL;

CREATE TABLE polls (
    poll_id    uuid PRIMARY KEY,
    channel_id uuid NOT NULL REFERENCES rooms,
    question   text NOT NULL,
    options    text[] NOT NULL,
    started_by uuid NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ends_at    timestamptz NOT NULL,
    ended_at   timestamptz,
    told_at    timestamptz NOT NULL DEFAULT now(),
    shown      boolean NOT NULL DEFAULT true,
    result     bigint[],
    CHECK (shown OR result IS NOT NULL)
);
COMMENT ON COLUMN polls.told_at IS 'When gateways were last told that there are new votes.';
COMMENT ON COLUMN polls.shown IS 'Whether the room shows it: while it runs, and for seconds after its end.';
COMMENT ON COLUMN polls.result IS 'Votes for each option, counted once when it is shown no more.';
-- serves: start_poll, pass_deadlines. One poll runs at a time.
CREATE UNIQUE INDEX polls_running ON polls (channel_id) WHERE ended_at IS NULL;
-- serves: find_room, pass_deadlines
CREATE INDEX polls_shown ON polls (channel_id, poll_id DESC) WHERE shown;
-- serves: list_polls
CREATE INDEX polls_by_channel ON polls (channel_id, poll_id DESC);

CREATE TABLE poll_votes (
    poll_id  uuid NOT NULL REFERENCES polls ON DELETE CASCADE,
    user_id  uuid NOT NULL,
    option   smallint NOT NULL,
    voted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (poll_id, user_id)
);
-- serves: pass_deadlines (are there votes that nobody was told of)
CREATE INDEX poll_votes_newest ON poll_votes (poll_id, voted_at DESC);
