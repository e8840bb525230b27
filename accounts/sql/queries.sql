-- name: add_user(user_id, username, password_hash)^
-- Add a user; no row when the name is taken.
INSERT INTO users (user_id, username, password_hash)
VALUES (:user_id, :username, :password_hash)
ON CONFLICT (username) DO NOTHING
RETURNING user_id, username, registered_at;

-- name: find_user_by_name(username)^
-- The user of a name, with the password's hash.
SELECT user_id, username, password_hash FROM users WHERE username = :username;

-- name: replace_password_hash(user_id, old_hash, new_hash)!
-- Store the same password hashed anew, unless it was changed meanwhile.
UPDATE users SET password_hash = :new_hash WHERE user_id = :user_id AND password_hash = :old_hash;

-- name: start_session(session_id, user_id, expires_at)!
-- Begin a session: one login.
INSERT INTO sessions (session_id, user_id, expires_at) VALUES (:session_id, :user_id, :expires_at);

-- name: add_refresh_token(token_hash, session_id)!
-- Add the next refresh token of a session.
INSERT INTO refresh_tokens (token_hash, session_id) VALUES (:token_hash, :session_id);

-- name: lock_session_of_token(token_hash)^
-- The session that a refresh token belongs to, locked, so that its tokens are used one after another.
SELECT session_id, user_id, username, expires_at <= now() AS expired, revoked_at IS NOT NULL AS revoked
FROM sessions JOIN users USING (user_id)
WHERE session_id = (SELECT session_id FROM refresh_tokens WHERE token_hash = :token_hash)
FOR UPDATE OF sessions;

-- name: use_refresh_token(token_hash)!
-- Spend a refresh token; no row is changed when it was spent before. Only under the lock of its session.
UPDATE refresh_tokens SET used_at = now() WHERE token_hash = :token_hash AND used_at IS NULL;

-- name: extend_session(session_id, expires_at)!
-- Let a session that is used live on.
UPDATE sessions SET expires_at = :expires_at WHERE session_id = :session_id;

-- name: revoke_session(session_id)!
-- End a session: none of its refresh tokens works any more.
UPDATE sessions SET revoked_at = now() WHERE session_id = :session_id AND revoked_at IS NULL;

-- name: delete_expired_sessions(sessions_max)$
-- Delete sessions that ended by themselves, with their tokens; how many there were.
WITH ended AS (
    SELECT session_id FROM sessions WHERE expires_at <= now() ORDER BY expires_at LIMIT :sessions_max
    FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM sessions USING ended WHERE sessions.session_id = ended.session_id RETURNING 1
)
SELECT count(*) FROM deleted;

-- name: add_signing_key(key_id, public_jwk, private_sealed)!
-- Add the current signing key, unless there is one.
INSERT INTO signing_keys (key_id, public_jwk, private_sealed)
VALUES (:key_id, :public_jwk::jsonb, :private_sealed)
ON CONFLICT DO NOTHING;

-- name: list_signing_keys(retired_after)
-- The current key first, then those that were retired after a moment; tokens they signed may still be around.
SELECT key_id, public_jwk, private_sealed, retired_at IS NULL AS current
FROM signing_keys WHERE retired_at IS NULL OR retired_at > :retired_after
ORDER BY retired_at DESC NULLS FIRST LIMIT 10;
