-- name: lock_person(user_id)$
-- Let nobody else change what this person has, until the transaction ends.
SELECT user_id FROM people WHERE user_id = :user_id FOR UPDATE;

-- name: count_irc_passwords(user_id)$
-- How many a person has.
SELECT count(*) FROM irc_passwords WHERE user_id = :user_id;

-- name: add_irc_password(password_id, user_id, name, password_hash)<!
-- A new one.
INSERT INTO irc_passwords (password_id, user_id, name, password_hash)
VALUES (:password_id, :user_id, :name, :password_hash)
RETURNING created_at;

-- name: list_irc_passwords(user_id, before_id, limit)
-- A person's, the newest first.
SELECT password_id, name, created_at, last_used_at
FROM irc_passwords
WHERE user_id = :user_id AND (:before_id::uuid IS NULL OR password_id < :before_id)
ORDER BY password_id DESC
LIMIT :limit;

-- name: delete_irc_password(user_id, password_id)!
-- It lets nobody in any more.
DELETE FROM irc_passwords WHERE user_id = :user_id AND password_id = :password_id;

-- name: find_irc_password(password_hash)^
-- Whose password this is, by the name that they have now.
SELECT p.password_id, p.user_id, person.username
FROM irc_passwords AS p JOIN people AS person USING (user_id)
WHERE p.password_hash = :password_hash;

-- name: note_irc_password_used(password_id, at_least_seconds)!
-- Somebody logged in with it; not written again for every one of many logins.
UPDATE irc_passwords SET last_used_at = now()
WHERE password_id = :password_id
  AND (last_used_at IS NULL OR last_used_at < now() - make_interval(secs => :at_least_seconds));

-- name: find_irc_passwords_left(password_ids)
-- Which of these are still good. At most as many as were asked for.
SELECT password_id FROM irc_passwords WHERE password_id = ANY(:password_ids::uuid[])
LIMIT cardinality(:password_ids::uuid[]);

-- name: find_room_by_name(channel_name)^
-- The room of a channel by its name, as IRC joins it; the newest if a name was ever two channels'.
SELECT channel_id FROM rooms WHERE channel_name = :channel_name ORDER BY channel_id DESC LIMIT 1;
