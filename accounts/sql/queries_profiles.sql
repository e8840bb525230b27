-- name: find_profile(user_id)^
-- What anybody may see of a person.
SELECT user_id, username, coalesce(display_name, username) AS display_name, bio, registered_at
FROM users WHERE user_id = :user_id;

-- name: find_profile_by_name(username)^
-- The same by name.
SELECT user_id, username, coalesce(display_name, username) AS display_name, bio, registered_at
FROM users WHERE username = :username;

-- name: change_profile(user_id, sets_display_name, display_name, sets_bio, bio)$
-- Change what is given of a profile; the person's name, or no row when there is nobody.
UPDATE users SET
    display_name = CASE WHEN :sets_display_name THEN :display_name::text ELSE display_name END,
    bio = CASE WHEN :sets_bio THEN :bio::text ELSE bio END
WHERE user_id = :user_id
RETURNING username;
