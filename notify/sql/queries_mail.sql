-- name: find_mailbox^
-- A person's verified address.
SELECT destination_id, address, verified_at FROM mailboxes WHERE user_id = :user_id;

-- name: find_verification^
-- The address of a person that is not verified.
SELECT verification_id, address, state, expires_at FROM mail_verifications WHERE user_id = :user_id;

-- name: lock_mail!
-- Let nobody else work on these people and addresses until the end of the transaction; locked in one order.
SELECT pg_advisory_xact_lock(number)
  FROM (SELECT hashtextextended('notify.mail/' || key, 0) AS number FROM unnest(:keys::text[]) AS key ORDER BY 1) AS ordered;

-- name: find_recent_requests^
-- How many mails to verify an address a person asked for within an hour, how many went to an address, and when the
-- oldest of the last `requests_max` of either was asked for.
SELECT (SELECT min(requested_at) FROM (
            SELECT requested_at FROM mail_requests
             WHERE user_id = :user_id AND requested_at > now() - interval '1 hour'
             ORDER BY requested_at DESC LIMIT :requests_max) AS mine
        HAVING count(*) >= :requests_max) AS of_person_since,
       (SELECT min(requested_at) FROM (
            SELECT requested_at FROM mail_requests
             WHERE address_key = :address_key AND requested_at > now() - interval '1 hour'
             ORDER BY requested_at DESC LIMIT :requests_max) AS theirs
        HAVING count(*) >= :requests_max) AS to_address_since,
       now() AS asked_at;

-- name: insert_mail_request!
-- Count a mail to verify an address.
INSERT INTO mail_requests (user_id, address_key) VALUES (:user_id, :address_key);

-- name: insert_verification!
-- Begin to verify an address.
INSERT INTO mail_verifications (verification_id, user_id, address, state, expires_at)
VALUES (:verification_id, :user_id, :address, 'requested', :expires_at);

-- name: delete_verification!
-- Forget the address that a person was about to verify.
DELETE FROM mail_verifications WHERE user_id = :user_id;

-- name: find_token_person$
-- Whose token it is; null: nobody's.
SELECT v.user_id FROM mail_verification_tokens t JOIN mail_verifications v ON v.verification_id = t.verification_id
 WHERE t.token_hash = :token_hash;

-- name: use_verification_token^
-- Take the verification of a token, once; null: there is none, or it has expired.
DELETE FROM mail_verifications v
 USING mail_verification_tokens t
 WHERE t.token_hash = :token_hash AND v.verification_id = t.verification_id
   AND v.state = 'requested' AND v.expires_at > now()
RETURNING v.user_id, v.address;

-- name: delete_mail_destinations!
-- Forget a person's verified address, and what is sent there.
DELETE FROM destinations WHERE user_id = :user_id AND channel = 'email';

-- name: insert_mail_destination!
-- Make a destination for mail.
INSERT INTO destinations (destination_id, user_id, channel, provider) VALUES (:destination_id, :user_id, 'email', :provider);

-- name: insert_mailbox!
-- Keep the verified address of a destination.
INSERT INTO mailboxes (destination_id, user_id, address) VALUES (:destination_id, :user_id, :address);

-- name: correct_mail_providers!
-- Note that mail goes by another server now; some rows at a time.
UPDATE destinations SET provider = :provider
 WHERE destination_id IN (
     SELECT destination_id FROM destinations
      WHERE channel = 'email' AND provider <> :provider ORDER BY destination_id LIMIT :destinations_max
 );

-- name: keep_mail_key$
-- Keep a key unless there is one; answers null then.
INSERT INTO mail_keys (key) VALUES (:key) ON CONFLICT DO NOTHING RETURNING key;

-- name: find_mail_key$
-- The key that signs unsubscribe links.
SELECT key FROM mail_keys;

-- name: unsubscribe_mailbox$
-- Send no more notices to a mailbox; answers whose it is, or null: it is nobody's any more.
WITH box AS (
    UPDATE mailboxes SET unsubscribed_at = now() WHERE destination_id = :destination_id RETURNING user_id
), person AS (
    UPDATE preferences p SET email = 'off', updated_at = now() FROM box
     WHERE p.user_id = box.user_id AND p.email <> 'off'
), followed AS (
    UPDATE follows f SET email = NULL FROM box WHERE f.follower_id = box.user_id AND f.email
)
SELECT user_id FROM box;

-- name: find_mailboxes
-- The mailboxes of a batch, with the names of their people.
SELECT m.destination_id, m.address, m.unsubscribed_at, p.username
  FROM mailboxes m LEFT JOIN people p ON p.user_id = m.user_id
 WHERE m.destination_id = ANY (:destination_ids::uuid[]);

-- name: find_mailed_fanouts
-- What is told by the notices of a batch.
SELECT fanout_id, kind, stream_id, channel_name, title, category, state
  FROM fanouts WHERE fanout_id = ANY (:fanout_ids::uuid[]);

-- name: find_mailed_verifications
-- The verifications of a batch that may still be used, with the names of their people.
SELECT v.verification_id, v.address, p.username
  FROM mail_verifications v LEFT JOIN people p ON p.user_id = v.user_id
 WHERE v.verification_id = ANY (:verification_ids::uuid[]) AND v.state = 'requested' AND v.expires_at > now();

-- name: insert_verification_token!
-- Keep the hash of a token that is about to be mailed; nothing when its verification is gone.
INSERT INTO mail_verification_tokens (token_hash, verification_id)
SELECT :token_hash, verification_id FROM mail_verifications WHERE verification_id = :verification_id;

