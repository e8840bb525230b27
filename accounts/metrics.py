"""What the accounts process counts."""

from prometheus_client import Counter, Gauge, Histogram

registrations = Counter("livestream_accounts_registrations", "Registrations, by outcome.", ("outcome",))
logins = Counter("livestream_accounts_logins", "Logins, by outcome.", ("outcome",))
refreshes = Counter("livestream_accounts_refreshes", "Uses of refresh tokens, by outcome.", ("outcome",))
sessions_deleted = Counter("livestream_accounts_sessions_deleted", "Ended sessions that were cleared away.")
password_seconds = Histogram(
    "livestream_accounts_password_seconds",
    "Seconds to hash or check a password, waiting included.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
passwords_waiting = Gauge("livestream_accounts_passwords_waiting", "Passwords being hashed or waiting for it.")
attempts_refused = Counter(
    "livestream_accounts_attempts_refused", "Attempts at one account beyond its limit, by what is guessed.", ("kind",)
)
signing_key_age_seconds = Gauge("livestream_accounts_signing_key_age_seconds", "For how long the current key signs.")
profile_reads = Counter("livestream_accounts_profile_reads", "Profiles asked for, by their source.", ("source",))
