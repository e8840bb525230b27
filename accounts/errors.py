"""What can be refused, and how people are told.

Problem
├── Conflict
│   └── UsernameTaken        409
├── NotAuthenticated
│   ├── BadCredentials       401  the same for an unknown name and a wrong password
│   └── RefreshTokenInvalid  401  unknown, spent, revoked or expired: log in again
└── Unavailable
    └── LoginsBusy           503  more passwords wait to be checked than the queue holds

SigningKeyUnreadable ends the process at start.
"""

from runtime.problems import Conflict, NotAuthenticated, Unavailable


class UsernameTaken(Conflict):
    """Somebody has this name."""

    type = "username-taken"
    title = "This username is taken"


class BadCredentials(NotAuthenticated):
    """Name and password do not go together."""

    type = "bad-credentials"
    title = "Username or password is wrong"


class RefreshTokenInvalid(NotAuthenticated):
    """The refresh token does not give a new access token any more."""

    type = "refresh-token-invalid"
    title = "The refresh token is not valid"


class LoginsBusy(Unavailable):
    """Too many logins and registrations at once."""

    type = "logins-busy"
    title = "Too many logins at once"


class SigningKeyUnreadable(Exception):
    """The stored signing key was sealed with another LIVESTREAM_ACCOUNTS_KEY_SECRET; `key_id` names it."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"signing key {key_id} was sealed with another LIVESTREAM_ACCOUNTS_KEY_SECRET")
        self.key_id = key_id
