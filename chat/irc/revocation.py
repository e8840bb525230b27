"""Ends the connections that came in by an IRC password which its owner has deleted since."""

import asyncio
from collections.abc import Collection
from typing import Final, Protocol
from uuid import UUID

import structlog

from chat.irc import endings
from chat.irc.door import IrcDoor
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

CHECKED_EVERY_SECONDS: Final = 1.0


class PasswordsLeft(Protocol):
    """Knows which passwords are still good."""

    async def left_of(self, password_ids: Collection[UUID]) -> set[UUID]:
        """Those of them that have not been deleted."""
        ...


class Revocation:
    """A service: one query a second while anybody is here by a password."""

    name = "chat-irc-revocation"

    def __init__(self, door: IrcDoor, passwords: PasswordsLeft) -> None:
        self._door = door
        self._passwords = passwords

    async def run(self) -> None:
        """Look until cancelled. While the table cannot be read nobody is ended."""
        while True:
            await asyncio.sleep(CHECKED_EVERY_SECONDS)
            try:
                await self._look()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("irc_passwords_not_checked", reason=str(error) or type(error).__name__)

    async def _look(self) -> None:
        here = [(one, one.password_id) for one in self._door.connections]
        asked = {password_id for _, password_id in here if password_id is not None}
        if not asked:
            return
        left = await self._passwords.left_of(asked)
        for connection, password_id in here:
            if password_id is not None and password_id not in left:
                log.info("irc_password_gone", password_id=str(password_id))
                connection.end(endings.PASSWORD_GONE)
