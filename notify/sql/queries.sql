-- name: keep_person!
-- Remember a person's name, or correct it.
INSERT INTO people (user_id, username) VALUES (:user_id, :username)
ON CONFLICT (user_id) DO UPDATE SET username = excluded.username WHERE people.username <> excluded.username;

-- name: keep_channel!
-- Remember the name of a channel's person if nobody told it before.
INSERT INTO people (user_id, username) VALUES (:user_id, :username) ON CONFLICT DO NOTHING;

-- name: find_username$
-- The name of a person, or null when this service never heard of them.
SELECT username FROM people WHERE user_id = :user_id;

-- name: count_follows_of$
-- How many channels a person follows, counted no further than the limit.
SELECT count(*) FROM (SELECT 1 FROM follows WHERE follower_id = :follower_id LIMIT :follows_max) AS counted;

-- name: insert_follow$
-- Follow a channel; answers since when, or null when that was so already.
INSERT INTO follows (channel_id, follower_id) VALUES (:channel_id, :follower_id)
ON CONFLICT DO NOTHING RETURNING followed_at;

-- name: delete_follow$
-- Unfollow a channel; answers its id, or null when it was not followed.
DELETE FROM follows WHERE channel_id = :channel_id AND follower_id = :follower_id RETURNING channel_id;

-- name: list_followers
-- A page of a channel's followers, the newest first, below a (followed_at, follower_id).
SELECT f.follower_id AS user_id, p.username, f.followed_at
  FROM follows f JOIN people p ON p.user_id = f.follower_id
 WHERE f.channel_id = :channel_id AND (f.followed_at, f.follower_id) < (:before_followed_at, :before_follower_id)
 ORDER BY f.followed_at DESC, f.follower_id DESC
 LIMIT :items_max;

-- name: find_follows_of
-- Whom people follow and since when, each person no further than the limit.
SELECT u.follower_id, f.channel_id, f.followed_at
  FROM unnest(:follower_ids::uuid[]) AS u (follower_id)
  CROSS JOIN LATERAL (
      SELECT channel_id, followed_at FROM follows WHERE follows.follower_id = u.follower_id LIMIT :follows_max
  ) AS f;

-- name: insert_fanout$
-- Begin the fan-out of a stream; answers its id, or null when it was begun before.
INSERT INTO fanouts (fanout_id, kind, stream_id, channel_id, channel_name, title, category, started_at, begun_at)
VALUES (:fanout_id, :kind, :stream_id, :channel_id, :channel_name, :title, :category, :started_at, clock_timestamp())
ON CONFLICT DO NOTHING RETURNING fanout_id;

-- name: find_page_boundaries
-- Among the next `followers_max` followers of a channel: every `page_followers`-th, and the last, with their positions.
SELECT follower_id, position
  FROM (
      SELECT follower_id, row_number() OVER (ORDER BY follower_id) AS position, count(*) OVER () AS candidates
        FROM (
            SELECT follower_id FROM follows
             WHERE channel_id = :channel_id AND follower_id > :after_follower_id AND followed_at <= :started_at
             ORDER BY follower_id
             LIMIT :followers_max
        ) AS candidate
  ) AS numbered
 WHERE position % :page_followers = 0 OR position = candidates
 ORDER BY position;

-- name: advance_plan$
-- Note that pages were planned, up to which follower, and whether they were the last; true when nothing is to be done.
UPDATE fanouts
   SET pages_planned = pages_planned + :pages, planned_through = :planned_through,
       planned_at = CASE WHEN :is_last THEN clock_timestamp() END,
       completed_at = CASE WHEN :is_last AND pages_done = pages_planned + :pages THEN clock_timestamp() END
 WHERE fanout_id = :fanout_id
RETURNING completed_at IS NOT NULL;

-- name: claim_page$
-- Mark a page as told; null when it was told before.
INSERT INTO fanout_pages (fanout_id, page_number) VALUES (:fanout_id, :page_number)
ON CONFLICT DO NOTHING RETURNING page_number;

-- name: write_notices$
-- Put the notice into the inboxes of a page's followers; answers how many had none yet.
WITH told AS (
    INSERT INTO notices (user_id, notice_id)
    SELECT follower_id, :notice_id FROM follows
     WHERE channel_id = :channel_id AND follower_id > :after_follower_id AND follower_id <= :last_follower_id
       AND followed_at <= :started_at
     ORDER BY follower_id
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM told;

-- name: note_page_recipients!
-- How many were told by a page.
UPDATE fanout_pages SET recipients = :recipients WHERE fanout_id = :fanout_id AND page_number = :page_number;

-- name: count_page_done^
-- Count a page and its recipients once; answers how the fan-out stands, whose row stays locked until the commit.
UPDATE fanouts
   SET pages_done = pages_done + 1, recipients = recipients + :recipients,
       completed_at = CASE WHEN planned_at IS NOT NULL AND pages_done + 1 = pages_planned THEN clock_timestamp() END
 WHERE fanout_id = :fanout_id
RETURNING fanout_id, stream_id, channel_id, pages_planned, pages_done, recipients, started_at, planned_through,
          planned_at, created_at, completed_at;

-- name: find_fanout^
-- How the fan-out of a stream stands.
SELECT fanout_id, stream_id, channel_id, pages_planned, pages_done, recipients, started_at, planned_through,
       planned_at, created_at, completed_at
  FROM fanouts WHERE fanout_id = :fanout_id;

-- name: list_notices
-- A page of a person's inbox, the newest first, below a notice's id.
SELECT f.fanout_id AS notification_id, f.kind, f.stream_id, f.channel_id, f.channel_name, f.title, f.category, f.started_at AS created_at
  FROM notices n JOIN fanouts f ON f.fanout_id = n.notice_id
 WHERE n.user_id = :user_id AND n.notice_id < :before_notice_id
 ORDER BY n.notice_id DESC
 LIMIT :items_max;

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
        FROM fanouts f JOIN follows w ON w.channel_id = f.channel_id
       WHERE w.follower_id = u.user_id AND w.followed_at <= f.started_at
         AND f.completed_at IS NULL AND f.fanout_id > :after_notice_id
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
