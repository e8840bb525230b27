-- Operators, profiles, second factors, sessions that tolerate a lost answer, names that rest, and keys that take turns.

ALTER TABLE users
    ADD COLUMN is_operator boolean NOT NULL DEFAULT false,
    ADD COLUMN display_name text CHECK (char_length(display_name) <= 50),
    ADD COLUMN bio text NOT NULL DEFAULT '' CHECK (char_length(bio) <= 500),
    ADD COLUMN renamed_at timestamptz;

-- serves: list_operators
CREATE INDEX users_operators ON users (username) WHERE is_operator;

-- The tokens of a session come in generations: using one spends all of its generation, and begins the next.
ALTER TABLE sessions
    ADD COLUMN generation integer NOT NULL DEFAULT 0,
    ADD COLUMN rotated_at timestamptz,
    -- How often a token of the generation before was answered once more.
    ADD COLUMN answered_again integer NOT NULL DEFAULT 0,
    -- What the client called itself, for the list of one's sessions.
    ADD COLUMN client text NOT NULL DEFAULT '';

-- Null: given out before there were generations; then used_at alone tells whether it is spent.
ALTER TABLE refresh_tokens ADD COLUMN generation integer;

-- A key may be published before it signs. Of the keys in order of signs_from the last one that has begun is current;
-- retired_at is when the next one begins, and may lie ahead.
ALTER TABLE signing_keys ADD COLUMN signs_from timestamptz NOT NULL DEFAULT now();
UPDATE signing_keys SET signs_from = created_at;

-- Names that nobody else may take yet: given up by a rename or a deletion. A keyed hash, so that the name of who has
-- left is kept nowhere.
CREATE TABLE resting_names (
    name_hash bytea PRIMARY KEY CHECK (octet_length(name_hash) = 32),
    free_at timestamptz NOT NULL,
    -- Who may have it back at once; nobody, when the account is gone.
    user_id uuid REFERENCES users ON DELETE SET NULL
);

-- serves: delete_free_names
CREATE INDEX resting_names_free_at ON resting_names (free_at);

-- serves: delete_user (the foreign key)
CREATE INDEX resting_names_user_id ON resting_names (user_id) WHERE user_id IS NOT NULL;

-- Attempts at one account, whether it exists or not, in a window that begins with the first.
CREATE TABLE attempts (
    -- A keyed hash of what is guessed at.
    target bytea PRIMARY KEY CHECK (octet_length(target) = 32),
    attempts integer NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now()
);

-- serves: delete_old_attempts
CREATE INDEX attempts_began_at ON attempts (began_at);

-- From where a person has logged in: such addresses are not held up by attempts of strangers.
CREATE TABLE known_addresses (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    -- A keyed hash: no address of a person is kept.
    address_hash bytea NOT NULL CHECK (octet_length(address_hash) = 32),
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, address_hash)
);

-- serves: delete_old_addresses
CREATE INDEX known_addresses_seen_at ON known_addresses (seen_at);

-- A second factor by RFC 6238; it counts once it is confirmed.
CREATE TABLE totp (
    user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    -- A compact JWE (dir, A256GCM) under LIVESTREAM_ACCOUNTS_KEY_SECRET, as signing keys are.
    secret_sealed text NOT NULL,
    confirmed_at timestamptz,
    -- The last step of which a code was taken: neither it nor an earlier one is taken again.
    last_step bigint NOT NULL DEFAULT 0
);

-- Each lets its owner in once without the device.
CREATE TABLE recovery_codes (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    -- SHA-256; a code has 80 random bits and works once.
    code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),
    PRIMARY KEY (user_id, code_hash)
);
