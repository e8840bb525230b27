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
