"""The engines that the local stack and the test fixtures give are real, isolated and survive what they must."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from deploy.local import Stack
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
