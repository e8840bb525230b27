"""Ant Media as a media server, through the REST API of its application.

A broadcast is known by its stream's name only, and so is a session here.

Source: BroadcastRestService.java and RestServiceBase.java; https://docs.antmedia.io (REST API v2).
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final
from urllib.parse import quote
from uuid import UUID

from streaming.errors import MediaServerUnavailable
from streaming.ingest.ant_media import client_of
from streaming.ingest.commands import Session
from streaming.servers.http_api import ApiAnswer, HttpApi, wait_until_gone
from streaming.servers.media_server import Publisher

BROADCASTS_PER_PAGE: Final = 50  # it gives no more at a time
# Pages overlap, so that broadcasts that vanish while we turn them do not hide others.
OVERLAP: Final = 10
PAGES_MAX: Final = 250
BROADCASTING: Final = "broadcasting"
GONE_POLL_SECONDS: Final = 0.05


class _Broadcast(ApiAnswer):
    streamId: str  # noqa: N815  as Ant Media spells it
    status: str | None = None


class _Result(ApiAnswer):
    success: bool


class AntMedia:
    """One application of an Ant Media."""

    def __init__(self, api: HttpApi, *, application: str) -> None:
        self._api = api
        self._broadcasts = f"/{application}/rest/v2/broadcasts"

    async def drop(self, session: Session) -> bool:
        """Stop the broadcast of this name and wait until it has; False when it was not on.

        Raises MediaServerUnavailable.
        """
        name = await self._name_of(session.client)
        if name is None:
            return False
        path = f"{self._broadcasts}/{quote(name, safe='')}"
        if not (await self._api.ask("drop", "POST", f"{path}/stop")).read(_Result).success:
            return False
        return await wait_until_gone(self._api, lambda: self._is_on(path), poll_seconds=GONE_POLL_SECONDS)

    async def wait_closed(self, stream_id: UUID) -> bool:
        """Nothing to wait for: dropping has waited."""
        return True

    async def publishers(self) -> Sequence[Publisher]:
        """Whatever is broadcast by the application. Raises MediaServerUnavailable."""
        # no time: it counts from some while after the question
        return [Publisher(client_of(name), None) async for name in self._on()]

    async def _name_of(self, client: str) -> str | None:
        async for name in self._on():
            if client_of(name) == client:
                return name
        return None

    async def _is_on(self, path: str) -> bool:
        answered = await self._api.ask("drop", "GET", path)
        return answered.status != 404 and answered.read(_Broadcast).status == BROADCASTING

    async def _on(self) -> AsyncIterator[str]:
        """The name of every broadcast that is on, once."""
        seen: set[str] = set()
        for page in range(PAGES_MAX):
            start = page * (BROADCASTS_PER_PAGE - OVERLAP)
            answered = await self._api.ask(
                "publishers", "GET", f"{self._broadcasts}/list/{start}/{BROADCASTS_PER_PAGE}"
            )
            listed = answered.read_list(_Broadcast)
            for broadcast in listed:
                if broadcast.status == BROADCASTING and broadcast.streamId not in seen:
                    seen.add(broadcast.streamId)
                    yield broadcast.streamId
            if len(listed) < BROADCASTS_PER_PAGE:
                return
        raise MediaServerUnavailable("publishers", "has more broadcasts than can be listed")
