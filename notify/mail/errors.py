"""What can go wrong with mail addresses, as the caller sees it.

::

    Problem
    ├── NotFound
    │   └── VerificationNotFound  404
    ├── InvalidRequest
    │   └── InvalidUnsubscribe    400
    ├── Conflict
    │   └── MailOff               409  of this server
    └── TooManyRequests
        └── TooManyMails          429  of this person, or to this address
"""

from runtime.problems import Conflict, InvalidRequest, NotFound, TooManyRequests


class VerificationNotFound(NotFound):
    """The token verifies nothing: it is wrong, was used, has expired, or another address was asked for since."""

    type = "verification-not-found"
    title = "This link is not valid (any more)"


class InvalidUnsubscribe(InvalidRequest):
    """The token was not made by this server."""

    type = "invalid-unsubscribe-token"
    title = "This link is not one of ours"


class MailOff(Conflict):
    """The server has not been told how to send mail."""

    type = "mail-off"
    title = "This server sends no mail"


class TooManyMails(TooManyRequests):
    """So many mails to verify an address were sent within an hour."""

    type = "too-many-verification-mails"
    title = "Too many mails to verify an address"
