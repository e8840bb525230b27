-- name: count_attempt(target, window_seconds)^
-- Count an attempt at an account within its window: how many there are now, and the seconds until the window ends.
INSERT INTO attempts AS known (target, attempts, lasts_seconds) VALUES (:target, 1, :window_seconds::integer)
ON CONFLICT (target) DO UPDATE SET
    attempts = CASE
        WHEN known.began_at <= now() - make_interval(secs => :window_seconds) THEN 1 ELSE known.attempts + 1 END,
    began_at = CASE
        WHEN known.began_at <= now() - make_interval(secs => :window_seconds) THEN now() ELSE known.began_at END
RETURNING attempts, extract(epoch FROM began_at - now())::float8 + :window_seconds::float8 AS ends_in_seconds;

-- name: take_back_attempt(target)!
-- An attempt was not wrong after all.
UPDATE attempts SET attempts = attempts - 1 WHERE target = :target AND attempts > 0;

-- name: forget_attempts(target)!
-- Forget the attempts at an account from one place: its owner was among them.
DELETE FROM attempts WHERE target = :target;

-- name: delete_old_attempts(window_seconds, attempts_max)$
-- Delete attempts whose window, the shortest or a longer one, is over; how many there were.
WITH old AS (
    SELECT target FROM attempts
    WHERE began_at <= now() - make_interval(secs => :window_seconds)
      AND began_at <= now() - make_interval(secs => lasts_seconds)
    ORDER BY began_at LIMIT :attempts_max FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM attempts USING old WHERE attempts.target = old.target RETURNING 1
)
SELECT count(*) FROM deleted;

-- name: is_known_address(user_id, address_hash)$
-- Whether a person has logged in from an address lately.
SELECT EXISTS (SELECT FROM known_addresses WHERE user_id = :user_id AND address_hash = :address_hash);

-- name: remember_address(user_id, address_hash)!
-- Remember that a person has logged in from an address; a day is exact enough.
INSERT INTO known_addresses AS known (user_id, address_hash) VALUES (:user_id, :address_hash)
ON CONFLICT (user_id, address_hash) DO UPDATE SET seen_at = now() WHERE known.seen_at < now() - interval '1 day';

-- name: forget_addresses(user_id)!
-- Forget from where a person has logged in: by less than what is asked for from now on, or by another password.
DELETE FROM known_addresses WHERE user_id = :user_id;

-- name: delete_old_addresses(days, addresses_max)$
-- Delete addresses that nobody has logged in from for so long; how many there were.
WITH old AS (
    SELECT user_id, address_hash FROM known_addresses WHERE seen_at <= now() - make_interval(days => :days)
    ORDER BY seen_at LIMIT :addresses_max FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM known_addresses USING old
    WHERE known_addresses.user_id = old.user_id AND known_addresses.address_hash = old.address_hash RETURNING 1
)
SELECT count(*) FROM deleted;

-- name: rest_name(name_hash, user_id, days)!
-- Keep a name from others for so many days; its owner may have it back.
INSERT INTO resting_names (name_hash, free_at, user_id)
VALUES (:name_hash, now() + make_interval(days => :days), :user_id)
ON CONFLICT (name_hash) DO UPDATE SET free_at = excluded.free_at, user_id = excluded.user_id;

-- name: is_name_resting(name_hash, user_id)$
-- Whether a name is kept from this person, or from somebody who is new.
SELECT EXISTS (
    SELECT FROM resting_names
    WHERE name_hash = :name_hash AND free_at > now() AND (user_id IS NULL OR user_id IS DISTINCT FROM :user_id::uuid)
);

-- name: wake_name(name_hash)!
-- A name is taken again: it rests no more.
DELETE FROM resting_names WHERE name_hash = :name_hash;

-- name: delete_free_names(names_max)$
-- Delete names that have rested long enough; how many there were.
WITH old AS (
    SELECT name_hash FROM resting_names WHERE free_at <= now() ORDER BY free_at LIMIT :names_max
    FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM resting_names USING old WHERE resting_names.name_hash = old.name_hash RETURNING 1
)
SELECT count(*) FROM deleted;
