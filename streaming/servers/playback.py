"""Where a live stream plays: at the edge, or, where a media server serves its viewers itself, there."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from runtime.queries import Executor
from streaming import store
from streaming.streams.views import LiveStreamsPage, LiveStreamView

View = TypeVar("View", bound=LiveStreamView)
Query = TypeVar("Query")


class PlaybackAddresses:
    """Templates of live playlists' addresses, by the names of the media servers that have one."""

    def __init__(self, templates: Mapping[str, str] | None = None) -> None:
        self._templates = dict(templates or {})

    async def correct(self, database: Executor, streams: Sequence[View]) -> list[View]:
        """The same streams, those that play at a media server with its address. Asks nothing if no server has one."""
        playing = [stream.stream_id for stream in streams if stream.playback_url is not None]
        if not self._templates or not playing:
            return list(streams)
        rows = await store.queries.list_servers_of_streams(database, stream_ids=playing, servers=list(self._templates))
        servers = {row["stream_id"]: row["server"] for row in rows}
        return [self._at(servers.get(stream.stream_id), stream) for stream in streams]

    def _at(self, server: str | None, stream: View) -> View:
        if server is None:
            return stream
        address = self._templates[server].replace("{channel_id}", str(stream.channel_id))
        return stream.model_copy(update={"playback_url": address.replace("{stream_id}", str(stream.stream_id))})

    def corrected(
        self, read: Callable[[Executor, Query], Awaitable[LiveStreamsPage]]
    ) -> Callable[[Executor, Query], Awaitable[LiveStreamsPage]]:
        """What reads pages, with the addresses in them corrected."""

        async def read_and_correct(database: Executor, query: Query) -> LiveStreamsPage:
            page = await read(database, query)
            return page.model_copy(update={"items": await self.correct(database, page.items)})

        return read_and_correct
