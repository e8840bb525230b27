-- Lists of blocked people, and the look for those who have been away.

-- serves: list_blocks (newest first by cursor), count_blocks
CREATE INDEX blocks_newest_first ON blocks (channel_id, blocked_at DESC, user_id DESC);
-- serves: list_inactive_people (those who have been away longest come first)
CREATE INDEX people_by_activity ON people (active_at, user_id) WHERE away_since IS NULL;
