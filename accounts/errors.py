"""What can be refused, and how people are told.

Problem
├── Conflict
│   ├── UsernameTaken        409  somebody has it, or had it not long ago
│   ├── RenamedLately        409  names change once in so many days
│   ├── TotpAlreadyOn        409  there is a second factor; switch it off first
│   └── TotpNotOn            409  there is none, or none that waits to be confirmed
├── NotFound
│   ├── UserNotFound         404
│   └── SessionNotFound      404  of this person none goes on that has this id
├── NotAuthenticated
│   ├── BadCredentials       401  the same for an unknown name and a wrong password
│   ├── RefreshTokenInvalid  401  unknown, spent, revoked or expired: log in again
│   └── AccountGone          401  the access token is of an account that was deleted
├── Forbidden
│   ├── PasswordWrong        403  the password that had to be repeated
│   ├── TotpRequired         403  the password was right; send `totp_code` as well
│   └── TotpCodeWrong        403  or used before, or too old
├── TooManyRequests
│   └── TooManyAttempts      429  at this account; Retry-After says when to come back
│       └── GuessesRefused   429  the same to people; who proves more than a guess can need not wait
└── Unavailable
    └── LoginsBusy           503  more passwords wait to be checked than the queue holds

SealBroken
└── SigningKeyUnreadable     ends the process at start
"""

from runtime.problems import Conflict, Forbidden, NotAuthenticated, NotFound, TooManyRequests, Unavailable


class UsernameTaken(Conflict):
    """Somebody has this name, or nobody may have it yet."""

    type = "username-taken"
    title = "This username is taken"


class RenamedLately(Conflict):
    """The name was changed too short a time ago; `free_at` says when it may be again."""

    type = "renamed-lately"
    title = "The username was changed not long ago"


class TotpAlreadyOn(Conflict):
    """There is a second factor."""

    type = "totp-already-on"
    title = "Two-factor authentication is on already"


class TotpNotOn(Conflict):
    """There is no second factor, or none that waits to be confirmed."""

    type = "totp-not-on"
    title = "Two-factor authentication is not on"


class UserNotFound(NotFound):
    """Nobody has this id or name."""

    type = "user-not-found"
    title = "There is no such person"


class SessionNotFound(NotFound):
    """No session of this person that goes on has this id."""

    type = "session-not-found"
    title = "There is no such session"


class BadCredentials(NotAuthenticated):
    """Name and password do not go together."""

    type = "bad-credentials"
    title = "Username or password is wrong"


class RefreshTokenInvalid(NotAuthenticated):
    """The refresh token does not give a new access token any more."""

    type = "refresh-token-invalid"
    title = "The refresh token is not valid"


class AccountGone(NotAuthenticated):
    """The access token is of an account that is no more."""

    type = "account-gone"
    title = "The account was deleted"


class PasswordWrong(Forbidden):
    """The present password had to be given, and is another. No 401: the access token is good."""

    type = "password-wrong"
    title = "The password is wrong"


class TotpRequired(Forbidden):
    """The password is right; the code of the second factor is needed, too."""

    type = "totp-required"
    title = "A code of the second factor is needed"


class TotpCodeWrong(Forbidden):
    """No code of now, one that was used, or no recovery code that is left."""

    type = "totp-code-wrong"
    title = "The code of the second factor is wrong"


class TooManyAttempts(TooManyRequests):
    """Too many wrong passwords or codes for this account."""

    type = "too-many-attempts"
    title = "Too many attempts at this account"


class GuessesRefused(TooManyAttempts):
    """What might be a guess is refused; two codes that follow one another, or a recovery code, are none."""


class LoginsBusy(Unavailable):
    """Too many logins and registrations at once."""

    type = "logins-busy"
    title = "Too many logins at once"


class SealBroken(Exception):
    """Something in the database was sealed with another LIVESTREAM_ACCOUNTS_KEY_SECRET; `owner` says whose it is."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"what is sealed for {owner} was sealed with another LIVESTREAM_ACCOUNTS_KEY_SECRET")
        self.owner = owner


class SigningKeyUnreadable(SealBroken):
    """The stored signing key was; `key_id` names it."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"signing key {key_id}")
        self.key_id = key_id
