-- Names that were corrected, and people whose accounts were deleted.

-- A token of before a rename carries the old name for ten minutes yet: it names whom nobody told of, and corrects nobody.
ALTER TABLE people ADD COLUMN renamed_at timestamptz;
COMMENT ON COLUMN people.renamed_at IS 'Since when they have this name; null: since they registered.';

-- What is to be erased, and for 90 days the ids of whom it was erased: nothing that comes late brings them back.
CREATE TABLE erasures (
    user_id    uuid PRIMARY KEY,
    deleted_at timestamptz NOT NULL,
    noted_at   timestamptz NOT NULL DEFAULT now(),
    due_at     timestamptz NOT NULL DEFAULT now(),
    lease      uuid,
    erased_at  timestamptz,
    settled_at timestamptz
);
COMMENT ON COLUMN erasures.due_at IS 'Not before; while leased, when the lease runs out.';
COMMENT ON COLUMN erasures.erased_at IS 'When nothing was left.';
COMMENT ON COLUMN erasures.settled_at IS 'When nothing was left once more.';
-- serves: claim_erasure
CREATE INDEX erasures_open ON erasures (due_at) WHERE settled_at IS NULL;

-- Leave out rows of deleted people: as who does something, as whose room it is done in, or as either.
CREATE FUNCTION skip_deleted_user() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE user_id = NEW.user_id) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION skip_deleted_channel() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE user_id = NEW.channel_id) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION skip_deleted_either() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE user_id IN (NEW.user_id, NEW.channel_id)) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER skip_deleted BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();
CREATE TRIGGER skip_deleted BEFORE INSERT ON irc_passwords FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();
CREATE TRIGGER skip_deleted BEFORE INSERT ON poll_votes FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();
CREATE TRIGGER skip_deleted BEFORE INSERT ON rooms FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();
CREATE TRIGGER skip_deleted BEFORE INSERT ON replays FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();
CREATE TRIGGER skip_deleted BEFORE INSERT ON blocked_terms FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();
CREATE TRIGGER skip_deleted BEFORE INSERT ON emotes FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();
CREATE TRIGGER skip_deleted BEFORE INSERT ON pins FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();
CREATE TRIGGER skip_deleted BEFORE INSERT ON polls FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();
CREATE TRIGGER skip_deleted BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION skip_deleted_channel();
CREATE TRIGGER skip_deleted BEFORE INSERT ON bans FOR EACH ROW EXECUTE FUNCTION skip_deleted_either();
CREATE TRIGGER skip_deleted BEFORE INSERT ON moderators FOR EACH ROW EXECUTE FUNCTION skip_deleted_either();
CREATE TRIGGER skip_deleted BEFORE INSERT ON followers FOR EACH ROW EXECUTE FUNCTION skip_deleted_either();
CREATE TRIGGER skip_deleted BEFORE INSERT ON subscribers FOR EACH ROW EXECUTE FUNCTION skip_deleted_either();
CREATE TRIGGER skip_deleted BEFORE INSERT ON held_messages FOR EACH ROW EXECUTE FUNCTION skip_deleted_either();

-- Whether a hold keeps what was said in a room.
CREATE FUNCTION is_log_held(room uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM log_holds h WHERE h.released_at IS NULL AND (h.channel_id IS NULL OR h.channel_id = room))
$$;

