"""The engines that the local stack and the test fixtures give are real, isolated and survive what they must."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from deploy.local import PartFailed, Stack
from deploy.local.errors import PortsTaken
from tests.engines import S3, Database


async def test_a_test_database_has_every_schema_and_is_its_own(database: Database) -> None:
    connection = await asyncpg.connect(database.url)
    try:
        schemas = {row["nspname"] for row in await connection.fetch("SELECT nspname FROM pg_namespace")}
        assert {"accounts", "streaming", "chat", "notify", "archive"} <= schemas
        assert await connection.fetchval("SELECT current_database()") == database.name
        assert await connection.fetchval("SHOW fsync") == "on"
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
    for path in stack.directory.rglob("*"):
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
