"""MediaMTX as a media server, through its control API.

Source: internal/api and internal/defs of MediaMTX 1.19; https://mediamtx.org/docs/usage/control-api.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote
from uuid import UUID

from streaming.errors import MediaServerUnavailable
from streaming.ingest.commands import Session
from streaming.servers.http_api import ApiAnswer, HttpApi
from streaming.servers.media_server import Publisher

PATHS_PER_PAGE: Final = 10_000
PAGES_MAX: Final = 20
# A publisher's kind of connection, and where that is kicked. Most first: a kick tries them in turn.
KICKED_AT: Final = {
    "rtmpConn": "rtmpconns",
    "rtmpsConn": "rtmpsconns",
    "srtConn": "srtconns",
    "webRTCSession": "webrtcsessions",
    "rtspSession": "rtspsessions",
    "rtspsSession": "rtspssessions",
    "moqSession": "moqsessions",
}


class _Source(ApiAnswer):
    type: str
    id: str


class _Path(ApiAnswer):
    name: str
    source: _Source | None = None


class _Paths(ApiAnswer):
    pageCount: int  # noqa: N815  as MediaMTX spells it
    items: list[_Path]


class MediaMtx:
    """One MediaMTX."""

    def __init__(self, api: HttpApi, *, application: str) -> None:
        self._api = api
        self._application = application

    async def drop(self, session: Session) -> bool:
        """Kick the connection of this id, of whatever kind; False when there is none. Raises MediaServerUnavailable."""
        for kind in KICKED_AT.values():
            answered = await self._api.ask("drop", "POST", f"/v3/{kind}/kick/{quote(session.client, safe='')}")
            if answered.status == 200:
                return True
            # 404 also where the protocol is off, 400 for what is no id of a connection
            if answered.status not in (400, 404):
                raise MediaServerUnavailable("drop", f"answered {answered.status}")
        return False

    async def wait_closed(self, stream_id: UUID) -> bool:
        """Nothing to wait for: a kick closes the connection before it is answered."""
        return True

    async def publishers(self) -> Sequence[Publisher]:
        """Whoever publishes to a path of the application of streamers. Raises MediaServerUnavailable."""
        found: list[Publisher] = []
        for page in range(PAGES_MAX):
            # Pages of a list that changes meanwhile may miss somebody, so one page holds all that one expects.
            answered = await self._api.ask(
                "publishers", "GET", "/v3/paths/list", itemsPerPage=PATHS_PER_PAGE, page=page
            )
            paths = answered.read(_Paths)
            found += [
                Publisher(path.source.id, None)  # ids never come twice
                for path in paths.items
                if path.source is not None
                and path.source.type in KICKED_AT
                and path.name.rpartition("/")[0] == self._application
            ]
            if page + 1 >= paths.pageCount:
                return found
        raise MediaServerUnavailable("publishers", f"has more than {PAGES_MAX * PATHS_PER_PAGE} paths")
