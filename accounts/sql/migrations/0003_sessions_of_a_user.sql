-- no transaction
-- serves: list_sessions, revoke_sessions, delete_user (the cascade)
CREATE INDEX CONCURRENTLY IF NOT EXISTS sessions_user_id ON sessions (user_id, session_id DESC);
