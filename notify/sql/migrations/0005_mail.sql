-- Mail: addresses that were verified, those that are being verified, and when somebody's digest was last made.

-- A verified address: the particulars of a destination of the channel 'email'.
CREATE TABLE mailboxes (
    destination_id  uuid PRIMARY KEY REFERENCES destinations ON DELETE CASCADE,
    user_id         uuid NOT NULL UNIQUE,
    address         text NOT NULL CHECK (length(address) <= 254),
    verified_at     timestamptz NOT NULL DEFAULT now(),
    unsubscribed_at timestamptz,
    bounces         integer NOT NULL DEFAULT 0
);
COMMENT ON COLUMN mailboxes.unsubscribed_at IS 'Notices that were queued before this are not sent any more.';
COMMENT ON COLUMN mailboxes.bounces IS 'How often in a row the server said that there is no such mailbox.';

-- An address that is not verified: one at a time for each person, beside the verified one that it is to replace.
CREATE TABLE mail_verifications (
    verification_id uuid PRIMARY KEY,
    user_id         uuid NOT NULL UNIQUE,
    address         text NOT NULL CHECK (length(address) <= 254),
    state           text NOT NULL CHECK (state IN ('requested', 'bounced')),
    requested_at    timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL
);
COMMENT ON COLUMN mail_verifications.state IS 'bounced: the address was verified once, and does not exist any more.';
-- serves: delete_expired_verifications
CREATE INDEX mail_verifications_expired ON mail_verifications (expires_at);

-- A token is made when its mail is sent, so that only the recipient has it; each attempt makes one.
CREATE TABLE mail_verification_tokens (
    token_hash      bytea PRIMARY KEY,
    verification_id uuid NOT NULL REFERENCES mail_verifications ON DELETE CASCADE
);
COMMENT ON COLUMN mail_verification_tokens.token_hash IS 'SHA-256 of the token.';
-- serves: use_verification_token (the other tokens of the same verification go with it)
CREATE INDEX mail_verification_tokens_of ON mail_verification_tokens (verification_id);

-- What limits how often somebody is sent a mail to verify an address; kept for a day.
CREATE TABLE mail_requests (
    request_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id      uuid NOT NULL,
    address_key  text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN mail_requests.address_key IS 'The address in small letters and without a "+tag": what reaches the same mailbox counts as one.';
-- serves: find_recent_requests
CREATE INDEX mail_requests_of_user ON mail_requests (user_id, requested_at);
-- serves: find_recent_requests
CREATE INDEX mail_requests_to_address ON mail_requests (address_key, requested_at);
-- serves: delete_old_requests
CREATE INDEX mail_requests_old ON mail_requests (requested_at);

-- When somebody's digest was made; a row is what keeps a day from having two.
CREATE TABLE mail_digests (
    user_id     uuid PRIMARY KEY,
    digest_day  date NOT NULL,
    covers_from timestamptz NOT NULL,
    made_at     timestamptz NOT NULL
);
COMMENT ON COLUMN mail_digests.digest_day IS 'A day begins at the person''s digest hour in their time zone.';
-- serves: list_due_digests (which hours of which time zones there are, and who wants them)
CREATE INDEX preferences_digest ON preferences (time_zone, digest_hour, user_id) WHERE email = 'digest';

-- What signs the tokens of unsubscribe links: made at the first start, and part of every backup, since mails are kept for long.
CREATE TABLE mail_keys (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    key     bytea NOT NULL CHECK (length(key) = 32)
);

-- The wall clock of a time zone; UTC's for one that this Postgres does not know, so that one such row does not fail a whole query.
CREATE FUNCTION wall_clock(time_zone text) RETURNS timestamp LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN now() AT TIME ZONE time_zone;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN now() AT TIME ZONE 'UTC';
END
$$;
