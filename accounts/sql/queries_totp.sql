-- name: enrol_totp(user_id, secret_sealed)!
-- Store a second factor that is yet to be confirmed, in place of one that never was; no row when there is one.
INSERT INTO totp AS known (user_id, secret_sealed) VALUES (:user_id, :secret_sealed)
ON CONFLICT (user_id) DO UPDATE SET secret_sealed = excluded.secret_sealed, last_step = 0
WHERE known.confirmed_at IS NULL;

-- name: find_totp(user_id)^
-- The second factor of a person.
SELECT secret_sealed, confirmed_at IS NOT NULL AS confirmed FROM totp WHERE user_id = :user_id;

-- name: spend_totp_step(user_id, step)!
-- Take a code of a step, once: no row is changed when it, or one of a later step, was taken before.
UPDATE totp SET last_step = :step WHERE user_id = :user_id AND last_step < :step;

-- name: confirm_totp(user_id, secret_sealed)!
-- Have the second factor count; no row when it was confirmed before, or is another by now.
UPDATE totp SET confirmed_at = now()
WHERE user_id = :user_id AND secret_sealed = :secret_sealed AND confirmed_at IS NULL;

-- name: delete_totp(user_id)!
-- Do without the second factor.
DELETE FROM totp WHERE user_id = :user_id;

-- name: delete_recovery_codes(user_id)!
-- Forget the recovery codes of a person.
DELETE FROM recovery_codes WHERE user_id = :user_id;

-- name: add_recovery_codes(user_id, code_hashes)!
-- Store recovery codes.
INSERT INTO recovery_codes (user_id, code_hash) SELECT :user_id, unnest(:code_hashes::bytea[]);

-- name: spend_recovery_code(user_id, code_hash)!
-- Take a recovery code, once.
DELETE FROM recovery_codes WHERE user_id = :user_id AND code_hash = :code_hash;

-- name: count_recovery_codes(user_id)$
-- How many recovery codes are left.
SELECT count(*) FROM recovery_codes WHERE user_id = :user_id;
