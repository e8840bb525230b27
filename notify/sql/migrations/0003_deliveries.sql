-- What is to be delivered outside of the inbox: to browsers by Web Push, to mailboxes, to webhooks.

-- Where something can be sent to. Its particulars are in a table of its delivery channel.
CREATE TABLE destinations (
    destination_id uuid PRIMARY KEY,
    user_id        uuid NOT NULL,
    channel        text NOT NULL CHECK (channel IN ('webpush', 'email', 'webhook')),
    provider       text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN destinations.provider IS 'Who takes it from us, host and port: what is paused when it asks for that, or when it fails.';
-- serves: tell_page (where a page's followers are reached)
CREATE INDEX destinations_of_user ON destinations (user_id, channel);

-- Queues take turns, so that a large fan-out does not hold up a small one. The lane for what must not wait (a mail to
-- verify an address) is served apart from the others.
CREATE TABLE delivery_queues (
    queue_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel   text NOT NULL CHECK (channel IN ('webpush', 'email', 'webhook')),
    lane      text NOT NULL CHECK (lane IN ('transactional', 'bulk')),
    source_id uuid NOT NULL,
    served_at timestamptz NOT NULL DEFAULT '-infinity',
    UNIQUE (channel, lane, source_id)
);
-- serves: claim_deliveries (whose turn it is)
CREATE INDEX delivery_queues_in_turn ON delivery_queues (channel, lane, served_at, queue_id);
COMMENT ON COLUMN delivery_queues.source_id IS 'The fan-out, or the webhook endpoint, or the person that these deliveries are of.';

-- One thing to send to one destination; gone once that is settled.
CREATE TABLE deliveries (
    delivery_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue_id       bigint NOT NULL REFERENCES delivery_queues,
    message_id     uuid NOT NULL,
    user_id        uuid NOT NULL,
    destination_id uuid NOT NULL,
    provider       text NOT NULL,
    attempts       smallint NOT NULL DEFAULT 0,
    due_at         timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    lease          uuid,
    content        jsonb,
    created_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);
COMMENT ON COLUMN deliveries.message_id IS 'The same in every attempt, so that a receiver can tell a repetition: the notice, or the event.';
COMMENT ON COLUMN deliveries.due_at IS 'Not before; while leased, when the lease runs out.';
COMMENT ON COLUMN deliveries.content IS 'What to send, where that does not follow from the message id.';
-- serves: claim_deliveries (the providers of a queue, and what is due at one of them)
CREATE INDEX deliveries_due ON deliveries (queue_id, provider, due_at);

-- What was given up on; kept for a while, to be looked at and sent again.
CREATE TABLE dead_deliveries (
    delivery_id    bigint PRIMARY KEY,
    channel        text NOT NULL,
    lane           text NOT NULL,
    source_id      uuid NOT NULL,
    message_id     uuid NOT NULL,
    user_id        uuid NOT NULL,
    destination_id uuid NOT NULL,
    provider       text NOT NULL,
    attempts       smallint NOT NULL,
    content        jsonb,
    reason         text NOT NULL,
    created_at     timestamptz NOT NULL,
    died_at        timestamptz NOT NULL DEFAULT now()
);

-- serves: list_dead_deliveries, sweep_dead_deliveries
CREATE INDEX dead_deliveries_by_age ON dead_deliveries (died_at, delivery_id);

-- Providers that are not to be sent to for a while, because they asked for it or because they fail.
CREATE TABLE providers (
    channel      text NOT NULL,
    provider     text NOT NULL,
    paused_until timestamptz NOT NULL,
    failures     integer NOT NULL DEFAULT 0,
    reason       text NOT NULL,
    PRIMARY KEY (channel, provider)
);
COMMENT ON COLUMN providers.failures IS 'How often in a row it was left alone because it failed; 0: it asked for the pause.';

-- Takes deliveries that are due, for the worker that asks: a lease each, which ends at the due_at that it leaves behind.
--
-- Queues take turns, and in a queue each provider has its own share, so neither a long queue nor a provider that takes
-- nothing holds up the others. `known_providers` with `rooms` says how many of a provider the worker can take (all others:
-- any number). A provider that failed is given one delivery at a time until one of them gets through. Queues of paused
-- fan-outs are passed over; what is of a cancelled or ended one comes as `dropped`, what is too late as `expired`, whatever
-- its provider does, and is not to be sent.
--
-- Only index scans: this is planned while the tables are empty, and run when they are not. The commit is not waited for:
-- a lease that a crash undoes was given to nobody, or is taken a second time, which is what at least once means.
CREATE FUNCTION claim_deliveries(
    wanted_channel text, wanted_lane text, rows_max integer, lease_token uuid, lease_seconds double precision,
    known_providers text[], rooms integer[]
) RETURNS TABLE (
    delivery_id bigint, source_id uuid, message_id uuid, user_id uuid, destination_id uuid, provider text,
    attempts smallint, created_at timestamptz, expires_at timestamptz, content jsonb, fate text
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    turns_max    CONSTANT integer := 64;
    moment       CONSTANT timestamptz := now();
    queue        record;
    place        text;
    known        integer;
    room         integer;
    remaining    integer := rows_max;
    taken        integer;
    asked        boolean[] := '{}';
    turn_queues  bigint[] := '{}';
    turn_sources uuid[] := '{}';
    turn_places  text[] := '{}';
    turn_fates   text[] := '{}';
    served       bigint[] := '{}';
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR queue IN
        SELECT q.queue_id, q.source_id, CASE WHEN f.state IN ('cancelled', 'ended') THEN 'dropped' END AS fate
          FROM delivery_queues q LEFT JOIN fanouts f ON f.fanout_id = q.source_id
         WHERE q.channel = wanted_channel AND q.lane = wanted_lane AND f.state IS DISTINCT FROM 'paused'
         ORDER BY q.channel, q.lane, q.served_at, q.queue_id
    LOOP
        place := '';
        LOOP
            SELECT d.provider INTO place FROM deliveries d
             WHERE d.queue_id = queue.queue_id AND d.provider > place ORDER BY d.queue_id, d.provider LIMIT 1;
            EXIT WHEN place IS NULL;
            IF queue.fate IS NULL THEN
                known := array_position(known_providers, place);
                IF known IS NULL THEN
                    known_providers := known_providers || place;
                    rooms := rooms || rows_max;
                    known := cardinality(rooms);
                END IF;
                IF asked[known] IS NULL THEN
                    asked[known] := true;
                    SELECT CASE WHEN p.paused_until > moment THEN 0 WHEN p.failures > 0 THEN 1 END INTO room
                      FROM providers p WHERE p.channel = wanted_channel AND p.provider = place;
                    rooms[known] := least(rooms[known], room);
                END IF;
                CONTINUE WHEN rooms[known] <= 0;
            END IF;
            IF EXISTS (SELECT FROM deliveries d
                        WHERE d.queue_id = queue.queue_id AND d.provider = place AND d.due_at <= moment) THEN
                turn_queues := turn_queues || queue.queue_id;
                turn_sources := turn_sources || queue.source_id;
                turn_places := turn_places || place;
                turn_fates := turn_fates || queue.fate::text;
                EXIT WHEN cardinality(turn_queues) >= turns_max;
            END IF;
        END LOOP;
        EXIT WHEN cardinality(turn_queues) >= turns_max;
    END LOOP;

    FOR n IN 1 .. cardinality(turn_queues) LOOP
        -- what an earlier turn left of its share is for the later ones
        room := greatest(remaining / (cardinality(turn_queues) - n + 1), 1);
        known := array_position(known_providers, turn_places[n]);
        IF turn_fates[n] IS NULL THEN
            room := least(room, rooms[known]);
        END IF;
        CONTINUE WHEN room <= 0;
        RETURN QUERY
            WITH due AS MATERIALIZED (
                SELECT d.delivery_id FROM deliveries d
                 WHERE d.queue_id = turn_queues[n] AND d.provider = turn_places[n] AND d.due_at <= moment
                 ORDER BY d.queue_id, d.provider, d.due_at
                 LIMIT room
                   FOR NO KEY UPDATE SKIP LOCKED
            )
            UPDATE deliveries d SET lease = lease_token, due_at = clock_timestamp() + make_interval(secs => lease_seconds)
              FROM due WHERE d.delivery_id = due.delivery_id
            RETURNING d.delivery_id, turn_sources[n], d.message_id, d.user_id, d.destination_id, d.provider, d.attempts,
                      d.created_at, d.expires_at, d.content,
                      coalesce(turn_fates[n], CASE WHEN d.expires_at <= moment THEN 'expired' END);
        GET DIAGNOSTICS taken = ROW_COUNT;
        IF taken > 0 THEN
            served := served || turn_queues[n];
            remaining := remaining - taken;
            IF turn_fates[n] IS NULL THEN
                rooms[known] := rooms[known] - taken;
            END IF;
        END IF;
        EXIT WHEN remaining <= 0;
    END LOOP;

    -- whoever else serves the queue at this moment notes it, too
    UPDATE delivery_queues q SET served_at = clock_timestamp()
     WHERE q.queue_id IN (SELECT s.queue_id FROM delivery_queues s WHERE s.queue_id = ANY (served)
                           ORDER BY s.queue_id FOR NO KEY UPDATE SKIP LOCKED);
END
$$;

-- Notes what became of leased deliveries: without a wait they end, and are counted at their fan-out; with one they are due
-- again. A lease that is another's by now settles nothing. Answers the deliveries that it settled.
CREATE FUNCTION settle_deliveries(
    settled_delivery_ids bigint[], settled_leases uuid[], settled_outcomes text[], settled_reasons text[],
    settled_waits double precision[]
) RETURNS SETOF bigint LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    RETURN QUERY
        WITH told AS MATERIALIZED (
            SELECT t.delivery_id, t.lease, t.outcome, t.reason, t.wait_seconds
              FROM unnest(settled_delivery_ids, settled_leases, settled_outcomes, settled_reasons, settled_waits)
                AS t (delivery_id, lease, outcome, reason, wait_seconds)
        ), ended AS (
            DELETE FROM deliveries d USING told t
             WHERE d.delivery_id = t.delivery_id AND d.lease = t.lease AND t.wait_seconds IS NULL
            RETURNING d.*, t.outcome, t.reason
        ), again AS (
            UPDATE deliveries d
               SET attempts = d.attempts + CASE t.outcome WHEN 'failed' THEN 1 ELSE 0 END, lease = NULL,
                   due_at = clock_timestamp() + make_interval(secs => t.wait_seconds)
              FROM told t
             WHERE d.delivery_id = t.delivery_id AND d.lease = t.lease AND t.wait_seconds IS NOT NULL
            RETURNING d.delivery_id
        ), dead AS (
            INSERT INTO dead_deliveries (delivery_id, channel, lane, source_id, message_id, user_id, destination_id, provider,
                                         attempts, content, reason, created_at)
            SELECT e.delivery_id, q.channel, q.lane, q.source_id, e.message_id, e.user_id, e.destination_id, e.provider,
                   e.attempts + 1, e.content, e.reason, e.created_at
              FROM ended e JOIN delivery_queues q USING (queue_id)
             WHERE e.outcome = 'failed'
        ), counted AS (
            INSERT INTO fanout_outcomes AS o (fanout_id, channel, outcome, recipients)
            SELECT q.source_id, q.channel, e.outcome, e.recipients
              FROM (SELECT queue_id, outcome, count(*) AS recipients FROM ended GROUP BY queue_id, outcome) AS e
              JOIN delivery_queues q USING (queue_id)
              JOIN fanouts f ON f.fanout_id = q.source_id
             ORDER BY q.source_id, q.channel, e.outcome
            ON CONFLICT (fanout_id, channel, outcome) DO UPDATE SET recipients = o.recipients + excluded.recipients
        )
        SELECT delivery_id FROM ended UNION ALL SELECT delivery_id FROM again;
END
$$;
