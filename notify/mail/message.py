"""Builds the mail itself: headers by which programs know what it is, and the same text twice, plain and as HTML."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from uuid import UUID

from notify.mail.templates import Written

UNFOLDED = frozenset({"list-unsubscribe", "message-id"})


class _MailPolicy(EmailPolicy):
    """The library encodes a long word when it folds a header; an encoded address would not be one any more."""

    def fold_binary(self, name: str, value: str) -> bytes:
        if name.lower() in UNFOLDED:
            return f"{name}: {value}\r\n".encode("ascii")
        return super().fold_binary(name, value)


POLICY = _MailPolicy(linesep="\r\n", cte_type="7bit", utf8=False)


@dataclass(frozen=True)
class Unsubscribing:
    """Where a mailbox is unsubscribed: by a program with one POST, and by a person on a page."""

    post_url: str
    page_url: str


def message_id(message: UUID, destination_id: UUID, domain: str) -> str:
    """The Message-ID of a message to a destination: the same in every attempt, so that a repetition is seen as one."""
    return f"<{message}.{destination_id}@{domain}>"


def mail_content(
    written: Written, *, sender: Address, recipient: str, identity: str, unsubscribing: Unsubscribing | None
) -> bytes:
    """The mail as it is sent. Raises ValueError for a header with a line end in it: nobody can add one."""
    message = EmailMessage(policy=POLICY)
    message["From"] = sender
    message["To"] = Address(addr_spec=recipient)
    message["Subject"] = _plain(written.subject)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = identity
    for name, value in _automatic(unsubscribing).items():
        message[name] = value
    message.set_content(written.text, cte="quoted-printable")
    message.add_alternative(written.html, subtype="html", cte="quoted-printable")
    return message.as_bytes()


def _plain(text: str) -> str:
    """The library takes a text that looks like an encoded word (RFC 2047) for one: decoded, it could hold line ends."""
    return text.replace("=?", "= ?")


def _automatic(unsubscribing: Unsubscribing | None) -> Mapping[str, str]:
    """RFC 3834, section 5: nobody's holiday answers; RFC 2369 and 8058: unsubscribing by one click."""
    headers = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}
    if unsubscribing is not None:
        headers["List-Unsubscribe"] = f"<{unsubscribing.post_url}>"
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers
