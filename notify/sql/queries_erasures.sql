-- Queries about people who have another name, or whose accounts were deleted.

-- name: rename_person!
-- The name that somebody has from a moment on, also in what their followers were told; an older one changes nothing.
WITH named AS (
    INSERT INTO people (user_id, username, renamed_at) VALUES (:user_id, :username, :renamed_at)
    ON CONFLICT (user_id) DO UPDATE SET username = excluded.username, renamed_at = excluded.renamed_at
     WHERE people.renamed_at IS NULL OR people.renamed_at < excluded.renamed_at
    RETURNING user_id, username
)
UPDATE fanouts f SET channel_name = named.username FROM named WHERE f.channel_id = named.user_id;

-- name: cancel_fanouts_of!
-- Nobody is told of a channel any more.
UPDATE fanouts SET state = 'cancelled', state_changed_at = clock_timestamp()
 WHERE channel_id = :user_id AND state IN ('running', 'paused');

-- name: erase_followers$
-- End some follows of a person's channel; how many.
SELECT erase_followers(:user_id, :rows_max);

-- name: erase_follows!
-- End some of a person's follows; in the order in which others lock them.
DELETE FROM follows WHERE follower_id = :user_id AND channel_id = ANY(
    SELECT channel_id FROM follows WHERE follower_id = :user_id ORDER BY channel_id LIMIT :rows_max);

-- name: erase_told$
-- Remove what some people's inboxes have of a person's channel; the last of them, or null behind the last.
SELECT erase_told(:user_id, :after_user_id, :rows_max);

-- name: erase_fanouts$
-- Remove some of what is queued and known of a person's fan-outs, webhooks and mail; how much that was.
SELECT erase_fanouts(:user_id, :rows_max);

-- name: erase_webhook_log!
-- Remove some of the log of a person's webhooks.
DELETE FROM webhook_messages WHERE (endpoint_id, message_id) IN (
    SELECT m.endpoint_id, m.message_id
      FROM webhook_endpoints e JOIN webhook_messages m USING (endpoint_id)
     WHERE e.user_id = :user_id LIMIT :rows_max);

-- name: erase_from_webhooks$
-- Remove a person from the log of some webhooks of others; the last endpoint that was looked at, null behind the last.
SELECT erase_from_webhooks(:user_id, :after_endpoint_id, :endpoints_max);

-- name: erase_notices!
-- Empty some of a person's inbox.
DELETE FROM notices WHERE user_id = :user_id AND notice_id = ANY(
    SELECT notice_id FROM notices WHERE user_id = :user_id LIMIT :rows_max);

-- name: erase_person^
-- Remove what is left of a person.
SELECT erase_person(:user_id);
