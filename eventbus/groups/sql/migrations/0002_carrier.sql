-- Which bus carries the events of this installation. Written down, because a setting alone could split them: half of
-- the events said to one bus, the other half heard from another.
CREATE TABLE carrier (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    backend text NOT NULL CHECK (backend IN ('postgres', 'moving', 'kafka')),
    -- While moving: the schemas whose outbox is still to be carried from its beginning.
    unmoved text[] NOT NULL DEFAULT '{}',
    since timestamptz NOT NULL DEFAULT now()
);

-- As before, and nobody joins once the events are on their way elsewhere. The lock on the row orders this with the
-- beginning of a move, which looks for members first.
CREATE OR REPLACE FUNCTION join_group(joined_group text, joined_topics text[], key integer, silence interval)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    joined bigint := nextval('bus.member_id');
    carried_by text := (SELECT c.backend FROM bus.carrier AS c FOR SHARE);
BEGIN
    IF carried_by <> 'postgres' THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'the events are no longer on Postgres: ' || carried_by;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('livestream-group:' || joined_group, 0));
    INSERT INTO bus.group_member (member_id, group_name, topics, session_key, silence_max)
    VALUES (joined, joined_group, joined_topics, key, silence);
    RETURN joined;
END
$$;
