"""Who asks the archive in a test: the streamer of the tests' channel, and somebody else."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from runtime.tokens import Caller, InvalidToken
from tests.integration.archive.house import CHANNEL


@dataclass(frozen=True)
class Person:
    """Somebody with an access token that `Tokens` knows."""

    user_id: UUID
    name: str

    @property
    def token(self) -> str:
        return f"{self.user_id}:{self.name}"


ADA = Person(CHANNEL, "ada")
BOB = Person(UUID("01890000-0000-7000-8000-00000000b0b0"), "bob")


class Tokens:
    """A Verifier of access tokens that are `<user id>:<name>`."""

    async def verify(self, token: str) -> Caller:
        user_id, separator, name = token.partition(":")
        if not separator:
            raise InvalidToken("not one of the tests' tokens")
        return Caller(UUID(user_id), name)
