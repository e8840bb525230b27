"""What the answers of an SMTP server mean for a delivery (RFC 5321, section 4.2; RFC 3463 for the codes with dots)."""

import re
from datetime import timedelta

from notify.deliveries.delivery import Failed, Outcome, ProviderBusy, Refused
from notify.mail.smtp import NotSent, NotTaken, Stage

REASON_CHARACTERS_MAX = 180
BUSY = timedelta(seconds=60)
"""421, and whatever the server says before it knows for whom the mail is: it is about us or about itself."""
GREYLISTED = timedelta(minutes=5)
"""450 and 451 for a recipient are mostly said to senders who are new; they are let in after some minutes."""
MAILBOX_FULL = timedelta(hours=1)

_ENHANCED = re.compile(r"(?:^|\n)\s*([245])\.(\d{1,3})\.(\d{1,3})\b")
_OF_OURS = frozenset({503, 530, 534, 535, 538})
"""Bad order of commands, and everything about logging in: not the recipient's fault."""
_NO_MAILBOX = frozenset({(1, 1), (1, 2), (1, 3), (1, 6), (1, 10), (2, 1)})
"""X.1.1 bad mailbox, X.1.2 bad domain, X.1.3 bad syntax, X.1.6 moved away, X.1.10 takes no mail, X.2.1 disabled."""
_NO_MAILBOX_PLAIN = frozenset({550, 551, 553})


HARD_BOUNCE = "no such mailbox: "
"""Begins the reason of what was refused because the address does not exist."""


def is_hard_bounce(outcome: Outcome) -> bool:
    """Whether the server said that there is no such mailbox."""
    return isinstance(outcome, Refused) and outcome.reason.startswith(HARD_BOUNCE)


def outcome_of(error: NotSent, *, recipient: str) -> Outcome:
    """What becomes of a mail that the server did not take."""
    reason = _reason(error, recipient)
    if not isinstance(error, NotTaken):
        return Failed(reason)
    detail = _enhanced(error.text)
    if error.code == 421:
        return ProviderBusy(reason, BUSY)
    if 400 <= error.code < 500:
        return _later(error, detail, reason)
    if 500 <= error.code < 600 and error.stage in (Stage.RECIPIENT, Stage.CONTENT) and error.code not in _OF_OURS:
        return Refused((HARD_BOUNCE if _has_no_mailbox(error, detail) else "") + reason)
    return Failed(reason)


def _later(error: NotTaken, detail: tuple[int, int] | None, reason: str) -> Outcome:
    if error.stage is Stage.CONNECTING:
        return Failed(reason)
    if error.stage is Stage.SENDER:
        return ProviderBusy(reason, BUSY)
    if error.code == 452:  # too much for the server, or for this mailbox
        return _this_one(reason, MAILBOX_FULL) if detail == (2, 2) else ProviderBusy(reason, BUSY)
    return _this_one(reason, GREYLISTED if error.code in (450, 451) else None)


def _this_one(reason: str, retry_after: timedelta | None) -> Failed:
    """Later, and it says nothing about mail to others."""
    return Failed(reason, retry_after, blames_provider=False)


def _has_no_mailbox(error: NotTaken, detail: tuple[int, int] | None) -> bool:
    if error.stage is not Stage.RECIPIENT:
        return False
    return error.code in _NO_MAILBOX_PLAIN if detail is None else detail in _NO_MAILBOX


def _enhanced(text: str) -> tuple[int, int] | None:
    found = _ENHANCED.search(text)
    return (int(found[2]), int(found[3])) if found else None


def _reason(error: NotSent, recipient: str) -> str:
    """One line, and without the address: it is kept, logged and shown."""
    plain = "".join(one if one.isprintable() else " " for one in str(error))
    return re.sub(re.escape(recipient), "(recipient)", plain, flags=re.IGNORECASE)[:REASON_CHARACTERS_MAX]
