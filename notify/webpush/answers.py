"""What the answer of a push service means for a delivery (RFC 8030, sections 5 and 7.3; RFC 8292, section 4.2)."""

from datetime import timedelta

from notify.deliveries.delivery import Delivered, Failed, Gone, Outcome, ProviderBusy, Refused

GONE = frozenset({404, 410})
"""The only ones that end a subscription: a service that is out of order answers all kinds of things."""
TOO_LARGE = 413
SIGNATURE_REFUSED = frozenset({401, 403})
TEMPORARY = frozenset({408, 421, 425})
BUSY = 429


def outcome_of(status: int, *, retry_after: timedelta | None, retry_after_default: timedelta) -> Outcome:
    """What became of a message, by the status that the push service answered with.

    `retry_after` is what the answer says, if it does; `retry_after_default` is for a 429 that does not.
    """
    if 200 <= status < 300:
        return Delivered()
    reason = f"the push service answered {status}"
    if status in GONE:
        return Gone(reason)
    if status == BUSY:
        return ProviderBusy(reason, retry_after if retry_after is not None else retry_after_default)
    if status >= 500 or status in TEMPORARY:
        return Failed(reason, retry_after)
    return Refused(reason)
