"""Media servers by name: looks are fresh and shared, and a number that is another's by now is not dropped."""

import asyncio
from uuid import UUID

import pytest

from streaming.errors import MediaServerUnavailable
from streaming.ingest.commands import Session
from streaming.servers.media_server import MediaServers, Publisher

SESSION = Session("one", "7")


class Twin:
    """A media server that remembers what it was asked."""

    def __init__(self, *publishers: Publisher) -> None:
        self.there = list(publishers)
        self.away = False
        self.looks = 0
        self.dropped: list[Session] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def drop(self, session: Session) -> bool:
        self.dropped.append(session)
        return True

    async def wait_closed(self, stream_id: UUID) -> bool:
        return True

    async def publishers(self) -> list[Publisher]:
        self.looks += 1
        there = list(self.there)
        await self.go_on.wait()
        if self.away:
            raise MediaServerUnavailable("publishers", "away")
        return there


@pytest.mark.parametrize(
    ("age", "accepted_seconds_ago", "dropped"),
    [
        (60.0, 60.0, True),
        (63.0, 60.0, True),
        (None, 60.0, True),
        (58.0, 60.0, False),
        (2.0, 3_600.0, False),
    ],
)
async def test_only_the_sessions_own_connection_is_dropped(
    age: float | None, accepted_seconds_ago: float, dropped: bool
) -> None:
    twin = Twin(Publisher("6", 60.0), Publisher("7", age))
    servers = MediaServers({"one": twin})
    assert await servers.drop(SESSION, accepted_seconds_ago=accepted_seconds_ago) is dropped
    assert twin.dropped == ([SESSION] if dropped else [])


async def test_who_is_not_there_is_not_dropped() -> None:
    twin = Twin(Publisher("8", 60.0))
    assert not await MediaServers({"one": twin}).drop(SESSION, accepted_seconds_ago=60)
    assert twin.dropped == []


async def test_a_name_that_is_nobodys_is_unavailable() -> None:
    with pytest.raises(MediaServerUnavailable):
        await MediaServers({}).drop(SESSION, accepted_seconds_ago=60)


@pytest.mark.parametrize("away", [False, True])
async def test_looks_at_once_share_an_answer_asked_for_after_the_last_of_them(away: bool) -> None:
    twin = Twin()
    servers = MediaServers({"one": twin})
    twin.go_on.clear()
    first = asyncio.create_task(servers.publishers("one"))
    await asyncio.sleep(0)
    twin.there.append(Publisher("7", 1.0))  # who comes while the first answer is under way
    others = [asyncio.create_task(servers.publishers("one")) for _ in range(100)]
    await asyncio.sleep(0)
    twin.away = away
    twin.go_on.set()
    answers = await asyncio.gather(first, *others, return_exceptions=True)
    assert twin.looks == 2
    if away:
        assert all(isinstance(answer, MediaServerUnavailable) for answer in answers)
    else:
        assert answers == [[], *[[Publisher("7", 1.0)]] * 100]


async def test_a_look_that_is_given_up_leaves_the_others_theirs() -> None:
    twin = Twin(Publisher("7", 1.0))
    servers = MediaServers({"one": twin})
    twin.go_on.clear()
    first = asyncio.create_task(servers.publishers("one"))
    await asyncio.sleep(0)
    second = asyncio.create_task(servers.publishers("one"))
    await asyncio.sleep(0)
    first.cancel()
    twin.go_on.set()
    assert await second == [Publisher("7", 1.0)]
