-- name: find_standing(channel_id, user_id)^
-- What somebody may do in a room: whatever is not known of them is null. Whose account is deleted says nothing more.
SELECT p.username,
       p.registered_at,
       m.user_id IS NOT NULL AS moderator,
       s.user_id IS NOT NULL AS subscriber,
       b.user_id IS NOT NULL OR EXISTS (SELECT FROM erasures e WHERE e.user_id = who.user_id) AS silenced,
       b.until,
       CASE WHEN f.left_at IS NULL OR f.followed_at > f.left_at THEN f.followed_at END AS followed_at
FROM (SELECT :channel_id::uuid AS channel_id, :user_id::uuid AS user_id) AS who
LEFT JOIN people p ON p.user_id = who.user_id
LEFT JOIN moderators m ON m.channel_id = who.channel_id AND m.user_id = who.user_id
LEFT JOIN subscribers s
       ON s.channel_id = who.channel_id AND s.user_id = who.user_id AND s.subscribed_until > now()
LEFT JOIN bans b
       ON b.channel_id = who.channel_id AND b.user_id = who.user_id AND (b.until IS NULL OR b.until > now())
LEFT JOIN followers f ON f.channel_id = who.channel_id AND f.user_id = who.user_id;

-- name: find_rank(channel_id, user_id)^
-- Whether a room is there and somebody moderates it.
SELECT EXISTS (
           SELECT FROM moderators m WHERE m.channel_id = r.channel_id AND m.user_id = :user_id
       ) AS moderator
FROM rooms r
WHERE r.channel_id = :channel_id AND r.channel_name IS NOT NULL;

-- name: find_name(user_id)$
-- What somebody is called, if they were ever heard of here.
SELECT username FROM people WHERE user_id = :user_id;

-- name: lock_rules(channel_id)$
-- The rules of a room, for whoever changes them.
SELECT rules::text FROM rooms WHERE channel_id = :channel_id FOR UPDATE;

-- name: keep_rules(channel_id, rules)!
-- A room's rules are these now.
UPDATE rooms SET rules = :rules::jsonb WHERE channel_id = :channel_id;

-- name: moderate_alone(channel_id)!
-- One at a time from here: for what is counted before it is added.
SELECT FROM rooms WHERE channel_id = :channel_id FOR UPDATE;

-- name: add_moderator(channel_id, user_id, added_by, moderators_max)!
-- Somebody moderates now; nothing changes if they did, or if the room has as many as it may.
INSERT INTO moderators (channel_id, user_id, added_by)
SELECT :channel_id, :user_id, :added_by
WHERE (SELECT count(*) FROM moderators WHERE channel_id = :channel_id) < :moderators_max::bigint
ON CONFLICT DO NOTHING;

-- name: remove_moderator(channel_id, user_id)!
-- Somebody moderates no more.
DELETE FROM moderators WHERE channel_id = :channel_id AND user_id = :user_id;

-- name: is_moderator(channel_id, user_id)$
-- Whether somebody moderates a room.
SELECT EXISTS (SELECT FROM moderators WHERE channel_id = :channel_id AND user_id = :user_id);

-- name: list_moderators(channel_id, after, items_max)
-- Who moderates, by their ids.
SELECT m.user_id, p.username, m.added_at
FROM moderators m
LEFT JOIN people p USING (user_id)
WHERE m.channel_id = :channel_id AND m.user_id > :after
ORDER BY m.user_id
LIMIT :items_max;

-- name: put_ban(channel_id, user_id, seconds, reason, banned_by)<!
-- Silence somebody for so many seconds, or (null) for good; the newest decision counts.
INSERT INTO bans (channel_id, user_id, until, reason, banned_by)
VALUES (:channel_id, :user_id, now() + make_interval(secs => :seconds::integer), :reason, :banned_by)
ON CONFLICT (channel_id, user_id) DO UPDATE
SET until = excluded.until, reason = excluded.reason, banned_by = excluded.banned_by, banned_at = excluded.banned_at
RETURNING until, banned_at;

-- name: lift_ban(channel_id, user_id)!
-- Somebody is silenced no more.
DELETE FROM bans WHERE channel_id = :channel_id AND user_id = :user_id AND (until IS NULL OR until > now());

