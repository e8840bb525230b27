-- no transaction
-- serves: delete_old_tokens
CREATE INDEX CONCURRENTLY IF NOT EXISTS refresh_tokens_issued_at ON refresh_tokens (issued_at);
