-- name: lock_push_subscriptions$
-- Let nobody else change the subscriptions of a person or of an endpoint until the transaction ends.
SELECT count(pg_advisory_xact_lock(lock_id))
  FROM (SELECT DISTINCT hashtextextended(name, 0) AS lock_id
          FROM unnest(ARRAY['notify.push.' || :endpoint::text, 'notify.push.' || :user_id::uuid]) AS u (name)
         ORDER BY lock_id) AS locks;

-- name: find_push_subscription^
-- Whose subscription an endpoint is.
SELECT destination_id, user_id FROM push_subscriptions WHERE endpoint = :endpoint;

-- name: renew_push_subscription^
-- Keep the keys that a browser gave again with its endpoint.
UPDATE push_subscriptions SET p256dh = :p256dh, auth = :auth, renewed_at = now()
 WHERE destination_id = :destination_id
RETURNING destination_id, (SELECT provider FROM destinations WHERE destination_id = :destination_id) AS provider,
          created_at, renewed_at;

-- name: insert_push_subscription^
-- Keep a new subscription and its destination.
WITH destination AS (
    INSERT INTO destinations (destination_id, user_id, channel, provider)
    VALUES (:destination_id, :user_id, 'webpush', :provider)
)
INSERT INTO push_subscriptions (destination_id, user_id, endpoint, p256dh, auth)
VALUES (:destination_id, :user_id, :endpoint, :p256dh, :auth)
RETURNING destination_id, :provider::text AS provider, created_at, renewed_at;

-- name: count_push_subscriptions$
-- How many subscriptions a person has.
SELECT count(*) FROM push_subscriptions WHERE user_id = :user_id;

-- name: list_push_subscriptions
-- The subscriptions of a person, the oldest first.
SELECT s.destination_id, d.provider, s.created_at, s.renewed_at
  FROM push_subscriptions s JOIN destinations d ON d.destination_id = s.destination_id
 WHERE s.user_id = :user_id
 ORDER BY s.created_at, s.destination_id
 LIMIT :items_max;

-- name: delete_push_subscription$
-- Forget a subscription of a person, and its destination; answers its id, or null when the person has none of this id.
DELETE FROM destinations d
 WHERE d.destination_id = :destination_id AND d.user_id = :user_id AND d.channel = 'webpush'
RETURNING d.destination_id;

-- name: delete_push_destinations!
-- Forget subscriptions that their push services do not know any more, and their destinations.
DELETE FROM destinations WHERE destination_id = ANY(:destination_ids::uuid[]) AND channel = 'webpush';

-- name: find_push_subscriptions
-- Where a batch of deliveries goes: of each destination the endpoint and the keys.
SELECT destination_id, user_id, endpoint, p256dh, auth
  FROM push_subscriptions WHERE destination_id = ANY(:destination_ids::uuid[]);

-- name: find_push_notices
-- What a batch of deliveries says: the fan-outs of their messages, and how those stand.
SELECT fanout_id, kind, stream_id, channel_name, title, state
  FROM fanouts WHERE fanout_id = ANY(:fanout_ids::uuid[]);