-- name: list_due_digests
-- A batch of people whose digest is due and was not made for this day, behind a (time zone, hour, person) in that order.
WITH hours AS MATERIALIZED (
    SELECT time_zone, digest_hour, wall_clock(time_zone) - make_interval(hours => digest_hour) AS moment
      FROM (SELECT DISTINCT time_zone, digest_hour FROM preferences WHERE email = 'digest') AS wanted
)
SELECT p.time_zone, p.digest_hour, p.user_id, h.moment::date AS digest_day
  FROM hours h
  JOIN preferences p ON p.email = 'digest' AND p.time_zone = h.time_zone AND p.digest_hour = h.digest_hour
  JOIN mailboxes m ON m.user_id = p.user_id
  LEFT JOIN mail_digests d ON d.user_id = p.user_id
 WHERE h.moment - date_trunc('day', h.moment) < make_interval(hours => :late_hours_max)
   AND (p.time_zone, p.digest_hour, p.user_id) > (:after_time_zone, :after_digest_hour, :after_user_id)
   AND (d.digest_day IS NULL OR d.digest_day < h.moment::date)
 ORDER BY p.time_zone, p.digest_hour, p.user_id
 LIMIT :people_max;

-- name: claim_digests
-- Note the day of people's digests unless that was done; their rows stay locked until the commit.
INSERT INTO mail_digests AS d (user_id, digest_day, covers_from, made_at)
SELECT user_id, digest_day, now() - interval '1 day', now()
  FROM unnest(:user_ids::uuid[], :digest_days::date[]) AS due (user_id, digest_day)
 ORDER BY user_id
ON CONFLICT (user_id) DO UPDATE
   SET digest_day = excluded.digest_day, covers_from = greatest(d.made_at, now() - make_interval(days => :days_max)),
       made_at = excluded.made_at
 WHERE d.digest_day < excluded.digest_day
RETURNING user_id, digest_day, covers_from;

-- name: find_digest_notices
-- What people have not read since their last digest: the newest few, and how many there are (counted up to a limit).
SELECT u.user_id, m.destination_id, n.unread, n.notice_ids
  FROM unnest(:user_ids::uuid[], :covers_from::timestamptz[]) AS u (user_id, covers_from)
  JOIN mailboxes m ON m.user_id = u.user_id
  CROSS JOIN LATERAL (
      SELECT count(*) AS unread,
             array_agg(notice_id ORDER BY notice_id DESC) FILTER (WHERE position <= :notices_max) AS notice_ids
        FROM (
            SELECT notice_id, row_number() OVER (ORDER BY notice_id DESC) AS position FROM notices
             WHERE notices.user_id = u.user_id AND created_at > u.covers_from AND read_at IS NULL
               AND notice_id >= uuid7_floor(u.covers_from - interval '1 day')
               AND notice_id > coalesce((SELECT read_through FROM inboxes WHERE inboxes.user_id = u.user_id),
                                        '00000000-0000-0000-0000-000000000000')
             ORDER BY notice_id DESC
             LIMIT :counted_max
        ) AS newest
  ) AS n
 WHERE n.unread > 0;

-- name: find_mailboxes_of
-- The mailboxes of people that take notices: those that did not turn mail off.
SELECT m.user_id, m.destination_id, d.provider, p.away_since
  FROM mailboxes m
  JOIN destinations d ON d.destination_id = m.destination_id
  JOIN people p ON p.user_id = m.user_id
 WHERE m.user_id = ANY (:user_ids::uuid[])
   AND (EXISTS (SELECT 1 FROM preferences w WHERE w.user_id = m.user_id AND w.email <> 'off')
        OR EXISTS (SELECT 1 FROM follows f WHERE f.follower_id = m.user_id AND f.email));

-- name: forget_bounces!
-- These mailboxes exist: mail was taken for them.
UPDATE mailboxes SET bounces = 0 WHERE destination_id = ANY (:destination_ids::uuid[]) AND bounces > 0;

-- name: count_bounces
-- Count that there is no such mailbox; answers those at which it was said for the `bounces_max`-th time.
UPDATE mailboxes SET bounces = bounces + 1
 WHERE destination_id = ANY (:destination_ids::uuid[])
RETURNING destination_id, user_id, address, bounces;

-- name: keep_bounced!
-- Remember that a person's address does not exist, unless they are verifying another.
INSERT INTO mail_verifications (verification_id, user_id, address, state, expires_at)
VALUES (:verification_id, :user_id, :address, 'bounced', now() + make_interval(days => :days_kept))
ON CONFLICT DO NOTHING;

-- name: delete_mail_destinations_by_id!
-- Forget mailboxes that do not exist.
DELETE FROM destinations WHERE destination_id = ANY (:destination_ids::uuid[]) AND channel = 'email';

-- name: delete_expired_verifications!
-- Forget addresses that nobody verified in time; some at a time.
DELETE FROM mail_verifications WHERE verification_id IN (
    SELECT verification_id FROM mail_verifications WHERE expires_at < now() ORDER BY expires_at LIMIT :rows_max
);

-- name: delete_old_requests!
-- Forget requests that limit nobody any more; some at a time.
DELETE FROM mail_requests WHERE request_id IN (
    SELECT request_id FROM mail_requests
     WHERE requested_at < now() - interval '1 day' ORDER BY requested_at LIMIT :rows_max
);
