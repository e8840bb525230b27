"""Asks streaming's APIs, and holds every answer to their OpenAPI document."""

from typing import Any, Final

from runtime.openapi import openapi_document
from streaming.channels.api import Channels
from streaming.streams.api import Streams
from streaming.streams.playback_api import Playback
from tests.contract.held_client import HeldClient
from tests.integration.streaming.studio import Studio, User

DOCUMENT: Final = openapi_document("under test", [Channels, Streams, Playback])


class Asking:
    """Somebody at the APIs."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._held = HeldClient(studio.client, DOCUMENT)

    async def __call__(
        self, method: str, path: str, user: User | None = None, *, body: object = None, **query: str
    ) -> tuple[int, Any]:
        headers = user.headers if user else {}
        answer = await self._held.request(method, path, headers=headers, json=body, params=query)
        return answer.status, answer.body

    async def problem(
        self, method: str, path: str, user: User | None = None, *, body: object = None
    ) -> tuple[int, str]:
        """The status and the name of a refusal."""
        status, said = await self(method, path, user, body=body)
        return status, said["type"].rpartition(":")[2]

    async def key(self, user: User) -> str:
        status, made = await self("POST", "/api/channels/me/stream-key", user)
        assert status == 201
        key: str = made["stream_key"]
        return key

    async def go_live(self, user: User, key: str | None = None, client: int = 1) -> str:
        """A stream of the user's: its id."""
        status, stream_id = await self.studio.publish(key or await self.key(user), client)
        assert status == 302
        return stream_id

    async def titles(self, user: User | None = None, **query: str) -> list[str]:
        """What a list has, in its order."""
        status, page = await self("GET", "/api/streams", user, **query)
        assert status == 200, page
        return [item["title"] for item in page["items"]]
