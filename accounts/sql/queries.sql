-- name: add_user(user_id, username, password_hash)^
-- Add a user; no row when the name is taken.
INSERT INTO users (user_id, username, password_hash)
VALUES (:user_id, :username, :password_hash)
ON CONFLICT (username) DO NOTHING
RETURNING user_id, username, registered_at, is_operator;

-- name: find_user_by_name(username)^
-- The user of a name with what a login needs to know: the password's hash, and whether there is a second factor.
SELECT user_id, username, is_operator, password_hash, totp.confirmed_at IS NOT NULL AS has_totp
FROM users LEFT JOIN totp USING (user_id) WHERE username = :username;

-- name: find_user(user_id)^
-- The same by id, and what people are told of their own account.
SELECT user_id, username, is_operator, password_hash, totp.confirmed_at IS NOT NULL AS has_totp, registered_at
FROM users LEFT JOIN totp USING (user_id) WHERE user_id = :user_id;

-- name: lock_user(user_id)^
-- A user whose name, password or existence is about to change.
SELECT user_id, username, password_hash, renamed_at FROM users WHERE user_id = :user_id FOR UPDATE;

-- name: replace_password_hash(user_id, old_hash, new_hash)!
-- Store another hash, unless the password was changed meanwhile.
UPDATE users SET password_hash = :new_hash WHERE user_id = :user_id AND password_hash = :old_hash;

-- name: rename_user(user_id, username)$
-- Give a user another name; the moment of it, or no row when somebody has the name. The user is locked.
UPDATE users SET username = :username, renamed_at = now()
WHERE user_id = :user_id AND NOT EXISTS (SELECT FROM users AS other WHERE other.username = :username)
RETURNING renamed_at;

-- name: delete_user(user_id)$
-- Delete a user with everything that hangs on the row; the moment of it, or no row when there is none.
DELETE FROM users WHERE user_id = :user_id RETURNING now();

-- name: set_operator(username, is_operator)$
-- Make a user an operator, or none; the user's id, or no row when nobody has the name.
UPDATE users SET is_operator = :is_operator WHERE username = :username RETURNING user_id;

-- name: list_operators(operators_max)
-- The operators by name.
SELECT user_id, username FROM users WHERE is_operator ORDER BY username LIMIT :operators_max;
