"""Being here costs a statement an hour, however much one does."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from notify import activity
from notify.activity import NOTED_SECONDS, Activity
from runtime.tokens import Caller

BOB, EVE = Caller(UUID(int=1), "bob"), Caller(UUID(int=2), "eve")


class Statements:
    """Counts what Postgres is asked."""

    def __init__(self) -> None:
        self.of: list[UUID] = []

    async def execute(self, _query: str, /, *arguments: Any) -> str:  # noqa: ANN401  whatever a query takes
        self.of.append(arguments[0])
        return "UPDATE 0"

    async def fetch(self, _query: str, /, *_arguments: object) -> list[object]:
        raise AssertionError

    async def fetchrow(self, _query: str, /, *_arguments: object) -> object:
        raise AssertionError

    async def fetchval(self, _query: str, /, *_arguments: object) -> object:
        raise AssertionError

    async def executemany(self, _command: str, _arguments: Iterable[object], /) -> None:
        raise AssertionError


async def test_a_person_is_noted_once_an_hour() -> None:
    now, asked = [0.0], Statements()
    noting = Activity(asked, clock=lambda: now[0])
    for caller in (BOB, EVE, BOB, BOB):
        await noting.note(caller)
    assert asked.of == [BOB.user_id, EVE.user_id]
    now[0] = NOTED_SECONDS
    await noting.note_person(BOB.user_id)
    assert asked.of == [BOB.user_id, EVE.user_id, BOB.user_id]


async def test_what_is_remembered_is_bounded() -> None:
    asked = Statements()
    noting = Activity(asked)
    for number in range(activity.NOTED_PEOPLE_MAX + 2):
        await noting.note_person(UUID(int=number))
    assert len(noting._noted) <= activity.NOTED_PEOPLE_MAX
