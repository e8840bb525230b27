"""SRS as a media server, through its HTTP API (`http_api`).

Source: srs_app_http_api.cpp, srs_app_statistic.cpp and srs_app_source.cpp of SRS 5 and 6; https://ossrs.io/lts/en-us/docs/v6/doc/http-api.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote
from uuid import UUID

from streaming.errors import MediaServerUnavailable
from streaming.ingest.commands import Session
from streaming.servers.http_api import ApiAnswer, HttpApi, wait_until_gone
from streaming.servers.media_server import Publisher

CLIENTS_PER_PAGE: Final = 10_000
PAGES_MAX: Final = 20
GONE_POLL_SECONDS: Final = 0.02
NO_SUCH_CLIENT: Final = frozenset({2048, 2049})  # ERROR_RTMP_CLIENT_NOT_FOUND, by version


class _Code(ApiAnswer):
    code: int


class _Client(ApiAnswer):
    id: str | int
    publish: bool
    url: str


class _Clients(_Code):
    clients: list[_Client]


class Srs:
    """One SRS."""

    def __init__(self, api: HttpApi, *, application: str) -> None:
        self._api = api
        self._application = application

    async def drop(self, session: Session) -> bool:
        """Cut off the client of this id and wait until SRS has let go: it refuses a stream that is still taken.

        A client is gone when its `on_unpublish` has been answered, so nothing that the answer waits for may be held.

        False when there is no such client. Raises MediaServerUnavailable.
        """
        path = f"/api/v1/clients/{quote(session.client, safe='')}"
        if not _done((await self._api.ask("drop", "DELETE", path)).read(_Code), "drop"):
            return False
        return await wait_until_gone(self._api, lambda: self._is_there(path), poll_seconds=GONE_POLL_SECONDS)

    async def _is_there(self, path: str) -> bool:
        return _done((await self._api.ask("drop", "GET", path)).read(_Code), "drop")

    async def wait_closed(self, stream_id: UUID) -> bool:
        """Nothing to wait for: dropping has waited."""
        return True

    async def publishers(self) -> Sequence[Publisher]:
        """Whoever publishes to the application of streamers. Raises MediaServerUnavailable.

        SRS counts a client among them before it asks the hook: whoever still waits for the answer is told of as well.
        The list of streams would not tell of those, but nor of one of two that SRS has let in under one name: it
        forgets now and then that a stream is taken, while the hook is asked.
        """
        found: list[Publisher] = []
        for page in range(PAGES_MAX):
            answered = await self._api.ask(
                "publishers", "GET", "/api/v1/clients/", start=page * CLIENTS_PER_PAGE, count=CLIENTS_PER_PAGE
            )
            answer = answered.read(_Clients)
            if not _done(answer, "publishers"):
                raise MediaServerUnavailable("publishers", f"answered code {answer.code}")
            found += [
                Publisher(str(client.id), None)  # ids are random: none comes twice
                for client in answer.clients
                if client.publish and client.url.rpartition("/")[0].removeprefix("/") == self._application
            ]
            if len(answer.clients) < CLIENTS_PER_PAGE:
                return found
        raise MediaServerUnavailable("publishers", f"has more than {PAGES_MAX * CLIENTS_PER_PAGE} clients")


def _done(answer: _Code, action: str) -> bool:
    if answer.code in NO_SUCH_CLIENT:
        return False
    if answer.code != 0:
        raise MediaServerUnavailable(action, f"answered code {answer.code}")
    return True