-- Erases a person's room in steps of at most `rows_max` of its large tables; answers how much a step erased. The row goes
-- when no emote's image is left; what a hold keeps of the log stays, and nobody finds it.
CREATE FUNCTION erase_room(erased uuid, rows_max integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    gone integer := 0;
BEGIN
    UPDATE rooms SET channel_name = NULL, version = version + 1 WHERE channel_id = erased AND channel_name IS NOT NULL;
    IF NOT is_log_held(erased) THEN
        DELETE FROM messages WHERE channel_id = erased AND message_id = ANY (ARRAY (
            SELECT message_id FROM messages WHERE channel_id = erased LIMIT rows_max));
        GET DIAGNOSTICS gone = ROW_COUNT;
    END IF;
    IF gone = 0 THEN
        DELETE FROM audit_log WHERE channel_id = erased AND audit_id = ANY (ARRAY (
            SELECT audit_id FROM audit_log WHERE channel_id = erased LIMIT rows_max));
        GET DIAGNOSTICS gone = ROW_COUNT;
    END IF;
    IF gone = 0 THEN
        DELETE FROM followers WHERE channel_id = erased AND user_id = ANY (ARRAY (
            SELECT user_id FROM followers WHERE channel_id = erased LIMIT rows_max));
        GET DIAGNOSTICS gone = ROW_COUNT;
    END IF;
    IF gone > 0 THEN
        RETURN gone;
    END IF;
    UPDATE emotes SET state = 'removing', state_since = now() WHERE channel_id = erased AND state = 'ready';
    DELETE FROM polls WHERE channel_id = erased;
    DELETE FROM pins WHERE channel_id = erased;
    DELETE FROM bans WHERE channel_id = erased;
    DELETE FROM moderators WHERE channel_id = erased;
    DELETE FROM blocked_terms WHERE channel_id = erased;
    DELETE FROM held_messages WHERE channel_id = erased;
    DELETE FROM subscribers WHERE channel_id = erased;
    DELETE FROM untold_entries WHERE channel_id = erased;
    DELETE FROM log_tails WHERE channel_id = erased;
    DELETE FROM replays WHERE channel_id = erased;
    DELETE FROM log_deletions WHERE channel_id = erased;
    DELETE FROM rooms r WHERE r.channel_id = erased AND NOT EXISTS (SELECT FROM emotes e WHERE e.channel_id = erased);
    RETURN 0;
END
$$;

-- Erases what some rooms of others know of a person besides messages. What they did to others there stays, without saying
-- who it was.
CREATE FUNCTION erase_from_rooms(erased uuid, some_rooms uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    DELETE FROM bans WHERE channel_id = ANY (some_rooms) AND user_id = erased;
    UPDATE bans SET banned_by = nobody WHERE channel_id = ANY (some_rooms) AND banned_by = erased;
    DELETE FROM moderators WHERE channel_id = ANY (some_rooms) AND user_id = erased;
    UPDATE moderators SET added_by = nobody WHERE channel_id = ANY (some_rooms) AND added_by = erased;
    DELETE FROM followers WHERE channel_id = ANY (some_rooms) AND user_id = erased;
    DELETE FROM subscribers WHERE channel_id = ANY (some_rooms) AND user_id = erased;
    DELETE FROM held_messages WHERE channel_id = ANY (some_rooms) AND user_id = erased;
    UPDATE held_messages SET decided_by = nobody WHERE channel_id = ANY (some_rooms) AND decided_by = erased;
    UPDATE blocked_terms SET added_by = nobody WHERE channel_id = ANY (some_rooms) AND added_by = erased;
    UPDATE emotes SET added_by = nobody WHERE channel_id = ANY (some_rooms) AND added_by = erased;
    UPDATE polls SET started_by = nobody WHERE channel_id = ANY (some_rooms) AND started_by = erased;
    DELETE FROM poll_votes v USING polls p
     WHERE p.channel_id = ANY (some_rooms) AND v.poll_id = p.poll_id AND v.user_id = erased;
    WITH unpinned AS (
        DELETE FROM pins WHERE channel_id = ANY (some_rooms) AND strpos(said::text, erased::text) > 0 RETURNING channel_id
    )
    UPDATE rooms SET version = version + 1 WHERE channel_id IN (SELECT channel_id FROM unpinned);
    UPDATE pins SET pinned_by = nobody WHERE channel_id = ANY (some_rooms) AND pinned_by = erased;
    DELETE FROM log_deletions WHERE channel_id = ANY (some_rooms) AND user_id = erased;
    UPDATE log_deletions SET deleted_by = nobody WHERE channel_id = ANY (some_rooms) AND deleted_by = erased;
    UPDATE audit_log SET actor_id = nobody, actor_name = '' WHERE channel_id = ANY (some_rooms) AND actor_id = erased;
    UPDATE audit_log SET target_id = nobody, target_name = NULL WHERE channel_id = ANY (some_rooms) AND target_id = erased;
END
$$;

-- What a message has besides its words, without a person: neither named nor answered to.
CREATE FUNCTION without_person(particulars jsonb, person uuid) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(named -> 'mentions') = 'array' THEN jsonb_set(named, '{mentions}', (
               SELECT coalesce(jsonb_agg(one), '[]') FROM jsonb_array_elements(named -> 'mentions') AS one
                WHERE one ->> 'user_id' IS DISTINCT FROM person::text)) ELSE named END
      FROM (SELECT CASE WHEN particulars #>> '{reply_to,user_id}' = person::text THEN particulars - 'reply_to'
                        ELSE particulars END AS named) AS answered
$$;

-- Takes a person out of the next messages of others in a room; answers the last message that was looked at, or null behind
-- the last.
CREATE FUNCTION erase_from_messages(erased uuid, room uuid, after_id uuid, rows_max integer) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    last_id uuid;
BEGIN
    SELECT message_id INTO last_id FROM (
        SELECT message_id FROM messages WHERE channel_id = room AND message_id > after_id ORDER BY message_id LIMIT rows_max
    ) AS seen ORDER BY message_id DESC LIMIT 1;
    UPDATE messages
       SET particulars = without_person(particulars, erased),
           deleted_by = CASE WHEN deleted_by = erased THEN '00000000-0000-0000-0000-000000000000' ELSE deleted_by END
     WHERE channel_id = room AND message_id > after_id AND message_id <= last_id
       AND (deleted_by = erased OR strpos(particulars::text, erased::text) > 0);
    RETURN last_id;
END
$$;

-- Takes a name that was called (@name) out of some messages, wherever they are; answers how many.
CREATE FUNCTION erase_called_name(erased uuid, rows_max integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    called text := (SELECT '@' || username FROM people WHERE user_id = erased AND username ~ '^\w+$');
    gone   integer;
BEGIN
    UPDATE messages m
       SET text = regexp_replace(m.text, called || '\M', '@', 'gi'), particulars = without_person(m.particulars, erased)
      FROM (SELECT f.channel_id, f.message_id FROM messages f
             WHERE (to_tsvector('simple', f.text) || array_to_tsvector(ARRAY['#' || f.channel_id::text]))
                   @@ plainto_tsquery('simple', called)
               AND f.deleted_at IS NULL AND f.text ~* (called || '\M')
             LIMIT rows_max) AS found
     WHERE m.channel_id = found.channel_id AND m.message_id = found.message_id;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;