-- name: list_bans(channel_id, before, before_user, items_max)
-- Who is silenced, the newest first.
SELECT b.user_id, p.username, b.until, b.reason, b.banned_by, a.username AS banned_by_name, b.banned_at
FROM bans b
LEFT JOIN people p ON p.user_id = b.user_id
LEFT JOIN people a ON a.user_id = b.banned_by
WHERE b.channel_id = :channel_id
  AND (b.banned_at, b.user_id) < (:before, :before_user)
  AND (b.until IS NULL OR b.until > now())
ORDER BY b.banned_at DESC, b.user_id DESC
LIMIT :items_max;

-- name: add_blocked_term(term_id, channel_id, term, folded, hold, added_by, terms_max)<!
-- A term may not be said; if it is known already it is as said last. Null: the room has as many as it may.
INSERT INTO blocked_terms (term_id, channel_id, term, folded, hold, added_by)
SELECT :term_id, :channel_id, :term, :folded, :hold, :added_by
WHERE (SELECT count(*) FROM blocked_terms WHERE channel_id = :channel_id AND folded <> :folded) < :terms_max::bigint
ON CONFLICT (channel_id, folded) DO UPDATE SET term = excluded.term, hold = excluded.hold, added_by = excluded.added_by
RETURNING term_id, term, hold, added_at;

-- name: remove_blocked_term(channel_id, term_id)$
-- A term may be said again; answers the term if it was there.
DELETE FROM blocked_terms WHERE channel_id = :channel_id AND term_id = :term_id RETURNING term;

-- name: list_blocked_terms(channel_id, after, items_max)
-- What may not be said in a room, in the order of the alphabet.
SELECT term_id, term, folded, hold, added_at
FROM blocked_terms
WHERE channel_id = :channel_id AND folded > :after
ORDER BY folded
LIMIT :items_max;

-- name: find_hold(channel_id, user_id, send_id)^
-- What became of a send that was held.
SELECT decision FROM held_messages WHERE channel_id = :channel_id AND user_id = :user_id AND send_id = :send_id;

-- name: count_held(channel_id, user_id)^
-- How many messages wait in a room, and how many of them are of one person.
SELECT count(*) AS of_room, count(*) FILTER (WHERE user_id = :user_id) AS of_person
FROM held_messages
WHERE channel_id = :channel_id AND decision IS NULL AND expires_at > now();

-- name: hold_message(held_id, channel_id, user_id, username, send_id, kind, text, reply_to, term, seconds)!
-- A message waits for a moderator.
INSERT INTO held_messages
    (held_id, channel_id, user_id, username, send_id, kind, text, reply_to, term, expires_at)
VALUES (:held_id, :channel_id, :user_id, :username, :send_id, :kind, :text, :reply_to, :term,
        now() + make_interval(secs => :seconds::double precision))
ON CONFLICT DO NOTHING;

-- name: find_held(channel_id, held_id)^
-- A message that waits.
SELECT held_id, user_id, username, send_id, kind, text, reply_to, term, held_at, expires_at
FROM held_messages
WHERE channel_id = :channel_id AND held_id = :held_id AND decision IS NULL AND expires_at > now();

-- name: decide_held(channel_id, held_id, decision, decided_by)!
-- A moderator looked at it; nothing changes if another did before, or it waited too long.
UPDATE held_messages
SET decision = :decision, decided_by = :decided_by, decided_at = now()
WHERE channel_id = :channel_id AND held_id = :held_id AND decision IS NULL AND expires_at > now();

-- name: drop_held_of(channel_id, user_id, decided_by)!
-- Whoever is silenced has nothing waiting.
UPDATE held_messages
SET decision = 'denied', decided_by = :decided_by, decided_at = now()
WHERE channel_id = :channel_id AND user_id = :user_id AND decision IS NULL;

-- name: list_held(channel_id, after, items_max)
-- What waits for a moderator, the oldest first.
SELECT held_id, user_id, username, kind, text, term, held_at, expires_at
FROM held_messages
WHERE channel_id = :channel_id AND held_id > :after AND decision IS NULL AND expires_at > now()
ORDER BY held_id
LIMIT :items_max;

