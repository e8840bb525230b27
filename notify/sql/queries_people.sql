-- name: lock_person$
-- Hold a person's row: whatever changes whom they follow, or what they want, waits for its turn; null: nobody is known.
SELECT user_id FROM people WHERE user_id = :user_id FOR NO KEY UPDATE;

-- name: note_activity!
-- The person has just done something; written once a day at most.
UPDATE people SET active_at = now() WHERE user_id = :user_id AND active_at < now() - interval '1 day';

-- name: find_follow_facts^
-- What decides whether somebody may follow a channel, and how; no row when nobody knows the channel.
SELECT clock_timestamp() AS followed_at,
       EXISTS (SELECT FROM blocks b WHERE b.channel_id = :channel_id AND b.user_id = :follower_id) AS is_blocked,
       EXISTS (SELECT FROM follows f WHERE f.channel_id = :channel_id AND f.follower_id = :follower_id) AS is_following,
       (SELECT count(*) FROM (SELECT FROM follows w WHERE w.follower_id = :follower_id LIMIT :follows_max) AS counted) AS follows,
       coalesce((SELECT p.muted FROM preferences p WHERE p.user_id = :follower_id), false) AS has_muted_everything
  FROM people c WHERE c.user_id = :channel_id;

-- name: insert_follow!
-- Follow a channel from a moment on. The last statement of its transaction, because it holds the channel's count.
INSERT INTO follows (channel_id, follower_id, followed_at, is_silent)
VALUES (:channel_id, :follower_id, :followed_at, :is_silent);

-- name: is_following$
-- Whether somebody follows a channel.
SELECT EXISTS (SELECT FROM follows WHERE channel_id = :channel_id AND follower_id = :follower_id);

-- name: delete_follow!
-- Unfollow a channel. The last statement of its transaction, because it holds the channel's count.
DELETE FROM follows WHERE channel_id = :channel_id AND follower_id = :follower_id;

-- name: find_channel^
-- A channel's person and how many follow it, exactly; no row when nobody knows the channel.
SELECT p.username, coalesce(c.followers, 0) AS followers, coalesce(c.want_notices, 0) AS want_notices
  FROM people p LEFT JOIN follower_counts c ON c.channel_id = p.user_id
 WHERE p.user_id = :channel_id;

-- name: list_followers
-- A page of a channel's followers, the newest first, below a (followed_at, follower_id).
SELECT f.follower_id AS user_id, p.username, f.followed_at
  FROM follows f JOIN people p ON p.user_id = f.follower_id
 WHERE f.channel_id = :channel_id AND (f.followed_at, f.follower_id) < (:before_followed_at, :before_follower_id)
 ORDER BY f.followed_at DESC, f.follower_id DESC
 LIMIT :items_max;

