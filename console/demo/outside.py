"""Who is told without being there: followers in their browsers, the streamer's own endpoint; and who wants quiet."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from console.demo.people import Origin, Person
from console.demo.receivers import Receivers
from console.demo.steps import check, eventually

WEBHOOK_EVENTS = ("stream.*", "recording.*")
WEBHOOKS_OF_A_STREAM = {"stream.started", "stream.ended", "recording.published"}
"""What an endpoint has been told when the recording plays; the rest comes when the ladder is done."""


class Outside:
    """Sets up who is told outside of the page, and looks at what they got."""

    def __init__(self, origin: Origin, receivers: Receivers) -> None:
        self._origin = origin
        self._receivers = receivers

    async def subscribe(self, people: Sequence[Person]) -> None:
        """Each has a browser that may be told."""
        key = await self._origin.call("GET", "/api/notifications/push/key")
        self._receivers.vapid_key = key["public_key"]
        await asyncio.gather(
            *(
                self._origin.call(
                    "POST",
                    "/api/notifications/push",
                    person=person,
                    body=browser.subscription(self._receivers.url),
                )
                for person, browser in zip(people, self._receivers.browsers, strict=True)
            )
        )

    async def mute(self, person: Person, channel_id: UUID) -> None:
        """Somebody goes on following, and wants to hear nothing."""
        await self._origin.call("PATCH", f"/api/follows/{channel_id}", person=person, body={"muted": True})

    async def want_recordings(self, person: Person, channel_id: UUID) -> None:
        """Somebody wants to hear of recordings, too."""
        await self._origin.call("PATCH", f"/api/follows/{channel_id}", person=person, body={"recordings": True})

    async def hook(self, streamer: Person) -> None:
        """The streamer has an endpoint told, and is shown the secret that signs, once."""
        body = {"url": f"{self._receivers.url}/webhook", "events": WEBHOOK_EVENTS}
        made = await self._origin.call("POST", "/api/webhooks", person=streamer, body=body, status=201)
        self._receivers.webhook_secret = made["secret"]

    async def pushed(self, stream: dict[str, Any]) -> list[float]:
        """When each browser was told, in wall-clock seconds; StepFailed when one is not, or is told anything else."""
        browsers = self._receivers.browsers

        async def told() -> int:
            return sum(bool(browser.heard) for browser in browsers)

        await eventually("every browser told", told, lambda n: n == len(browsers), within_seconds=30)
        for browser in browsers:
            check(len(browser.heard) == 1, "one message for each browser", browser.heard)
            payload = browser.heard[0][0]
            check(payload["tag"] == stream["stream_id"], "the notice of this stream", payload)
            check(len(browser.topics[0]) <= 32, "a topic that push services take", browser.topics)
        return [browser.heard[0][1] for browser in browsers]

    async def hooked(self, stream_id: UUID) -> int:
        """How many webhooks the streamer's endpoint got of a stream up to its recording; each once, each signed."""

        async def types() -> set[str]:
            return {body["type"] for body, _, _ in self._receivers.webhooks}

        await eventually("the webhooks", types, WEBHOOKS_OF_A_STREAM.issubset, within_seconds=30)
        ids = [message_id for _, message_id, _ in self._receivers.webhooks]
        check(len(ids) == len(set(ids)), "every webhook once", ids)
        others = [body for body, _, _ in self._receivers.webhooks if body["data"]["stream_id"] != str(stream_id)]
        check(not others, "webhooks of this stream alone", others)
        return len(ids)

    async def read_everything(self, person: Person, *, unread: int) -> None:
        """Somebody has so many unread notices, reads all at once, and has none."""
        before = await self._origin.call("GET", "/api/notifications/unread", person=person)
        check(before["unread"] == unread, f"{unread} unread of {person.username}", before)
        await self._origin.call("POST", "/api/notifications/read", person=person, body={"everything": True})
        after = await self._origin.call("GET", "/api/notifications/unread", person=person)
        check(after["unread"] == 0, "nothing unread", after)

    async def kinds_of(self, person: Person) -> list[str]:
        """The kinds of somebody's notices, the newest first."""
        inbox = await self._origin.call("GET", "/api/notifications", person=person)
        return [item["kind"] for item in inbox["items"]]
