"""Lets IRC clients in: by an IRC password, by an access token, or to read only; and counts who keeps guessing."""

import re
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import structlog

from chat import metrics
from chat.errors import RoomsUnavailable
from chat.irc.passwords import PASSWORD_CHARACTERS, PasswordOwner
from runtime.tokens import Caller, InvalidToken, KeysUnavailable, Verifier
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)


FAILURES_MAX: Final = 20
FAILURES_SECONDS: Final = 60.0
ADDRESSES_MAX: Final = 10_000

_ANONYMOUS: Final = re.compile(r"justinfan[0-9]{1,12}", re.IGNORECASE)
_PASSWORD: Final = re.compile(rf"[0-9a-fA-F]{{{PASSWORD_CHARACTERS}}}")


class LoginRefused(Exception):
    """A client is not let in; the text is for it, and clients know what it means."""


@dataclass(frozen=True, slots=True)
class Guest:
    """Who is behind a connection. Without a caller it reads only."""

    name: str
    caller: Caller | None = None
    password_id: UUID | None = None


def anonymous(nick: str) -> Guest | None:
    """Whoever comes under a name such as `justinfan12345` wants to read only."""
    return Guest(nick.lower()) if _ANONYMOUS.fullmatch(nick) else None


class FailedLogins:
    """Failed logins by address, as far as they still count. Bounded: the address that failed longest ago goes first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed_at: OrderedDict[str, deque[float]] = OrderedDict()

    def too_many(self, address: str) -> bool:
        """Whether this address may not try now."""
        failures = self._failed_at.get(address)
        if failures is None:
            return False
        while failures and failures[0] <= self._clock() - FAILURES_SECONDS:
            failures.popleft()
        if not failures:
            del self._failed_at[address]
        return len(failures) >= FAILURES_MAX

    def note(self, address: str) -> None:
        """It failed."""
        self._failed_at.setdefault(address, deque(maxlen=FAILURES_MAX)).append(self._clock())
        self._failed_at.move_to_end(address)
        if len(self._failed_at) > ADDRESSES_MAX:
            self._failed_at.popitem(last=False)


class PasswordOwners(Protocol):
    """Knows whose an IRC password is."""

    async def owner_of(self, text: str) -> PasswordOwner | None:
        """Whom it lets in, if anybody."""
        ...


class Doorkeeper:
    """Tells who a client is."""

    def __init__(self, passwords: PasswordOwners, verifier: Verifier, failed: FailedLogins) -> None:
        self._passwords = passwords
        self._verifier = verifier
        self._failed = failed

    async def let_in(self, address: str, secret: str) -> Guest:
        """Who it is; raises LoginRefused, or RoomsUnavailable while nobody can be let in."""
        if self._failed.too_many(address):
            metrics.irc_logins.labels("too-many").inc()
            raise LoginRefused("Login unsuccessful: too many failed logins from this address; wait a minute")
        guest = await self._find(secret.removeprefix("oauth:").strip())
        if guest is None:
            self._failed.note(address)
            metrics.irc_logins.labels("refused").inc()
            raise LoginRefused("Login authentication failed")
        metrics.irc_logins.labels("accepted").inc()
        return guest

    async def _find(self, secret: str) -> Guest | None:
        if not _PASSWORD.fullmatch(secret):
            return await self._by_token(secret)
        try:
            owner = await self._passwords.owner_of(secret)
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            log.warning("irc_passwords_unavailable", reason=str(error) or type(error).__name__)
            raise RoomsUnavailable("the passwords cannot be read now") from error
        return None if owner is None else Guest(owner.caller.name, owner.caller, owner.password_id)

    async def _by_token(self, token: str) -> Guest | None:
        try:
            caller = await self._verifier.verify(token)
        except InvalidToken:
            return None
        except KeysUnavailable as error:
            raise RoomsUnavailable("access tokens cannot be checked now") from error
        return Guest(caller.name, caller)
