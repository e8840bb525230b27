"""SIGKILL of a process that posts webhooks: everything arrives, some of it again, and always under the same id."""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eventbus.outbox import Outbox
from events import Envelope, FollowCreated
from notify.webhooks.endpoints import Endpoints, NewEndpoint
from notify.webhooks.intake import WebhookIntake
from notify.webhooks.sealing import Seal
from notify.webhooks.urls import parse_url
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.conftest import FaultPlan
from tests.engines import Database
from tests.integration.notify.processes import eventually
from tests.integration.notify.sink import running_sink
from tests.integration.notify.webhook_scene import SEALING_SECRET, make_due, settings_of, verified

REPOSITORY = Path(__file__).parents[3]
EVENTS_BETWEEN_KILLS = 60
LEASE_SECONDS = 7
SENDS = 16
BATCH = 20
KILLS_MAX = 10
TAKE_OVER_SECONDS = 30.0

Start = Callable[[], Awaitable[Process]]

pytestmark = pytest.mark.engines


@pytest.fixture
async def start(database: Database, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the process, with small batches so that there are many moments to be killed in."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")},
        "LIVESTREAM_POSTGRES_DSN": database.url,
        "LIVESTREAM_PUBLIC_URL": "https://live.example.org",
        "LIVESTREAM_NOTIFY_SEALING_SECRET": SEALING_SECRET,
        "LIVESTREAM_NOTIFY_OUTBOUND_ALLOW": '["127.0.0.0/8"]',
        "LIVESTREAM_NOTIFY_DELIVERY_LEASE_SECONDS": str(LEASE_SECONDS),
        "LIVESTREAM_NOTIFY_DELIVERY_SEND_SECONDS_MAX": "1",
        "LIVESTREAM_NOTIFY_DELIVERY_BATCH_MAX": str(BATCH),
        "LIVESTREAM_NOTIFY_DELIVERY_SENDS_MAX": str(SENDS),
    }
    processes: list[Process] = []

    async def launch() -> Process:
        with (tmp_path / "worker.log").open("ab") as log:
            process = await create_subprocess_exec(
                *(sys.executable, "-m", "tests.integration.notify.webhook_worker"),
                cwd=REPOSITORY,
                env=environment,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
            )
        processes.append(process)
        return process

    yield launch
    for process in processes:
        if process.returncode is None:
            process.kill()
        await asyncio.wait_for(process.wait(), 10)


async def test_every_webhook_arrives_wherever_the_process_is_killed(
    start: Start,
    database: Database,
    pool: Pool,
    fault_plan: FaultPlan,
) -> None:
    random_moments = random.Random(fault_plan.seed)
    kills = min(fault_plan.points, KILLS_MAX)
    events = EVENTS_BETWEEN_KILLS * (kills + 1)
    async with running_sink() as sink:
        seal = Seal(settings_of(database).sealing_secret() or b"")
        url = parse_url(f"{sink.url}/200/hook", None)
        person = uuid7()
        wanted = NewEndpoint(url, ["follow.*"], "", None, None)
        _, secret = await Endpoints(pool, seal, endpoints_per_user_max=1).create(person, wanted)
        intake = WebhookIntake(endpoints_max=1, public_url="https://live.example.org")
        async with Outbox(pool, source="notify").transaction() as transaction:
            for _ in range(events):
                now = datetime.now(UTC)
                event = FollowCreated(channel_id=person, follower_id=uuid7(), follower_name="b", followed_at=now)
                envelope = Envelope(id=uuid7(), source="notify", time=now, event=event)
                await intake.on_event(transaction, envelope)
        for point in range(kills):
            process = await start()
            moment = EVENTS_BETWEEN_KILLS * point + random_moments.randint(1, EVENTS_BETWEEN_KILLS)
            await sink.wait_for(moment, seconds=TAKE_OVER_SECONDS)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        await start()

        async def are_all_delivered() -> bool:
            await make_due(pool)  # what a machine that stood still for a second has failed is not waited for
            left = (
                "SELECT EXISTS (SELECT FROM webhook_messages WHERE state <> 'delivered') OR EXISTS (TABLE deliveries)"
            )
            return not await pool.fetchval(left)

        await eventually(are_all_delivered, seconds=TAKE_OVER_SECONDS)
        posts = list(sink.posts)

    counted = Counter(post.headers["webhook-id"] for post in posts)
    logged = {str(row["message_id"]) for row in await pool.fetch("SELECT message_id FROM webhook_messages")}
    assert set(counted) == logged
    assert len(logged) == events
    for post in posts:
        verified(post, secret)
    duplicates = len(posts) - events
    sys.stdout.write(f"{kills} kills, {events} webhooks, {duplicates} posted again\n")
    # what was under way, and what was sent and not yet noted
    assert duplicates <= kills * (SENDS + 2 * BATCH)
