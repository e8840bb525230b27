"""How many browsers a core tells: each message encrypted for its browser, signed, and posted to a sink of its own.

Our process is one, as a delivery worker is; the sink is another, because a push service is not ours to pay for. Beside
it, in the same run and in turns, the whole send of pywebpush for the same browsers.
"""

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key
from pydantic import SecretStr

from bench import webpush_queue
from bench.report import Bar, Bench, Outcome, Say
from deploy.local.credentials import p256_private_key
from notify.deliveries.delivery import Delivered, Delivery
from notify.deliveries.settings import DeliverySettings
from notify.outbound import Outbound
from notify.webpush.channel import PushSender, PushSending
from notify.webpush.encryption import encrypt
from notify.webpush.keys import CURVE, encode_base64url, public_point
from notify.webpush.messages import PushMessage
from notify.webpush.part import limits_of
from notify.webpush.settings import WebPushSettings
from notify.webpush.store import Target
from notify.webpush.vapid import Vapid, origin_of

BROWSERS = 500
ROUNDS = 3
SENDS = 5_000
PEER_SENDS = 500
ENCRYPTIONS = 5_000
AT_ONCE = 64
ANSWER_SECONDS_MAX = 10.0
TTL_SECONDS = 3_600
SUBJECT = "mailto:bench@example.org"

BARS = (Bar("sends_per_core_second", ">=", 1_000), Bar("from_queue_per_core_second", ">=", 1_000))

Send = Callable[[int], Awaitable[None]]


class Settings(WebPushSettings, DeliverySettings):
    """Those of the parts that send."""


@dataclass(frozen=True)
class Scene:
    """Who is told, by whom, and what."""

    targets: Sequence[Target]
    message: PushMessage
    settings: Settings
    key: str

    def vapid(self) -> Vapid:
        """Who signs."""
        key = self.settings.vapid_key()
        assert key is not None
        return Vapid(key, SUBJECT)


@dataclass(frozen=True)
class Took:
    """What some sends took, in seconds of the clock and of our process's processors."""

    sends: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Sends a second of the clock."""
        return self.sends / self.seconds

    @property
    def per_core_second(self) -> float:
        """Sends a second of one core."""
        return self.sends / self.cpu_seconds


async def measure(directory: Path, say: Say) -> Outcome:
    """Measure ours and the peer's in turns; the figures are those of all rounds together."""
    async with running_sink() as (sink, port):
        scene = make_scene(port)
        figures: dict[str, float] = {"encryptions_per_core_second": round(_encryptions(scene).per_core_second)}
        async with ours_sending(scene) as send, _pywebpush_sending(scene, say) as peers:
            ours, theirs = await _in_turns(send, peers, say)
        drained = await webpush_queue.drain(
            directory, say, scene.targets, scene.settings, scene.vapid(), limits_of(scene.settings)
        )
        sends = ROUNDS * (SENDS + len(peers) * PEER_SENDS) + (1 + len(peers)) * BROWSERS + drained.deliveries
        if (taken := await _taken(sink)) != sends:
            raise RuntimeError(f"the sink took {taken} messages, {sends} were sent")
    figures |= {
        "sends": float(ours.sends),
        "sends_at_once": float(AT_ONCE),
        "sends_per_core_second": round(ours.per_core_second),
        "sends_per_second": round(ours.per_second),
        "from_queue_per_core_second": round(drained.deliveries / drained.cpu_seconds),
        "from_queue_per_second": round(drained.deliveries / drained.seconds),
    }
    found = {f"{name}_sends_per_core_second": float(round(took.per_core_second)) for name, took in theirs.items()}
    found |= {f"{name}_sends_per_second": float(round(took.per_second)) for name, took in theirs.items()}
    found |= {
        f"sends_per_core_second_to_{name}_ratio": round(ours.per_core_second / took.per_core_second, 2)
        for name, took in theirs.items()
    }
    return Outcome(figures, processes=1, cpu_seconds=round(ours.cpu_seconds, 2), peers=found)


async def _in_turns(send: Send, peers: Mapping[str, Send], say: Say) -> tuple[Took, Mapping[str, Took]]:
    for one in (send, *peers.values()):
        await _timed(one, BROWSERS)  # connections, signatures, and code that is run for the first time
    ours: list[Took] = []
    theirs: dict[str, list[Took]] = {name: [] for name in peers}
    for number in range(1, ROUNDS + 1):
        say(f"round {number} of {ROUNDS}: {SENDS} sends, then {PEER_SENDS} of each peer")
        ours.append(await _timed(send, SENDS))
        for name, peer in peers.items():
            theirs[name].append(await _timed(peer, PEER_SENDS))
    return _sum(ours), {name: _sum(rounds) for name, rounds in theirs.items()}


