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

-- Whoever writes, from whatever schema, these obey the tombstones of this one.
-- Leave out rows of deleted people: as who does something, as the channel that it is done to, or as either.
CREATE FUNCTION skip_deleted_user() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE user_id = NEW.user_id) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION skip_deleted_follow() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE user_id IN (NEW.follower_id, NEW.channel_id)) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION skip_deleted_block() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM erasures WHERE user_id IN (NEW.user_id, NEW.channel_id)) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER skip_deleted BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();
CREATE TRIGGER skip_deleted BEFORE INSERT ON follows FOR EACH ROW EXECUTE FUNCTION skip_deleted_follow();
CREATE TRIGGER skip_deleted BEFORE INSERT ON blocks FOR EACH ROW EXECUTE FUNCTION skip_deleted_block();
CREATE TRIGGER skip_deleted BEFORE INSERT ON preferences FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();
CREATE TRIGGER skip_deleted BEFORE INSERT ON inboxes FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();
CREATE TRIGGER skip_deleted BEFORE INSERT ON destinations FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();
CREATE TRIGGER skip_deleted BEFORE INSERT ON push_subscriptions FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();
CREATE TRIGGER skip_deleted BEFORE INSERT ON mailboxes FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();
CREATE TRIGGER skip_deleted BEFORE INSERT ON mail_requests FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();
CREATE TRIGGER skip_deleted BEFORE INSERT ON mail_digests FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();
CREATE TRIGGER skip_deleted BEFORE INSERT ON webhook_endpoints FOR EACH ROW EXECUTE FUNCTION skip_deleted_user();

-- A fan-out that comes late is admitted, since its handler counts on that, and has nobody to tell: it wakes the erasure.
CREATE FUNCTION erase_again() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE erasures SET erased_at = NULL, settled_at = NULL, due_at = CASE WHEN lease IS NULL THEN now() ELSE due_at END
     WHERE user_id = NEW.channel_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER erase_again AFTER INSERT ON fanouts FOR EACH ROW EXECUTE FUNCTION erase_again();

-- Ends some follows of a person's channel, with what their followers' inboxes have of it; answers how many.
CREATE FUNCTION erase_followers(erased uuid, rows_max integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    followers uuid[];
BEGIN
    SELECT array_agg(f.follower_id) INTO followers
      FROM (SELECT follower_id FROM follows WHERE channel_id = erased ORDER BY follower_id LIMIT rows_max FOR UPDATE) AS f;
    IF followers IS NULL THEN
        RETURN 0;
    END IF;
    DELETE FROM notices n USING fanouts f
     WHERE f.channel_id = erased AND n.notice_id = f.fanout_id AND n.user_id = ANY (followers);
    DELETE FROM follows WHERE channel_id = erased AND follower_id = ANY (followers);
    RETURN cardinality(followers);
END
$$;

-- Ends what is queued of a person's fan-outs, webhooks and mail, in steps; then the queues and the fan-outs. Answers how
-- much there was.
CREATE FUNCTION erase_fanouts(erased uuid, rows_max integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    sources uuid[];
    queues  bigint[];
    gone    integer;
BEGIN
    SELECT array_agg(fanout_id) INTO sources
      FROM (SELECT fanout_id FROM fanouts WHERE channel_id = erased ORDER BY started_at LIMIT 100) AS oldest;
    sources := coalesce(sources, '{}') || erased || ARRAY (SELECT destination_id FROM destinations WHERE user_id = erased);
    SELECT coalesce(array_agg(queue_id), '{}') INTO queues FROM delivery_queues WHERE source_id = ANY (sources);
    DELETE FROM deliveries WHERE delivery_id = ANY (ARRAY (
        SELECT delivery_id FROM deliveries WHERE queue_id = ANY (queues) LIMIT rows_max));
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone > 0 THEN
        RETURN gone;
    END IF;
    DELETE FROM delivery_queues WHERE queue_id = ANY (queues);
    DELETE FROM dead_deliveries WHERE source_id = ANY (sources);
    DELETE FROM announced_fanouts WHERE fanout_id = ANY (sources);
    DELETE FROM fanout_pages WHERE fanout_id = ANY (sources);
    DELETE FROM fanouts WHERE fanout_id = ANY (sources);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

-- Removes what some endpoints, from one on, were to be told or told of a person; answers the last endpoint that was looked
-- at, or null behind the last.
CREATE FUNCTION erase_from_webhooks(erased uuid, after_endpoint_id uuid, endpoints_max integer) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    looked_at uuid[];
BEGIN
    SELECT array_agg(e.endpoint_id ORDER BY e.endpoint_id) INTO looked_at
      FROM (SELECT endpoint_id FROM webhook_endpoints WHERE endpoint_id > after_endpoint_id
             ORDER BY endpoint_id LIMIT endpoints_max) AS e;
    DELETE FROM webhook_messages m WHERE m.endpoint_id = ANY (looked_at) AND strpos(m.body, erased::text) > 0;
    RETURN looked_at[cardinality(looked_at)];
END
$$;

-- Removes what is left of a person, last their name.
CREATE FUNCTION erase_person(erased uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM deliveries WHERE user_id = erased;
    DELETE FROM dead_deliveries WHERE user_id = erased;
    DELETE FROM destinations WHERE user_id = erased;
    DELETE FROM mail_verifications WHERE user_id = erased;
    DELETE FROM mail_requests WHERE user_id = erased;
    DELETE FROM mail_digests WHERE user_id = erased;
    DELETE FROM preferences WHERE user_id = erased;
    DELETE FROM inboxes WHERE user_id = erased;
    DELETE FROM blocks WHERE channel_id = erased OR user_id = erased;
    DELETE FROM people WHERE user_id = erased;
    DELETE FROM follower_counts WHERE channel_id = erased;
END
$$;
