"""The engines that the local stack and the test fixtures give are real, isolated and survive what they must."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from deploy.local import AddressTaken, Listen, PartFailed, Stack
from deploy.local.errors import PortsTaken
from deploy.local.places import CHECKOUT
from tests.engines import S3, Database
from tests.free_ports import free_port


async def test_a_test_database_has_every_schema_and_is_its_own(database: Database) -> None:
    connection = await asyncpg.connect(database.url)
    try:
        schemas = {row["nspname"] for row in await connection.fetch("SELECT nspname FROM pg_namespace")}
        assert {"accounts", "streaming", "chat", "notify", "archive"} <= schemas
        assert await connection.fetchval("SELECT current_database()") == database.name
        # Commits wait until they are written; whether that reached the disk matters to a dying machine alone.
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
    finally:
        await connection.close()


async def test_the_postgres_server_refuses_a_wrong_password(database: Database, postgres_dsn: str) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(database.url, password="wrong")


async def test_redis_answers_with_its_password_only(redis_url: str, redis_prefix: str) -> None:
    async with Redis.from_url(redis_url) as client:
        assert await client.set(f"{redis_prefix}a", "1", ex=10)
        assert await client.get(f"{redis_prefix}a") == b"1"


async def test_a_message_passes_through_kafka(kafka_bootstrap_servers: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}messages"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap_servers)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka_bootstrap_servers, group_id=topic_prefix, auto_offset_reset="earliest"
    )
    await producer.start()
    await producer.send_and_wait(topic, b"hello")
    await producer.stop()
    await consumer.start()
    try:
        message = await asyncio.wait_for(consumer.getone(), 20)
        assert message.value == b"hello"
    finally:
        await consumer.stop()


def test_a_bucket_holds_an_object(s3: S3, bucket: str) -> None:
    client = s3.client()
    client.put_object(Bucket=bucket, Key="a/b", Body=b"hello")
    assert client.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"hello"
    client.close()


def test_an_own_stack_keeps_its_data_over_a_kill(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("postgres")

    async def ask(statement: str) -> object:
        connection = await asyncpg.connect(stack.environment()["LIVESTREAM_POSTGRES_DSN"])
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    asyncio.run(ask("CREATE TABLE kept AS SELECT 42 AS answer"))
    first = stack.pid("postgres")
    stack.kill("postgres")
    stack.start("postgres")
    assert stack.pid("postgres") != first
    assert asyncio.run(ask("SELECT answer FROM kept")) == 42


def test_postgres_starts_once_the_sessions_of_a_killed_server_have_ended(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("postgres")

    async def frozen_session() -> int:
        connection = await asyncpg.connect(stack.environment()["LIVESTREAM_POSTGRES_DSN"])
        pid: int = await connection.fetchval("SELECT pg_backend_pid()")
        os.kill(pid, signal.SIGSTOP)
        connection.terminate()
        return pid

    session = asyncio.run(frozen_session())
    stack.kill("postgres")
    waking = threading.Timer(1.0, os.kill, (session, signal.SIGCONT))
    waking.start()
    try:
        stack.up(["postgres"], say=lambda _: None)
    finally:
        waking.join()
    assert [status.state for status in stack.status() if status.name == "postgres"] == ["running"]


def test_starting_again_changes_nothing_and_stopping_keeps_ports_and_secrets(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("redis", "nginx")
    settings, pids = stack.environment(), [stack.pid(part) for part in ("redis", "nginx")]
    said: list[str] = []
    stack.up(["redis", "nginx"], say=said.append)
    assert [stack.pid(part) for part in ("redis", "nginx")] == pids
    assert all("runs already" in line for line in said)
    stack.down()
    assert {status.state for status in stack.status()} == {"stopped"}
    assert Stack(stack.directory).environment() == settings


def test_a_frozen_part_is_unhealthy_and_the_next_start_continues_it(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("redis")
    pid = stack.pid("redis")
    os.kill(pid, signal.SIGSTOP)
    assert {status.state for status in stack.status() if status.name == "redis"} == {"unhealthy"}
    stack.start("redis")
    assert stack.pid("redis") == pid
    assert {status.state for status in stack.status() if status.name == "redis"} == {"running"}


def test_a_part_that_cannot_start_is_reported_with_the_end_of_its_log(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("postgres")
    stack.stop("postgres")
    with (stack.directory / "postgres/data/postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(PartFailed, match="no_such_setting") as failure:
        stack.start("postgres")
    assert failure.value.part == "postgres"
    assert "next:" in str(failure.value)


def foreign_program(port: int) -> socket.socket:
    """Something that listens; connections of the part that had the port before may still linger."""
    return socket.create_server(("127.0.0.1", port))


def test_a_foreign_program_in_the_way_moves_a_stack_that_is_down(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("redis")
    before = stack.ports
    stack.down()
    with foreign_program(before["redis"]):
        stack.up(["redis"], say=lambda _: None)
    assert stack.ports.base > before.base


def test_a_foreign_program_in_the_way_of_a_running_stack_is_named(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("redis")
    with foreign_program(stack.ports["minio"]), pytest.raises(PortsTaken, match="minio"):
        stack.up(["minio"], say=lambda _: None)


def test_no_secret_is_in_a_command_line_or_a_readable_file(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("postgres", "redis", "minio", "nginx")
    secrets = json.loads((stack.directory / "secrets.json").read_text()).values()
    for part in ("postgres", "redis", "minio", "nginx"):
        command_line = Path(f"/proc/{stack.pid(part)}/cmdline").read_text()
        assert not [secret for secret in secrets if secret in command_line]
    for folder, _, names in os.walk(stack.directory):
        for path in (Path(folder, name) for name in names):
            with suppress(FileNotFoundError):  # what engines write for a moment
                if path.is_file() and path.stat().st_mode & 0o077 and path.stat().st_size < 1_000_000:
                    content = path.read_bytes()
                    assert not [secret for secret in secrets if secret.encode() in content], path


def test_a_running_part_whose_configuration_has_changed_is_restarted(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("nginx", "redis")
    before = {part: stack.pid(part) for part in ("nginx", "redis")}
    secrets_file = stack.directory / "secrets.json"
    secrets_file.write_text(json.dumps({**json.loads(secrets_file.read_text()), "ingest_secret": "another"}))
    Stack(stack.directory).up(["nginx", "redis"], say=lambda _: None)
    assert stack.pid("nginx") != before["nginx"]
    assert stack.pid("redis") == before["redis"]


# --- solo, and addresses that were asked for --------------------------------------------------------------------------


def test_solo_runs_keeps_what_it_has_and_comes_back_after_a_kill(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("postgres", "redis", "nginx", "solo", profile="solo")
    assert {status.name: status.state for status in stack.status()} == dict.fromkeys(stack.parts, "running")

    async def accounts() -> object:
        connection = await asyncpg.connect(stack.environment()["LIVESTREAM_POSTGRES_DSN"])
        try:
            return await connection.fetchval("SELECT count(*) FROM accounts.users")
        finally:
            await connection.close()

    register(stack)
    for part in stack.parts:
        stack.kill(part)
    assert {status.state for status in stack.status()} == {"stopped"}
    stack.up(stack.parts, say=lambda _: None)
    assert asyncio.run(accounts()) == 1


def register(stack: Stack) -> None:
    """Register somebody through the edge."""
    person = json.dumps({"username": "ann", "password": "correct horse battery"}).encode()
    request = urllib.request.Request(  # noqa: S310  a loopback address of ours
        f"{stack.environment()['LIVESTREAM_PUBLIC_URL']}/api/auth/register",
        person,
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  that address
        assert answer.status == 201


def test_some_parts_of_solo_may_be_left_to_others(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("nginx", profile="solo")
    assert {status.name for status in stack.status() if status.state == "running"} == {"nginx"}
    stack.up(["nginx", "redis"], say=lambda _: None)
    assert {status.name for status in stack.status() if status.state == "running"} == {"nginx", "redis"}


def test_the_edge_and_ingest_listen_where_they_are_asked_to(own_stack: Callable[..., Stack]) -> None:
    http, rtmp = free_port(), free_port()
    listen = Listen(http=f"127.0.0.1:{http}", rtmp=f"127.0.0.2:{rtmp}")
    stack = own_stack("nginx", profile="solo", listen=listen)
    shown = {str(address) for status in stack.status() if status.name == "nginx" for address in status.addresses}
    assert {f"127.0.0.1:{http}", f"127.0.0.2:{rtmp}"} < shown
    push = urlsplit(stack.environment()["LIVESTREAM_STREAMING_INGEST_PUSH_URL"])
    for place in (("127.0.0.1", http), ("127.0.0.2", rtmp), (push.hostname, push.port)):
        socket.create_connection(place, 5).close()
    for port in (stack.ports["edge"], rtmp):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)


@pytest.mark.parametrize("use", ["HTTP", "RTMP"])
def test_an_address_that_was_asked_for_and_is_taken_is_told_in_one_line(
    own_stack: Callable[..., Stack], use: str
) -> None:
    free, taken = free_port(), free_port()
    with foreign_program(taken), pytest.raises(AddressTaken, match=f"{use}.*port {taken} is in use") as told:
        asked = {"HTTP": (taken, free), "RTMP": (free, taken)}[use]
        listen = Listen(http=f"127.0.0.1:{asked[0]}", rtmp=f"127.0.0.1:{asked[1]}")
        own_stack("nginx", profile="solo", listen=listen)
    assert "\n" not in str(told.value)


def test_the_command_line_says_it_and_exits_1(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("redis", profile="solo")
    argv = [sys.executable, "-m", "deploy.local", "--profile", "solo", "--directory", str(stack.directory)]
    with foreign_program(stack.ports["postgres"]):
        done = subprocess.run([*argv, "up", "postgres"], capture_output=True, text=True, check=False, cwd=CHECKOUT)
    assert done.returncode == 1
    assert f"port {stack.ports['postgres']} of postgres is taken" in done.stderr
    assert "Traceback" not in done.stderr
    assert subprocess.run([*argv, "down"], check=False, cwd=CHECKOUT, capture_output=True).returncode == 0
    assert {status.state for status in stack.status()} == {"stopped"}
