-- Consumer groups of the bus on Postgres: their living members, and how far each group has read each partition.

CREATE SEQUENCE member_id AS bigint NO CYCLE;

-- Names the advisory lock of a process's session. Far more than there are processes alive between two equal keys.
CREATE SEQUENCE session_key AS integer CYCLE;

-- One row per member. Unlogged: after a crash of Postgres every session is gone, and with it every member.
CREATE UNLOGGED TABLE group_member (
    member_id bigint PRIMARY KEY,
    group_name text NOT NULL,
    topics text[] NOT NULL,
    session_key integer NOT NULL,
    silence_max interval NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row per group and partition. `next_offset` is an id of the outbox that is the topic's log: everything below it
-- is applied, or nothing that was handed out is. `owner` alone may move it.
CREATE TABLE group_cursor (
    group_name text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    owner bigint,
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (group_name, topic, partition)
) WITH (fillfactor = 70);

-- A member lives while its process's session holds its lock (so a killed process is dead at once) and it was heard of
-- lately (so a frozen one is dead after a while). 1279874932 marks our locks among others of this form.
CREATE FUNCTION member_lives(key integer, seen_at timestamptz, silence_max interval) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT seen_at > clock_timestamp() - silence_max AND EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND classid = 1279874932 AND objid = key::oid AND objsubid = 2
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
$$;

-- Joins a group; answers the member's id.
CREATE FUNCTION join_group(joined_group text, joined_topics text[], key integer, silence interval) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    joined bigint := nextval('member_id');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('livestream-group:' || joined_group, 0));
    INSERT INTO group_member (member_id, group_name, topics, session_key, silence_max)
    VALUES (joined, joined_group, joined_topics, key, silence);
    RETURN joined;
END
$$;

-- Takes those of the wanted partitions that nobody alive works on; answers them with where to begin. The dead are
-- struck off first. One at a time in a group, so that nobody takes from a member it cannot see yet.
CREATE FUNCTION claim_partitions(member bigint, wanted_topics text[], wanted_partitions integer[])
RETURNS TABLE (claimed_topic text, claimed_partition integer, claimed_offset bigint)
LANGUAGE plpgsql
AS $$
DECLARE
    of_group text := (SELECT m.group_name FROM group_member AS m WHERE m.member_id = member);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('livestream-group:' || of_group, 0));
    DELETE FROM group_member AS m
    WHERE m.group_name = of_group AND m.member_id <> member
      AND NOT member_lives(m.session_key, m.seen_at, m.silence_max);
    RETURN QUERY
        INSERT INTO group_cursor AS c (group_name, topic, partition, next_offset, owner)
        SELECT m.group_name, wanted.topic, wanted.partition, 0, member
        FROM group_member AS m, unnest(wanted_topics, wanted_partitions) AS wanted (topic, partition)
        WHERE m.member_id = member
        ON CONFLICT (group_name, topic, partition) DO UPDATE SET owner = excluded.owner
            WHERE c.owner IS NULL OR c.owner = excluded.owner
               OR NOT EXISTS (SELECT FROM group_member AS holder WHERE holder.member_id = c.owner)
        RETURNING c.topic, c.partition, c.next_offset;
END
$$;

-- Forgets a group unless a member of it lives: then nothing happens. Answers how many partitions it had read.
CREATE FUNCTION forget_group(forgotten text) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    cursors integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('livestream-group:' || forgotten, 0));
    IF EXISTS (
        SELECT FROM group_member AS m
        WHERE m.group_name = forgotten AND member_lives(m.session_key, m.seen_at, m.silence_max)
    ) THEN
        RETURN -1;
    END IF;
    DELETE FROM group_member WHERE group_name = forgotten;
    DELETE FROM group_cursor WHERE group_name = forgotten;
    GET DIAGNOSTICS cursors = ROW_COUNT;
    RETURN cursors;
END
$$;
