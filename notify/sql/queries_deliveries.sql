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
