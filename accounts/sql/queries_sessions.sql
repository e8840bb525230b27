-- name: start_session(session_id, user_id, password_hash, expires_at, client)!
-- Begin a session: one login. No row when the password is another by now: a change of it waits for this, or this for it.
INSERT INTO sessions (session_id, user_id, expires_at, client)
SELECT :session_id, user_id, :expires_at::timestamptz, :client
FROM users WHERE user_id = :user_id AND password_hash = :password_hash FOR SHARE;

-- name: add_refresh_token(token_hash, session_id, generation)!
-- Add a refresh token of a session.
INSERT INTO refresh_tokens (token_hash, session_id, generation) VALUES (:token_hash, :session_id, :generation);

-- name: lock_session_of_token(token_hash)^
-- The session that a refresh token belongs to, locked, so that its tokens are used one after another.
SELECT session_id, user_id, username, is_operator, sessions.generation, answered_again,
       expires_at <= now() AS expired, revoked_at IS NOT NULL AS revoked,
       -- the time of this statement and not of its transaction, which may have waited for the lock
       extract(epoch FROM clock_timestamp() - rotated_at)::float8 AS rotated_seconds_ago
FROM sessions JOIN users USING (user_id)
WHERE session_id = (SELECT session_id FROM refresh_tokens WHERE token_hash = :token_hash)
FOR UPDATE OF sessions;

-- name: find_session_once_had(user_id, token_hash)$
-- The session of a person's that a refresh token was of, if it began with all that is asked for now; it may be over, but
-- not by another password.
SELECT session_id
FROM refresh_tokens JOIN sessions USING (session_id) LEFT JOIN totp USING (user_id)
WHERE token_hash = :token_hash AND user_id = :user_id AND expires_at > now()
  AND started_at >= coalesce(totp.confirmed_at, '-infinity'::timestamptz);

-- name: find_token_generation(token_hash, session_generation)$
-- The generation of a refresh token. One from before there were any is of the present one until it is used. -1: a process
-- from then has spent it; one of today begins the next generation with it. Only under the lock of its session.
SELECT CASE
    WHEN used_at IS NULL THEN coalesce(generation, :session_generation::integer)
    WHEN generation < :session_generation::integer THEN generation
    ELSE -1 END
FROM refresh_tokens WHERE token_hash = :token_hash;

-- name: use_refresh_token(token_hash, generation)!
-- Note that a refresh token was used, for processes from before there were generations; and of which generation it was,
-- if it has none from before, so that its answer may be lost like any other.
UPDATE refresh_tokens SET used_at = coalesce(used_at, now()), generation = coalesce(generation, :generation::integer)
WHERE token_hash = :token_hash;

-- name: begin_generation(session_id, expires_at)!
-- Let a session that is used live on with the next generation of tokens; those before it are spent.
UPDATE sessions
SET expires_at = :expires_at, generation = generation + 1, rotated_at = clock_timestamp(), answered_again = 0
WHERE session_id = :session_id;

-- name: count_answer(session_id)!
-- Count that a token which was just spent is answered once more.
UPDATE sessions SET answered_again = answered_again + 1 WHERE session_id = :session_id;

-- name: revoke_session(session_id)!
-- End a session: none of its refresh tokens works any more.
UPDATE sessions SET revoked_at = now() WHERE session_id = :session_id AND revoked_at IS NULL;

-- name: revoke_session_of(user_id, session_id)!
-- End a session if it is this person's and goes on.
UPDATE sessions SET revoked_at = now()
WHERE user_id = :user_id AND session_id = :session_id AND revoked_at IS NULL AND expires_at > now();

-- name: revoke_sessions(user_id, except_id)!
-- End all sessions of a person, but for one if it is named.
UPDATE sessions SET revoked_at = now()
WHERE user_id = :user_id AND session_id IS DISTINCT FROM :except_id::uuid AND revoked_at IS NULL;

-- name: forget_sessions(user_id, except_id)!
-- Have all logins of a person but one go at the next clearing, those that are over as well: no token of theirs shows any
-- more who was here.
UPDATE sessions SET expires_at = now()
WHERE user_id = :user_id AND session_id IS DISTINCT FROM :except_id::uuid AND expires_at > now();

-- name: list_sessions(user_id, sessions_max)
-- The sessions of a person that go on, the newest login first.
SELECT session_id, started_at, coalesce(rotated_at, started_at) AS used_at, expires_at, client
FROM sessions WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > now()
ORDER BY session_id DESC LIMIT :sessions_max;

-- name: revoke_sessions_beyond(user_id, sessions_max)!
-- End the oldest logins of a person who has more than so many.
UPDATE sessions SET revoked_at = now()
WHERE session_id IN (
    SELECT session_id FROM sessions WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > now()
    ORDER BY session_id DESC OFFSET :sessions_max LIMIT 100
);

-- name: delete_expired_sessions(sessions_max)$
-- Delete sessions that ended by themselves, with their tokens; how many there were.
WITH ended AS (
    SELECT session_id FROM sessions WHERE expires_at <= now() ORDER BY expires_at LIMIT :sessions_max
    FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM sessions USING ended WHERE sessions.session_id = ended.session_id RETURNING 1
)
SELECT count(*) FROM deleted;

-- name: delete_old_tokens(idle_days, tokens_max)$
-- Delete refresh tokens from so long ago that nobody holds one of them: a session that goes on has had others since.
WITH old AS (
    SELECT token_hash FROM refresh_tokens WHERE issued_at <= now() - make_interval(days => :idle_days)
    ORDER BY issued_at LIMIT :tokens_max FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM refresh_tokens USING old WHERE refresh_tokens.token_hash = old.token_hash RETURNING 1
)
SELECT count(*) FROM deleted;
