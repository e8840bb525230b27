-- name: keep_person!
-- Remember a person under a name unless they are known, and hold their row: only a rename corrects a name.
INSERT INTO people (user_id, username) VALUES (:user_id, :username)
ON CONFLICT (user_id) DO UPDATE SET username = people.username WHERE false;

-- name: keep_channel!
-- Remember the name of a channel's person if nobody told it before.
INSERT INTO people (user_id, username) VALUES (:user_id, :username) ON CONFLICT DO NOTHING;

-- name: find_username$
-- The name of a person, or null when this service never heard of them.
SELECT username FROM people WHERE user_id = :user_id;

-- name: find_follows_of
-- Of whom people are told live, since when they follow them, and which notices they want; no further than the limit.
SELECT u.follower_id, f.channel_id, f.followed_at, f.recordings, f.categories
  FROM unnest(:follower_ids::uuid[]) AS u (follower_id)
  CROSS JOIN LATERAL (
      SELECT w.channel_id, w.followed_at, w.categories, w.recordings FROM wishes w
       WHERE w.follower_id = u.follower_id AND w.wants_notices AND w.inbox
       LIMIT :follows_max
  ) AS f;

-- name: find_missed_notices
-- The newest notices above an id of each of some people: those in the inbox, and those that a running fan-out will write.
SELECT u.user_id, m.*
  FROM unnest(:user_ids::uuid[]) AS u (user_id)
  CROSS JOIN LATERAL (
      SELECT f.fanout_id AS notification_id, f.kind, f.stream_id, f.channel_id, f.channel_name, f.title, f.category, f.started_at AS created_at
        FROM notices n JOIN fanouts f ON f.fanout_id = n.notice_id
       WHERE n.user_id = u.user_id AND n.notice_id > :after_notice_id
       UNION
      SELECT f.fanout_id AS notification_id, f.kind, f.stream_id, f.channel_id, f.channel_name, f.title, f.category, f.started_at AS created_at
        FROM fanouts f JOIN wishes w ON w.channel_id = f.channel_id
       WHERE w.follower_id = u.user_id AND w.followed_at <= f.started_at AND w.wants_notices AND w.inbox
         AND is_in_categories(f.category, w.categories) AND (f.kind <> 'recording.published' OR w.recordings)
         AND f.state = 'running' AND f.fanout_id > :after_notice_id
       ORDER BY notification_id DESC
       LIMIT :items_max
  ) AS m
 ORDER BY u.user_id, m.notification_id;

-- name: make_partitions$
-- Make the inbox partitions of this and of the coming months; answers how many were missing.
SELECT make_notice_months(:months_ahead);

-- name: seed_followers$
-- Make the synthetic followers of a channel from one number to another, always the same ones; answers how many were missing.
WITH numbered AS (
    SELECT md5(:channel_id::uuid || '/' || n)::uuid AS user_id, 'follower-' || n AS username
      FROM generate_series(:first::integer, :last::integer) AS n
), known AS (
    INSERT INTO people (user_id, username) SELECT user_id, username FROM numbered ORDER BY user_id ON CONFLICT DO NOTHING
), following AS (
    INSERT INTO follows (channel_id, follower_id) SELECT :channel_id::uuid, user_id FROM numbered
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*) FROM following;
