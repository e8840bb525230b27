-- Queries of the runtime, on tables that several services have under the same names.

-- name: note_erasure!
-- An account was deleted: what is kept of it is to be erased; told again it changes nothing.
INSERT INTO erasures (user_id, deleted_at) VALUES (:user_id, :deleted_at) ON CONFLICT DO NOTHING;

-- name: claim_erasure^
-- The erasure that is due longest, for one worker until its lease runs out.
UPDATE erasures SET lease = :lease, due_at = now() + make_interval(secs => :lease_seconds)
WHERE user_id = (
    SELECT user_id FROM erasures WHERE settled_at IS NULL AND due_at <= now()
    ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING user_id;

-- name: extend_erasure!
-- The worker is still at it; nothing changes when another has taken it over.
UPDATE erasures SET due_at = now() + make_interval(secs => :lease_seconds) WHERE user_id = :user_id AND lease = :lease;

-- name: postpone_erasure!
-- Something of the person has to wait for others.
UPDATE erasures SET lease = NULL, due_at = now() + make_interval(secs => :wait_seconds)
WHERE user_id = :user_id AND lease = :lease;

-- name: note_erased$
-- Nothing is left. The first time that is so somebody looks again later; the second time it is settled, and answers so.
UPDATE erasures
SET lease = NULL, due_at = now() + make_interval(secs => :again_seconds), erased_at = coalesce(erased_at, now()),
    settled_at = CASE WHEN erased_at IS NOT NULL THEN now() END
WHERE user_id = :user_id AND lease = :lease
RETURNING settled_at IS NOT NULL;

-- name: measure_erasures^
-- How many people something is left of, and for how many seconds the first of them has waited.
SELECT count(*) AS pending, coalesce(extract(epoch FROM now() - min(noted_at)), 0)::double precision AS oldest_seconds
FROM erasures WHERE erased_at IS NULL;

-- name: forget_erasures!
-- Ids of people of whom no event can come late any more.
DELETE FROM erasures WHERE user_id IN (
    SELECT user_id FROM erasures WHERE settled_at < now() - make_interval(secs => :kept_seconds) LIMIT :rows_max);
