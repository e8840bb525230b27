-- name: add_signing_key(key_id, public_jwk, private_sealed, lead_seconds)!
-- Add the newest signing key, which signs after so long, unless there is a newest one.
INSERT INTO signing_keys (key_id, public_jwk, private_sealed, signs_from)
VALUES (:key_id, :public_jwk::jsonb, :private_sealed, now() + make_interval(secs => :lead_seconds))
ON CONFLICT DO NOTHING;

-- name: list_signing_keys(retired_seconds_max)
-- The keys whose tokens may be about or come, newest first, with the seconds until each signs and stops to.
SELECT key_id, public_jwk, private_sealed, created_at, signs_from, retired_at,
       extract(epoch FROM signs_from - now())::float8 AS signs_in_seconds,
       extract(epoch FROM now() - signs_from)::float8 AS age_seconds
FROM signing_keys
WHERE retired_at IS NULL OR retired_at > now() - make_interval(secs => :retired_seconds_max)
ORDER BY signs_from DESC, created_at DESC LIMIT 10;

-- name: retire_newest_key(lead_seconds)$
-- Have the newest key stop to sign after so long; its id, or no row when it has not begun to.
UPDATE signing_keys SET retired_at = now() + make_interval(secs => :lead_seconds)
WHERE retired_at IS NULL AND signs_from <= now()
RETURNING key_id;

-- name: delete_all_signing_keys()!
-- Forget every signing key: no token that any of them signed counts any more.
DELETE FROM signing_keys;

-- name: delete_retired_keys(retired_seconds_max)!
-- Delete keys whose tokens have all expired.
DELETE FROM signing_keys WHERE retired_at <= now() - make_interval(secs => :retired_seconds_max);
