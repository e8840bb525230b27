-- name: ensure_delivery_queues!
-- Make queues that are missing.
INSERT INTO delivery_queues (channel, lane, source_id)
SELECT DISTINCT channel, lane, source_id
  FROM unnest(:channels::text[], :lanes::text[], :source_ids::uuid[]) AS q (channel, lane, source_id)
 ORDER BY channel, lane, source_id
ON CONFLICT DO NOTHING;

-- name: hold_delivery_queues
-- The queues that there are among some, kept from being removed until the end of the transaction.
SELECT q.queue_id, q.channel, q.lane, q.source_id
  FROM delivery_queues q
 WHERE (q.channel, q.lane, q.source_id) IN (
           SELECT channel, lane, source_id
             FROM unnest(:channels::text[], :lanes::text[], :source_ids::uuid[]) AS w (channel, lane, source_id)
       )
 ORDER BY q.queue_id
   FOR KEY SHARE;

-- name: insert_deliveries!
-- Put deliveries into their queues; without a time they are due at once.
INSERT INTO deliveries (queue_id, message_id, user_id, destination_id, provider, due_at, expires_at, content)
SELECT queue_id, message_id, user_id, destination_id, provider, coalesce(due_at, now()), expires_at, content
  FROM unnest(:queue_ids::bigint[], :message_ids::uuid[], :user_ids::uuid[], :destination_ids::uuid[], :providers::text[],
              :due_ats::timestamptz[], :expires_ats::timestamptz[], :contents::jsonb[])
    AS d (queue_id, message_id, user_id, destination_id, provider, due_at, expires_at, content);

-- name: claim_deliveries
-- Take deliveries that are due, in the turns of their queues; each with its fate if it is not to be sent.
SELECT delivery_id, source_id, message_id, user_id, destination_id, provider, attempts, created_at, expires_at, content, fate
  FROM claim_deliveries(:channel, :lane, :rows_max, :lease, :lease_seconds, :providers::text[], :rooms::integer[]);

-- name: settle_deliveries
-- Note what became of leased deliveries; answers those whose lease still was the worker's.
SELECT settle_deliveries(:delivery_ids::bigint[], :leases::uuid[], :outcomes::text[], :reasons::text[], :wait_seconds::float8[])
       AS delivery_id;

-- name: list_pauses
-- Providers of a channel that are, or were, left alone, no more than the limit.
SELECT provider, extract(epoch FROM paused_until - clock_timestamp())::float8 AS seconds, failures
  FROM providers WHERE channel = :channel
 ORDER BY paused_until DESC LIMIT :providers_max;

-- name: pause_providers!
-- Leave providers alone for a while, for all workers; a longer pause that there is stays.
INSERT INTO providers AS p (channel, provider, paused_until, failures, reason)
SELECT :channel, provider, clock_timestamp() + make_interval(secs => seconds), failures, reason
  FROM unnest(:providers::text[], :seconds::float8[], :failures::integer[], :reasons::text[])
    AS n (provider, seconds, failures, reason)
 ORDER BY provider
ON CONFLICT (channel, provider) DO UPDATE
   SET paused_until = greatest(p.paused_until, excluded.paused_until),
       failures = greatest(p.failures, excluded.failures), reason = excluded.reason;

-- name: resume_providers!
-- Providers that failed and do not any more: nothing is held back from them.
DELETE FROM providers
 WHERE (channel, provider) IN (SELECT channel, provider FROM providers
                                WHERE channel = :channel AND provider = ANY (:providers::text[])
                                ORDER BY provider FOR UPDATE);

-- name: sweep_queues$
-- Remove queues that are empty and were not served for a while, no more than the limit; answers how many.
WITH idle AS (
    SELECT q.queue_id FROM delivery_queues q
     WHERE q.served_at < now() - :idle::interval
       AND NOT EXISTS (SELECT FROM deliveries d WHERE d.queue_id = q.queue_id)
       AND NOT EXISTS (SELECT FROM fanouts f WHERE f.fanout_id = q.source_id AND f.state IN ('running', 'paused'))
     ORDER BY q.queue_id
     LIMIT :rows_max
       FOR UPDATE SKIP LOCKED
), swept AS (
    DELETE FROM delivery_queues q USING idle WHERE q.queue_id = idle.queue_id RETURNING 1
)
SELECT count(*) FROM swept;

-- name: sweep_dead_deliveries$
-- Forget deliveries that were given up on long ago, no more than the limit; answers how many.
WITH old AS (
    SELECT delivery_id FROM dead_deliveries WHERE died_at < now() - :keep::interval ORDER BY died_at LIMIT :rows_max
), swept AS (
    DELETE FROM dead_deliveries d USING old WHERE d.delivery_id = old.delivery_id RETURNING 1
)
SELECT count(*) FROM swept;

-- name: sweep_providers$
-- Forget pauses that were over long ago; answers how many.
WITH swept AS (DELETE FROM providers WHERE paused_until < now() - :keep::interval RETURNING 1)
SELECT count(*) FROM swept;

-- name: list_dead_deliveries
-- Deliveries that were given up on, the newest first, no more than the limit; null: of any channel, source, provider.
SELECT delivery_id, channel, lane, source_id, message_id, user_id, destination_id, provider, attempts, content, reason,
       created_at, died_at
  FROM dead_deliveries
 WHERE (:channel::text IS NULL OR channel = :channel::text)
   AND (:source_id::uuid IS NULL OR source_id = :source_id::uuid)
   AND (:provider::text IS NULL OR provider = :provider::text)
 ORDER BY died_at DESC, delivery_id DESC
 LIMIT :rows_max;

-- name: find_dead_delivery^
-- A delivery that was given up on.
SELECT delivery_id, channel, lane, source_id, message_id, user_id, destination_id, provider, attempts, content, reason,
       created_at, died_at
  FROM dead_deliveries WHERE delivery_id = :delivery_id;

-- name: take_dead_deliveries
-- Take deliveries from the dead; those that somebody else takes at this moment are theirs.
WITH taken AS (
    SELECT delivery_id FROM dead_deliveries WHERE delivery_id = ANY (:delivery_ids::bigint[])
     ORDER BY delivery_id FOR UPDATE SKIP LOCKED
)
DELETE FROM dead_deliveries d USING taken t WHERE d.delivery_id = t.delivery_id
RETURNING d.delivery_id, d.channel, d.lane, d.source_id, d.message_id, d.user_id, d.destination_id, d.provider,
          d.attempts, d.content, d.reason, d.created_at, d.died_at;
