-- name: list_inbox
-- A page of a person's inbox, the newest first, below a notice's id; and whether each is read.
SELECT f.fanout_id AS notification_id, f.kind, f.stream_id, f.channel_id, f.channel_name, f.title, f.category,
       f.started_at AS created_at, n.read_at IS NOT NULL OR coalesce(n.notice_id <= i.read_through, false) AS read
  FROM notices n
  JOIN fanouts f ON f.fanout_id = n.notice_id
  LEFT JOIN inboxes i ON i.user_id = :user_id
 WHERE n.user_id = :user_id AND n.notice_id < :before_notice_id
 ORDER BY n.notice_id DESC
 LIMIT :items_max;

-- name: count_unread^
-- How many of the newest notices above the last one that was read with all others are unread, and how many were looked at.
SELECT count(*) FILTER (WHERE read_at IS NULL) AS unread, count(*) AS notices
  FROM (
      SELECT read_at FROM notices
       WHERE user_id = :user_id
         AND notice_id > coalesce((SELECT read_through FROM inboxes WHERE user_id = :user_id), :first_notice_id)
       ORDER BY notice_id DESC
       LIMIT :notices_max
  ) AS newest;

-- name: read_all!
-- Everything that is in a person's inbox is read: one row, however much it is.
INSERT INTO inboxes AS i (user_id, read_through)
SELECT user_id, notice_id FROM notices WHERE user_id = :user_id ORDER BY notice_id DESC LIMIT 1
ON CONFLICT (user_id) DO UPDATE SET read_through = excluded.read_through WHERE i.read_through < excluded.read_through;

-- name: read_some!
-- Some notices of a person are read; ids that are not in their inbox change nothing.
UPDATE notices n SET read_at = now()
  FROM (
      SELECT notice_id FROM notices
       WHERE user_id = :user_id AND notice_id = ANY(:notice_ids::uuid[]) AND read_at IS NULL
       ORDER BY notice_id
         FOR NO KEY UPDATE
  ) AS unread
 WHERE n.user_id = :user_id AND n.notice_id = unread.notice_id;