-- name: expire_held(rows_max)
-- What nobody looked at in time waits no more.
UPDATE held_messages
SET decision = 'expired', decided_at = now()
WHERE held_id IN (
    SELECT held_id FROM held_messages
    WHERE decision IS NULL AND expires_at <= now()
    LIMIT :rows_max FOR UPDATE SKIP LOCKED
)
RETURNING channel_id;

-- name: forget_decided(older_than, rows_max)!
-- Held messages are kept a little after they were decided, for those who send them again.
DELETE FROM held_messages
WHERE held_id IN (
    SELECT held_id FROM held_messages WHERE decision IS NOT NULL AND decided_at < :older_than LIMIT :rows_max
);

-- name: forget_ended_timeouts(older_than, rows_max)!
-- A timeout that is over says nothing; the audit log has it.
DELETE FROM bans
WHERE (channel_id, user_id) IN (
    SELECT channel_id, user_id FROM bans WHERE until < :older_than LIMIT :rows_max
) AND until < :older_than;

-- name: forget_former_followers(older_than, rows_max)!
-- Who left is forgotten when no older event about them can come any more.
DELETE FROM followers
WHERE (channel_id, user_id) IN (
    SELECT channel_id, user_id FROM followers
    WHERE left_at < :older_than AND (followed_at IS NULL OR followed_at <= left_at)
    LIMIT :rows_max
) AND left_at < :older_than AND (followed_at IS NULL OR followed_at <= left_at);

-- name: note_follow(channel_id, user_id, followed_at)!
-- Somebody followed a channel at a time; the latest such time is kept.
INSERT INTO followers (channel_id, user_id, followed_at)
VALUES (:channel_id, :user_id, :followed_at)
ON CONFLICT (channel_id, user_id) DO UPDATE
SET followed_at = greatest(followers.followed_at, excluded.followed_at);

-- name: note_unfollow(channel_id, user_id, left_at)!
-- Somebody left a channel at a time; the latest such time is kept.
INSERT INTO followers (channel_id, user_id, left_at)
VALUES (:channel_id, :user_id, :left_at)
ON CONFLICT (channel_id, user_id) DO UPDATE SET left_at = greatest(followers.left_at, excluded.left_at);

-- name: note_untold(entry_id, channel_id, message_id, body, spooled)!
-- A room is to get an entry.
INSERT INTO untold_entries (entry_id, channel_id, message_id, body, spooled)
VALUES (:entry_id, :channel_id, :message_id, :body, :spooled);

-- name: forget_untold(entry_id)!
-- The room has it.
DELETE FROM untold_entries WHERE entry_id = :entry_id;

-- name: list_untold(older_than_seconds, items_max)
-- What rooms should have got by now, the oldest first.
SELECT entry_id, channel_id, message_id, body, spooled
FROM untold_entries
WHERE noted_at < clock_timestamp() - make_interval(secs => :older_than_seconds::double precision)
ORDER BY noted_at
LIMIT :items_max;

-- name: append_audit(channel_id, audit_id, actor_id, actor_name, action, target_id, target_name, message_id, reason, particulars)!
-- Somebody did something.
INSERT INTO audit_log
    (channel_id, audit_id, actor_id, actor_name, action, target_id, target_name, message_id, reason, particulars)
VALUES (:channel_id, :audit_id, :actor_id, :actor_name, :action, :target_id, :target_name, :message_id, :reason,
        :particulars::jsonb);

-- name: list_audit(channel_id, before, items_max)
-- Who did what, the newest first.
SELECT audit_id, actor_id, actor_name, action, target_id, target_name, message_id, reason,
       particulars::text AS particulars, acted_at
FROM audit_log
WHERE channel_id = :channel_id AND audit_id < :before
ORDER BY audit_id DESC
LIMIT :items_max;

-- name: make_audit_months(months_ahead)$
-- Make the audit log's partitions of this month and those to come; answers how many were missing.
SELECT make_audit_months(:months_ahead);

-- name: drop_audit_months(ended_before)$
-- Drop what is older than the audit log reaches; answers how many months went.
SELECT drop_audit_months(:ended_before);
