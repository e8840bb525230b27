-- What a room allows, a version that counts up with every change of what gateways know of it, and people by name.
ALTER TABLE rooms
    ADD COLUMN version bigint NOT NULL DEFAULT 0,
    ADD COLUMN rules jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN rooms.rules IS 'What differs from the defaults of chat/speaking/rules.py.';

-- Names for ids: from account.registered, and from the token of whoever acts here first.
CREATE TABLE people (
    user_id       uuid PRIMARY KEY,
    username      text NOT NULL,
    registered_at timestamptz
);
COMMENT ON COLUMN people.registered_at IS 'Unknown while only their token was seen.';
-- serves: find_person_by_name (commands name people)
CREATE INDEX people_by_name ON people (username, user_id DESC);