-- name: count_following$
-- How many channels a person follows; they are few enough (one person's follows are limited) to be counted.
SELECT count(*) FROM follows WHERE follower_id = :follower_id;

-- name: list_following
-- A page of the channels that a person follows, the newest first, below a (followed_at, channel_id). Sorts one person's
-- follows, whose number is limited: an index in that order would cost every follow a write.
SELECT f.channel_id, p.username, f.followed_at, f.muted, f.inbox, f.webpush, f.email, f.recordings, f.categories
  FROM follows f JOIN people p ON p.user_id = f.channel_id
 WHERE f.follower_id = :follower_id AND (f.followed_at, f.channel_id) < (:before_followed_at, :before_channel_id)
 ORDER BY f.followed_at DESC, f.channel_id DESC
 LIMIT :items_max;

-- name: find_following^
-- A person's follow of one channel, with what they want of it.
SELECT f.channel_id, p.username, f.followed_at, f.muted, f.inbox, f.webpush, f.email, f.recordings, f.categories
  FROM follows f JOIN people p ON p.user_id = f.channel_id
 WHERE f.follower_id = :follower_id AND f.channel_id = :channel_id;

-- name: save_follow_wants!
-- What a person wants of one channel.
UPDATE follows
   SET muted = :muted, inbox = :inbox, webpush = :webpush, email = :email, recordings = :recordings, categories = :categories
 WHERE follower_id = :follower_id AND channel_id = :channel_id;

-- name: find_follow_live^
-- A follow as the live lane knows it; no row when nothing of the channel is to be told live.
SELECT followed_at, categories, recordings FROM wishes
 WHERE follower_id = :follower_id AND channel_id = :channel_id AND wants_notices AND inbox;

-- name: insert_block$
-- Let somebody not follow a channel; answers their id, or null when that was so already.
INSERT INTO blocks (channel_id, user_id) VALUES (:channel_id, :user_id) ON CONFLICT DO NOTHING RETURNING user_id;

-- name: delete_block!
-- Let somebody follow a channel again.
DELETE FROM blocks WHERE channel_id = :channel_id AND user_id = :user_id;

-- name: count_blocks$
-- How many people a channel has blocked, counted no further than the limit.
SELECT count(*) FROM (SELECT FROM blocks WHERE channel_id = :channel_id LIMIT :blocks_max) AS counted;

-- name: list_blocks
-- A page of those whom a channel has blocked, the newest first, below a (blocked_at, user_id).
SELECT b.user_id, p.username, b.blocked_at
  FROM blocks b JOIN people p USING (user_id)
 WHERE b.channel_id = :channel_id AND (b.blocked_at, b.user_id) < (:before_blocked_at, :before_user_id)
 ORDER BY b.blocked_at DESC, b.user_id DESC
 LIMIT :items_max;

-- name: find_preferences^
-- What a person wants of all channels; no row: the defaults.
SELECT muted, inbox, webpush, email, recordings, time_zone, quiet_from, quiet_until, daily_notices_max, digest_hour
  FROM preferences WHERE user_id = :user_id;

-- name: save_preferences!
-- What a person wants of all channels from now on.
INSERT INTO preferences (user_id, muted, inbox, webpush, email, recordings, time_zone, quiet_from, quiet_until, daily_notices_max, digest_hour)
VALUES (:user_id, :muted, :inbox, :webpush, :email, :recordings, :time_zone, :quiet_from, :quiet_until, :daily_notices_max, :digest_hour)
ON CONFLICT (user_id) DO UPDATE
   SET muted = excluded.muted, inbox = excluded.inbox, webpush = excluded.webpush, email = excluded.email,
       recordings = excluded.recordings, time_zone = excluded.time_zone, quiet_from = excluded.quiet_from,
       quiet_until = excluded.quiet_until, daily_notices_max = excluded.daily_notices_max,
       digest_hour = excluded.digest_hour, updated_at = now();

-- name: list_time_zones
-- The time zones that this database can compute with.
SELECT name FROM pg_timezone_names LIMIT :zones_max;

-- name: silence_follows!
-- Silence all follows of some people, or end that; in the order of the ids, so that two of these never wait in a ring.
UPDATE follows f SET is_silent = :is_silent
  FROM (
      SELECT channel_id, follower_id FROM follows
       WHERE follower_id = ANY(:follower_ids::uuid[]) AND is_silent <> :is_silent
       ORDER BY channel_id, follower_id
         FOR NO KEY UPDATE
  ) AS held
 WHERE f.channel_id = held.channel_id AND f.follower_id = held.follower_id;

-- name: find_away_since$
-- Since when a person is told nothing because they had been away for very long; null: they are told.
SELECT away_since FROM people WHERE user_id = :user_id;

-- name: come_back!
-- The person is here again.
UPDATE people SET away_since = NULL, active_at = now() WHERE user_id = :user_id;

-- name: list_inactive_people
-- A batch of those who have done nothing since a moment, those longest away first, above an (active_at, user_id).
SELECT user_id, active_at, (SELECT count(*) FROM follows f WHERE f.follower_id = people.user_id AND NOT f.is_silent) AS follows
  FROM people
 WHERE away_since IS NULL AND active_at < :inactive_since AND (active_at, user_id) > (coalesce(:after_active_at::timestamptz, '-infinity'), :after_user_id)
 ORDER BY active_at, user_id
 LIMIT :people_max;

-- name: mark_away
-- Note that people are away who still are; those whom another transaction holds are doing something just now.
UPDATE people SET away_since = now()
 WHERE user_id IN (
     SELECT user_id FROM people
      WHERE user_id = ANY(:user_ids::uuid[]) AND away_since IS NULL AND active_at < :inactive_since
      ORDER BY user_id
      LIMIT :people_max
        FOR NO KEY UPDATE SKIP LOCKED
 )
RETURNING user_id;
