-- Passwords for IRC clients and bots, which outlive access tokens; and rooms by the names that IRC joins them by.
CREATE TABLE irc_passwords (
    password_id   uuid PRIMARY KEY,
    user_id       uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    name          text NOT NULL,
    -- SHA-256; the password has 256 random bits, so there is nothing to guess and no salt is needed.
    password_hash bytea NOT NULL CHECK (octet_length(password_hash) = 32),
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used_at  timestamptz
);
-- serves: find_irc_password
CREATE UNIQUE INDEX irc_passwords_hash ON irc_passwords (password_hash);
-- serves: list_irc_passwords, count_irc_passwords
CREATE INDEX irc_passwords_user_id ON irc_passwords (user_id, password_id);

-- serves: find_room_by_name
CREATE INDEX rooms_by_name ON rooms (channel_name, channel_id DESC);
