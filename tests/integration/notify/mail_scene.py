"""People with mail addresses, and notices that are queued for them."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from notify.deliveries.delivery import ChannelName, Lane
from notify.deliveries.queueing import NewDelivery, enqueue
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.integration.notify.conftest import StartNotify
from tests.integration.notify.mail_server import MailServer, Received, mail_server
from tests.integration.notify.processes import Person, RunningNotify, eventually

SENDER = "Live <notices@example.org>"
CONFIRM = re.compile(r"http://edge\.test/mail\.html#confirm=([\w-]{43})\b")
EMAIL = "/api/notifications/email"


@dataclass
class MailScene:
    """A process that sends mail, and the server that takes it."""

    notify: RunningNotify
    server: MailServer
    pool: Pool

    async def request(self, person: Person, address: str) -> str:
        """Ask for notices at an address; the token that is mailed there."""
        before = len(self.server.to(address))
        status, body = await self.notify.call("PUT", EMAIL, person, json={"address": address})
        assert status == 202, body
        await eventually(lambda: len(self.server.to(address)) > before)
        return token_in(self.server.to(address)[-1])

    async def verify(self, token: str) -> int:
        """The status of verifying."""
        status, _ = await self.notify.call("POST", f"{EMAIL}/verify", json={"token": token})
        return status

    async def verified(self, person: Person, address: str) -> UUID:
        """Let a person have a verified address; its destination."""
        assert await self.verify(await self.request(person, address)) == 200
        found = await self.pool.fetchval("SELECT destination_id FROM mailboxes WHERE user_id = $1", person.user_id)
        assert isinstance(found, UUID)
        return found

    async def view(self, person: Person) -> dict[str, Any]:
        """A person's addresses."""
        status, body = await self.notify.call("GET", EMAIL, person)
        assert status == 200
        assert isinstance(body, dict)
        return body

    async def settled(self) -> None:
        """Wait until nothing is queued."""
        await eventually(lambda: self._is_empty())

    async def _is_empty(self) -> bool:
        return not await self.pool.fetchval("SELECT count(*) FROM deliveries")


def token_in(mail: Received) -> str:
    """The token of a verification mail."""
    found = CONFIRM.search(mail.text)
    assert found, mail.text
    return found[1]


@asynccontextmanager
async def mail_scene(start_notify: StartNotify, pool: Pool, **overrides: object) -> AsyncIterator[MailScene]:
    """A process and its mail server."""
    async with mail_server() as server:
        settings = {"host": "127.0.0.1", "port": server.port, "tls": "none", "from": SENDER}
        values = {f"notify_smtp_{name}": value for name, value in settings.items()}
        notify = await start_notify(**{**values, **overrides})
        try:
            yield MailScene(notify, server, pool)
        finally:
            await notify.stop()


async def add_fanout(pool: Pool, *, title: str = "chess", state: str = "completed", channel: str = "ada") -> UUID:
    """A fan-out of a stream that started; its id."""
    fanout_id = uuid7()
    await pool.execute(
        "INSERT INTO fanouts (fanout_id, stream_id, channel_id, channel_name, title, started_at, state)"
        " VALUES ($1, $1, $2, $3, $4, now(), $5)",
        fanout_id,
        uuid7(),
        channel,
        title,
        state,
    )
    return fanout_id


async def queue(pool: Pool, notice_id: UUID, destinations: Sequence[tuple[UUID, UUID]], provider: str) -> None:
    """Queue a notice for (person, destination)."""
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    async with pool.acquire() as connection, connection.transaction():
        await enqueue(
            connection,
            [
                NewDelivery(
                    channel=ChannelName.EMAIL,
                    lane=Lane.BULK,
                    source_id=notice_id,
                    message_id=notice_id,
                    user_id=user_id,
                    destination_id=destination_id,
                    provider=provider,
                    expires_at=expires_at,
                )
                for user_id, destination_id in destinations
            ],
        )


async def add_mailboxes(pool: Pool, user_ids: Sequence[UUID], provider: str) -> list[tuple[UUID, UUID]]:
    """Verified addresses of made-up people, as <number>@bulk.test; (person, destination) of each."""
    pairs = [(user_id, uuid7()) for user_id in user_ids]
    ids = [list(one) for one in zip(*pairs, strict=True)]
    await pool.execute(
        "INSERT INTO people (user_id, username) SELECT u, 'p' FROM unnest($1::uuid[]) AS u ON CONFLICT DO NOTHING",
        ids[0],
    )
    await pool.execute(
        "INSERT INTO destinations SELECT d, u, 'email', $3 FROM unnest($1::uuid[], $2::uuid[]) AS n (u, d)",
        *ids,
        provider,
    )
    await pool.execute(
        "INSERT INTO mailboxes (destination_id, user_id, address)"
        " SELECT d, u, n || '@bulk.test' FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS n (u, d, n)",
        *ids,
    )
    return pairs


async def soon() -> None:
    """A moment for what must not happen to happen."""
    await asyncio.sleep(0.3)
