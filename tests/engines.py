"""The real engines that tests share: one stack in `.local/test`, started part by part when a test first asks for it.

Any number of pytest sessions on one machine use the same engines at the same time; each test isolates itself by a
database, a bucket, a topic prefix or unique keys of its own, whose names begin with the session's process id.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import boto3
from aiokafka.admin import AIOKafkaAdminClient
from botocore.config import Config
from pydantic import SecretStr
from redis.asyncio import Redis

from deploy.local import Stack, places
from runtime.migrations import migrate

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

SHARED_DIRECTORY = places.CHECKOUT / ".local/test"
SHARED_PORT_BASE = 18000
OWN_PORT_BASE = 19000
MARK = "test"

T = TypeVar("T")
_numbers = itertools.count(1)


def unique_name() -> str:
    """A name that no other test of any session uses; it says whose it is, so that what a dead session left is swept."""
    return f"{MARK}{os.getpid()}n{next(_numbers)}"


def is_abandoned(name: str) -> bool:
    """Whether a name was made by `unique_name` in a process that is no more."""
    found = re.match(rf"{MARK}(\d+)n\d+", name)
    return found is not None and not Path(f"/proc/{found.group(1)}").exists()


def run_apart(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end on a loop and thread of its own, so that a fixture may use it anywhere."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


@dataclass(frozen=True)
class Database:
    """A database of one test, with every schema migrated."""

    name: str
    url: str

    @property
    def dsn(self) -> SecretStr:
        """The form that settings take."""
        return SecretStr(self.url)


@dataclass(frozen=True)
class S3:
    """An object store and the keys to it."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str

    def client(self) -> S3Client:
        """A boto3 client with short timeouts."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name="us-east-1",
            config=Config(connect_timeout=2, read_timeout=10, retries={"max_attempts": 2}),
        )


class SharedEngines:
    """The shared stack as one pytest session sees it.

    A session holds a shared lock as long as it lives. The last one stops what tests have started; a stack that was
    started by hand, or LIVESTREAM_TEST_KEEP=1, stays up.
    """

    def __init__(self) -> None:
        self.stack = Stack(SHARED_DIRECTORY, port_base=SHARED_PORT_BASE, durable=False)
        self._started_by_tests = SHARED_DIRECTORY / "run/.started-by-tests"
        self._sessions = (SHARED_DIRECTORY / "run/.sessions").open("w")
        fcntl.flock(self._sessions, fcntl.LOCK_SH)
        self._asked: set[str] = set()

    def need(self, part: str) -> dict[str, str]:
        """Have a part running and return the settings of the stack."""
        if part not in self._asked:
            if all(status.state == "stopped" for status in self.stack.status()):
                self._started_by_tests.touch()
            self.stack.start(part)
            self._asked.add(part)
        return self.stack.environment()

    def close(self) -> None:
        """Leave; stop the stack if this was its last session and tests started it."""
        try:
            fcntl.flock(self._sessions, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        else:
            if self._started_by_tests.exists() and os.environ.get("LIVESTREAM_TEST_KEEP") != "1":
                self.stack.down()
                self._started_by_tests.unlink()
        finally:
            self._sessions.close()


# --- Postgres ---------------------------------------------------------------------------------------------------------


def database_url(server_url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def execute(server_url: str, *statements: str) -> None:
    """Run statements outside any transaction, as CREATE DATABASE wants."""

    async def work() -> None:
        connection = await asyncpg.connect(server_url, timeout=10, command_timeout=60)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    run_apart(work)


def sweep_databases(server_url: str) -> None:
    """Drop what dead sessions left."""

    async def names() -> list[str]:
        connection = await asyncpg.connect(server_url, timeout=10, command_timeout=60)
        try:
            return [row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")]
        finally:
            await connection.close()

    with (SHARED_DIRECTORY / "run/.sweeping").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # sessions that begin side by side would drop the same ones
        abandoned = [name for name in run_apart(names) if is_abandoned(name)]
        execute(server_url, *(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)' for name in abandoned))


@contextmanager
def fresh_database(server_url: str, *, template: str | None = None) -> Iterator[Database]:
    """An empty database, or a copy of a template, dropped afterwards with whatever is still connected to it."""
    name = unique_name()
    execute(server_url, f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
    try:
        yield Database(name, database_url(server_url, name))
    finally:
        execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def migrated_template(server_url: str) -> Iterator[str]:
    """A database with all migrations applied, for tests to copy; nobody may be connected to it."""
    sweep_databases(server_url)
    with fresh_database(server_url) as database:
        run_apart(lambda: migrate(database.dsn))
        yield database.name


# --- Redis ------------------------------------------------------------------------------------------------------------


REDIS_NUMBERS = 8
"""Of the sixteen; the others are for whole servers, one each, whose chat writes down whatever waits there."""


def redis_number(redis_url: str, worker: str) -> str:
    """The URL of a number of the Redis that belongs to a worker (`gw3`)."""
    return f"{redis_url.rpartition('/')[0]}/{int(worker.removeprefix('gw')) % REDIS_NUMBERS}"


def redis_of_servers(redis_url: str) -> str:
    """The URL of another number for a whole server: what tests of chat leave behind is no news of its own."""
    url, _, number = redis_url.rpartition("/")
    return f"{url}/{int(number) + REDIS_NUMBERS}"


def sweep_spools(redis_url: str) -> None:
    """Drop chat's spools that nobody has written to for an hour: they do not expire, and a test may leave some."""

    async def sweep() -> None:
        oldest_ms = (time.time() - 3_600) * 1000
        async with Redis.from_url(redis_url) as client:
            async for key in client.scan_iter(match="chat:{*}:spool", count=1_000):
                newest: Any = await client.xrevrange(key, count=1)
                if not newest or int(newest[0][0].split(b"-")[0]) < oldest_ms:
                    await client.delete(key)

    run_apart(sweep)


# --- Kafka ------------------------------------------------------------------------------------------------------------


def sweep_topics(bootstrap_servers: str, *, prefix: str) -> None:
    """Delete the topics of this session and of dead ones."""

    async def work() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=10_000)
        await admin.start()
        try:
            topics = [name for name in await admin.list_topics() if name.startswith(prefix) or is_abandoned(name)]
            if topics:
                await admin.delete_topics(topics)
        finally:
            await admin.close()

    run_apart(work)


# --- S3 ---------------------------------------------------------------------------------------------------------------


@contextmanager
def fresh_bucket(s3: S3) -> Iterator[str]:
    """An empty bucket, removed afterwards with all that is in it."""
    client, name = s3.client(), unique_name()
    client.create_bucket(Bucket=name)
    try:
        yield name
    finally:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            for item in page.get("Contents", ()):
                client.delete_object(Bucket=name, Key=item["Key"])
        client.delete_bucket(Bucket=name)
        client.close()
