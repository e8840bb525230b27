"""`python -m accounts` against the real engines: one trace from request to Kafka, tokens others verify, a clean end."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer

from runtime.migrations import migrate
from runtime.tokens import InvalidToken, TokenVerifier
from tests.engines import Database
from tests.free_ports import free_port

CHECKOUT = Path(__file__).parents[3]
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
READY_SECONDS_MAX = 60.0
STEP_SECONDS_MAX = 40.0
"""For whatever else a process is awaited; bounds of a busy machine, not of ours."""
PASSWORD = "correct horse"


@dataclass
class Running:
    """The process and where it answers."""

    process: asyncio.subprocess.Process
    url: str
    environment: dict[str, str]
    output: bytes = b""

    async def stop(self) -> int | None:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STEP_SECONDS_MAX):
            self.output, _ = await self.process.communicate()
        return self.process.returncode


def _environment(database: Database, kafka: str, prefix: str, redis: str) -> dict[str, str]:
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")}
    return clean | {
        "LIVESTREAM_POSTGRES_DSN": database.url,
        "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "LIVESTREAM_KAFKA_TOPIC_PREFIX": prefix,
        "LIVESTREAM_ACCOUNTS_KEY_SECRET": "a2" * 21 + "a",
        "LIVESTREAM_REDIS_URL": redis,
        "LIVESTREAM_LIMIT_LOGINS_PER_MINUTE": "10000",  # all tests have one address
        "LIVESTREAM_HTTP_PORT": str(port),
    }


async def _python(environment: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=CHECKOUT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


@pytest.fixture
async def running(
    database: Database, kafka_bootstrap_servers: str, topic_prefix: str, redis_url: str
) -> AsyncIterator[Running]:
    """The process, ready."""
    environment = _environment(database, kafka_bootstrap_servers, topic_prefix, redis_url)
    topics = await _python(environment, "-m", "console", "topics", "create")
    output, _ = await topics.communicate()
    assert topics.returncode == 0, output.decode()
    process = await _python(environment, "-m", "accounts")
    started = Running(process, f"http://127.0.0.1:{environment['LIVESTREAM_HTTP_PORT']}", environment)
    try:
        await _until_ready(started)
        yield started
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _until_ready(running: Running) -> None:
    async with asyncio.timeout(READY_SECONDS_MAX), aiohttp.ClientSession() as session:
        while running.process.returncode is None:
            with suppress(aiohttp.ClientError):
                async with session.get(f"{running.url}/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise AssertionError((await running.process.communicate())[0].decode())


async def test_one_trace_runs_from_the_request_to_kafka_and_the_log(running: Running) -> None:
    async with aiohttp.ClientSession(running.url) as session:
        user, login = await _register_and_login(session)
    servers = running.environment["LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS"]
    topic = running.environment["LIVESTREAM_KAFKA_TOPIC_PREFIX"] + "accounts.v1"
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(STEP_SECONDS_MAX):
            message = await consumer.getone()
    finally:
        await consumer.stop()
    headers = dict(message.headers)
    assert headers["ce_type"] == b"account.registered"
    assert headers["traceparent"].decode().split("-")[1] == TRACE_ID
    assert json.loads(message.value)["user_id"] == user["user_id"]

    verifier = TokenVerifier(f"{running.url}/.well-known/jwks.json", "livestream")
    caller = await verifier.verify(login["access_token"])
    assert (str(caller.user_id), caller.name) == (user["user_id"], "ann")
    with pytest.raises(InvalidToken):
        await TokenVerifier(f"{running.url}/.well-known/jwks.json", "another").verify(login["access_token"])

    assert await running.stop() == 0
    lines = [json.loads(line) for line in running.output.splitlines()]
    registered = next(line for line in lines if line["event"] == "account_registered")
    assert (registered["trace_id"], registered["user_id"]) == (TRACE_ID, user["user_id"])
    secrets = [PASSWORD, login["access_token"], login["refresh_token"]]
    secrets += [running.environment["LIVESTREAM_ACCOUNTS_KEY_SECRET"]]
    assert not [secret for secret in secrets if secret.encode() in running.output + message.value]


async def _register_and_login(session: aiohttp.ClientSession) -> tuple[dict[str, str], dict[str, str]]:
    body = {"username": "ann", "password": PASSWORD}
    traced = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}
    async with session.post("/api/auth/register", json=body, headers=traced) as answer:
        assert answer.status == 201
        user = await answer.json()
    async with session.post("/api/auth/login", json=body) as answer:
        assert answer.status == 200
        return user, await answer.json()


async def test_a_stale_schema_is_waited_for_with_the_next_step(
    empty_database: Database, kafka_bootstrap_servers: str, topic_prefix: str, redis_url: str
) -> None:
    environment = _environment(empty_database, kafka_bootstrap_servers, topic_prefix, redis_url)
    process = await _python(environment, "-m", "accounts")
    assert process.stdout is not None
    async with asyncio.timeout(STEP_SECONDS_MAX):
        async for text in process.stdout:
            line = json.loads(text)
            if line["event"] == "waiting_for_migrations":
                break
    assert "run `livestream migrate`" in line["reason"]
    await migrate(empty_database.dsn)
    async with asyncio.timeout(STEP_SECONDS_MAX):
        async for text in process.stdout:
            if json.loads(text)["event"] == "http_listening":
                break
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


async def test_another_key_secret_is_told_at_start(running: Running) -> None:
    assert await running.stop() == 0
    process = await _python(running.environment | {"LIVESTREAM_ACCOUNTS_KEY_SECRET": "b2" * 21 + "b"}, "-m", "accounts")
    async with asyncio.timeout(STEP_SECONDS_MAX):
        output, _ = await process.communicate()
    assert process.returncode == 1
    (line,) = [one for one in map(json.loads, output.splitlines()) if one["level"] == "error"]
    assert "sealed with another LIVESTREAM_ACCOUNTS_KEY_SECRET" in line["reason"]
