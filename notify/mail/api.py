"""The HTTP face of mail: one's address, verifying it, and unsubscribing without login."""

from datetime import datetime
from html import escape
from typing import Literal
from uuid import UUID

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from notify.mail import metrics, store
from notify.mail.addresses import MailAddress
from notify.mail.errors import InvalidUnsubscribe, MailOff, TooManyMails, VerificationNotFound
from notify.mail.links import UNSUBSCRIBE_PATH
from notify.mail.mailboxes import Mailboxes, forget_addresses
from notify.mail.store import queries
from notify.mail.unsubscribe import TOKEN_CHARACTERS, UnsubscribeKey
from runtime.endpoints import endpoint
from runtime.postgres import Pool
from runtime.tokens import Caller

log = structlog.get_logger(__name__)

VERIFICATION_TOKEN_CHARACTERS_MAX = 64
_PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class EmailBody(_Body):
    """Where somebody wants to get mail."""

    address: MailAddress = Field(description="A mail address; capitals in the domain are folded.")


class EmailVerificationBody(_Body):
    """What was mailed."""

    token: SecretStr = Field(
        min_length=1, max_length=VERIFICATION_TOKEN_CHARACTERS_MAX, description="Behind the # of the mailed link."
    )


class UnsubscribeQuery(_Body):
    """From the List-Unsubscribe header."""

    token: str = Field(min_length=1, max_length=2 * TOKEN_CHARACTERS, description="Names the mailbox; signed.")


class UnverifiedEmail(BaseModel):
    """An address that no notices go to."""

    address: str
    state: Literal["requested", "bounced"] = Field(
        description="requested: a mail is on its way; bounced: it was verified, and does not exist any more."
    )
    expires_at: datetime = Field(description="When it is forgotten.")


class EmailView(BaseModel):
    """One's mail addresses."""

    is_available: bool = Field(description="Whether this server sends mail at all.")
    address: str | None = Field(description="The verified one, which notices go to.")
    verified_at: datetime | None
    unverified: UnverifiedEmail | None = Field(description="One that is to take its place.")


class VerifiedEmail(BaseModel):
    """The address that was verified."""

    address: str


class EmailApi:
    """Addresses for notices by mail. `mailboxes` is None when this server sends no mail."""

    tag = "notifications"

    def __init__(self, pool: Pool, mailboxes: Mailboxes | None, key: UnsubscribeKey) -> None:
        self._pool = pool
        self._mailboxes = mailboxes
        self._key = key

    @endpoint("GET", "/api/notifications/email")
    async def show_email(self, caller: Caller) -> EmailView:
        """Your mail address for notices."""
        return await self._view(caller)

    @endpoint("PUT", "/api/notifications/email", status=202, problems=(MailOff, TooManyMails))
    async def request_email(self, caller: Caller, body: EmailBody) -> EmailView:
        """Ask for notices at an address.

        A mail goes there whose link verifies it, within 24 hours; until then an address that was verified before stays.
        """
        await self._on().request(caller, body.address)
        return await self._view(caller)

    @endpoint("DELETE", "/api/notifications/email")
    async def delete_email(self, caller: Caller) -> None:
        """Forget your mail address, verified or not."""
        await forget_addresses(self._pool, caller.user_id)

    @endpoint("POST", "/api/notifications/email/verify", problems=(MailOff, VerificationNotFound))
    async def verify_email(self, body: EmailVerificationBody) -> VerifiedEmail:
        """Verify an address by the token that was mailed there; it works once, and needs no login."""
        return VerifiedEmail(address=await self._on().verify(body.token.get_secret_value()))

    @endpoint("GET", UNSUBSCRIBE_PATH, raw=True, problems=(InvalidUnsubscribe,))
    async def show_unsubscribe_email(self, query: UnsubscribeQuery) -> web.StreamResponse:
        """A page with a button that unsubscribes; looking at it changes nothing, since scanners follow links."""
        await self._named(query.token)
        return _page("Send me no more mail", '<form method="post"><button>Send me no more mail</button></form>')

    @endpoint("POST", UNSUBSCRIBE_PATH, raw=True, problems=(InvalidUnsubscribe,))
    async def unsubscribe_email(self, query: UnsubscribeQuery) -> web.StreamResponse:
        """Turn off the mail to one mailbox, without login (RFC 8058); doing it again changes nothing."""
        user_id = await queries.unsubscribe_mailbox(self._pool, destination_id=await self._named(query.token))
        if user_id is not None:
            metrics.unsubscribed.inc()
            log.info("mail_unsubscribed", user_id=str(user_id))
        return _page("You will get no more mail", "<p>Notices by mail can be turned on again in your account.</p>")

    def _on(self) -> Mailboxes:
        if self._mailboxes is None:
            raise MailOff("whoever runs this server has not set an SMTP server")
        return self._mailboxes

    async def _named(self, token: str) -> UUID:
        destination_id = (await self._key.tokens()).read(token)
        if destination_id is None:
            raise InvalidUnsubscribe("the token is not one that this server has signed")
        return destination_id

    async def _view(self, caller: Caller) -> EmailView:
        mailbox = await store.find_mailbox(self._pool, caller.user_id)
        other = await store.find_verification(self._pool, caller.user_id)
        return EmailView(
            is_available=self._mailboxes is not None,
            address=mailbox.address if mailbox else None,
            verified_at=mailbox.verified_at if mailbox else None,
            unverified=UnverifiedEmail(address=other.address, state=other.state, expires_at=other.expires_at)
            if other
            else None,
        )


def _page(title: str, content: str) -> web.Response:
    """Plain HTML that may do nothing but send its own form; `content` is ours alone."""
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><h1>{escape(title)}</h1>{content}</html>"
    )
    return web.Response(text=text, content_type="text/html", headers=_PAGE_HEADERS)