def make_scene(port: int) -> Scene:
    """Browsers at the sink, each with keys of its own."""
    targets = [
        Target(
            destination_id=uuid4(),
            user_id=uuid4(),
            endpoint=f"http://127.0.0.1:{port}/wpush/{number}/{encode_base64url(os.urandom(120))}",
            p256dh=public_point(generate_private_key(CURVE)),
            auth=os.urandom(16),
        )
        for number in range(BROWSERS)
    ]
    message = PushMessage(uuid4(), uuid4(), "somebody is live", "Chess with everybody who comes along", "high")
    key = p256_private_key()
    settings = Settings.model_validate(
        {
            "notify_outbound_allow": ["127.0.0.0/8"],
            "notify_outbound_connections_per_host_max": AT_ONCE,
            "notify_vapid_private_key": SecretStr(key),
            "notify_vapid_subject": SUBJECT,
        }
    )
    return Scene(targets, message, settings, key)


@asynccontextmanager
async def ours_sending(scene: Scene) -> AsyncIterator[Send]:
    """Sends as the channel does, what the engine adds in the database left out."""
    outbound = Outbound(scene.settings)
    sender = PushSender(outbound, scene.vapid(), limits_of(scene.settings))
    now = datetime.now(UTC)

    async def send(number: int) -> None:
        target = scene.targets[number % BROWSERS]
        delivery = Delivery(
            delivery_id=number,
            source_id=scene.message.message_id,
            message_id=scene.message.message_id,
            user_id=target.user_id,
            destination_id=target.destination_id,
            provider=origin_of(target.endpoint),
            attempts=0,
            created_at=now,
            expires_at=now + timedelta(hours=1),
            content=None,
        )
        outcome = await PushSending(sender, delivery, target, scene.message).send()
        if outcome != Delivered():
            raise RuntimeError(f"a push became {outcome}")

    try:
        yield send
    finally:
        await outbound.close()


@asynccontextmanager
async def _pywebpush_sending(scene: Scene, say: Say) -> AsyncIterator[Mapping[str, Send]]:
    """The peer's whole send: as its documentation shows it, and with all that it offers for many (a session, a key that
    was read before). None where it is not installed.
    """
    try:
        from py_vapid import Vapid01
        from pywebpush import webpush, webpush_async
    except ImportError:
        say("pywebpush is not installed (it is in the dev dependencies): measured without it")
        yield {}
        return
    read_before = Vapid01.from_string(scene.key)
    headers = {"Topic": scene.message.topic, "Urgency": "high"}
    payload = scene.message.payload
    subscriptions = [_subscription(target) for target in scene.targets]

    async def plain(number: int) -> None:
        # it blocks, so one at a time; the sink is another process
        webpush(
            subscriptions[number % BROWSERS],
            payload,
            vapid_private_key=scene.key,
            vapid_claims={"sub": SUBJECT},
            ttl=TTL_SECONDS,
            headers=dict(headers),
        )

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:

        async def with_session(number: int) -> None:
            answer = await webpush_async(
                subscriptions[number % BROWSERS],
                payload,
                vapid_private_key=read_before,
                vapid_claims={"sub": SUBJECT},
                ttl=TTL_SECONDS,
                headers=dict(headers),
                aiohttp_session=session,
            )
            answer.release()

        yield {"pywebpush": plain, "pywebpush_with_session": with_session}


def _subscription(target: Target) -> dict[str, object]:
    keys = {"p256dh": encode_base64url(target.p256dh), "auth": encode_base64url(target.auth)}
    return {"endpoint": target.endpoint, "keys": keys}


def _encryptions(scene: Scene) -> Took:
    """Encrypting alone."""
    began, cpu_began = time.perf_counter(), time.process_time()
    for number in range(ENCRYPTIONS):
        target = scene.targets[number % BROWSERS]
        encrypt(scene.message.payload, p256dh=target.p256dh, auth=target.auth)
    return Took(ENCRYPTIONS, time.perf_counter() - began, time.process_time() - cpu_began)


async def _timed(send: Send, count: int) -> Took:
    """`count` sends, some at once, as a worker does them."""
    numbers = iter(range(count))

    async def sends() -> None:
        for number in numbers:
            await send(number)

    began, cpu_began = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(sends())
    return Took(count, time.perf_counter() - began, time.process_time() - cpu_began)


def _sum(rounds: Sequence[Took]) -> Took:
    return Took(
        sum(one.sends for one in rounds), sum(one.seconds for one in rounds), sum(one.cpu_seconds for one in rounds)
    )


@asynccontextmanager
async def running_sink() -> AsyncIterator[tuple[Process, int]]:
    """The sink and its port."""
    sink = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.push_sink", stdin=PIPE, stdout=PIPE)
    try:
        yield sink, int(await _line(sink))
    finally:
        assert sink.stdin is not None
        sink.stdin.close()
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await sink.wait()
        except TimeoutError:
            sink.kill()


async def _taken(sink: Process) -> int:
    """How many messages came."""
    assert sink.stdin is not None
    sink.stdin.write(b"\n")
    return int(await _line(sink))


async def _line(sink: Process) -> bytes:
    assert sink.stdout is not None
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        return await sink.stdout.readline()


BENCH = Bench(
    name="webpush",
    description="Messages encrypted and sent to browsers at a sink, by one process; pywebpush in the same run.",
    bars=BARS,
    measure=measure,
)
