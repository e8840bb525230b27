"""The small parts of the bus: partition choice, kinds of failure, subscriptions, topic drift, dead letter ids."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import redis.exceptions

from eventbus.bus import Headers, Message
from eventbus.bus_memory import MemoryBus
from eventbus.consume import Subscription, Transient, Unprocessable
from eventbus.dead_letters import DeadLetters, NoSuchDeadLetter, NotReplayable, dead_letter_record
from eventbus.failures import FailureKind, failure_kind
from eventbus.housekeeping import INBOX_KEEP
from eventbus.kafka_producer import partition_for
from eventbus.outbox import Transaction, headers_from_json, headers_to_json
from eventbus.topics_kafka import TopicState, drift_of, wanted_configuration
from events import DEAD_LETTERS, TOPICS, AccountRegistered, Envelope, StreamStarted


async def ignore(transaction: Transaction, envelope: Envelope[AccountRegistered]) -> None:
    """Handle nothing."""


@pytest.mark.parametrize(
    ("key", "partitions", "partition"),
    # Computed with the Java client's Utils.toPositive(Utils.murmur2(key)) % partitions.
    [
        (b"", 7, 275646681 % 7),
        (b"21", 12, (-973932308 & 0x7FFFFFFF) % 12),
        (b"foobar", 3, (-790332482 & 0x7FFFFFFF) % 3),
    ],
)
def test_a_key_lies_where_every_kafka_client_puts_it(key: bytes, partitions: int, partition: int) -> None:
    assert partition_for(key, partitions) == partition


def test_records_without_a_key_spread() -> None:
    assert {partition_for(None, 4) for _ in range(200)} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Transient("later"), FailureKind.TRANSIENT),
        (asyncpg.DeadlockDetectedError("x"), FailureKind.TRANSIENT),
        (asyncpg.SerializationError("x"), FailureKind.TRANSIENT),
        (Unprocessable("never"), FailureKind.UNPROCESSABLE),
        (ConnectionResetError("x"), FailureKind.OUTAGE),
        (TimeoutError(), FailureKind.OUTAGE),
        (asyncpg.CannotConnectNowError("x"), FailureKind.OUTAGE),
        (asyncpg.AdminShutdownError("x"), FailureKind.OUTAGE),
        (asyncpg.InterfaceError("connection is closed"), FailureKind.OUTAGE),
        (asyncpg.DiskFullError("x"), FailureKind.OUTAGE),
        (redis.exceptions.ConnectionError("x"), FailureKind.OUTAGE),
        (redis.exceptions.TimeoutError("x"), FailureKind.OUTAGE),
        (asyncpg.UniqueViolationError("x"), FailureKind.UNKNOWN),
        (asyncpg.InterfaceError("wrong number of arguments"), FailureKind.UNKNOWN),
        (PermissionError("x"), FailureKind.UNKNOWN),
        (KeyError("x"), FailureKind.UNKNOWN),
    ],
)
def test_every_error_has_its_kind(error: Exception, kind: FailureKind) -> None:
    assert failure_kind(error) is kind


def test_a_subscription_listens_to_the_topics_of_its_events() -> None:
    subscription = Subscription("notify-all", {AccountRegistered: ignore, StreamStarted: ignore})
    assert subscription.topics == ("accounts.v1", "streams.v1")


@pytest.mark.parametrize("bound", ["batch_messages_max", "attempts_max", "transient_attempts_max"])
def test_a_subscription_without_a_bound_is_refused(bound: str) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Subscription("g", {AccountRegistered: ignore}, **{bound: 0})


def test_a_subscription_without_handlers_is_refused() -> None:
    with pytest.raises(ValueError, match="no handlers"):
        Subscription("g", {})


def test_headers_survive_the_outbox() -> None:
    headers = (("ce_id", b"1"), ("ce_subject", "Zürich".encode()))
    assert headers_from_json(headers_to_json(headers)) == headers


def test_the_inbox_outlives_every_possible_replay() -> None:
    longest = max(topic.retention for topic in TOPICS if topic is not DEAD_LETTERS)
    assert longest + DEAD_LETTERS.retention < INBOX_KEEP


def test_drift_is_said_in_sentences() -> None:
    topic = TOPICS[0]
    right = TopicState(topic.name, topic.partitions, wanted_configuration(topic))
    assert drift_of(topic, right) == ()
    wrong = TopicState(topic.name, topic.partitions + 1, wanted_configuration(topic) | {"retention.ms": "1"})
    week_ms = int(timedelta(days=7).total_seconds() * 1000)
    assert drift_of(topic, wrong) == (
        f"has {topic.partitions + 1} partitions, the contract says {topic.partitions}",
        f"retention.ms is 1, the contract says {week_ms}",
    )


@pytest.mark.parametrize("asked", ["", "0", "0:9", "x:1", "0:-1", "0:1:2"])
async def test_an_id_that_is_none_is_said_so(asked: str) -> None:
    bus = MemoryBus({DEAD_LETTERS.name: 1})
    with pytest.raises(NoSuchDeadLetter):
        await DeadLetters(bus).find(asked)


async def test_a_letter_without_its_value_is_not_replayed() -> None:
    bus = MemoryBus({DEAD_LETTERS.name: 1, "accounts.v1": 1})
    message = Message("accounts.v1", b"k", b"v", (), 0, 41, 0)
    await bus.publish(
        [
            dead_letter_record(
                message, group="g", error=ValueError("x" * 5000), attempts=1, at=datetime.now(UTC), with_value=False
            )
        ]
    )
    letter = await DeadLetters(bus).find("0:0")
    assert len(letter.error_text) == 1000
    with pytest.raises(NotReplayable, match="offset 41"):
        await DeadLetters(bus).replay([letter])


async def test_letters_can_be_chosen_by_group_and_topic() -> None:
    bus = MemoryBus({DEAD_LETTERS.name: 1})
    for group, topic in (("a", "accounts.v1"), ("b", "accounts.v1"), ("a", "streams.v1")):
        message = Message(topic, None, None, (), 0, 0, 0)
        await bus.publish(
            [dead_letter_record(message, group=group, error=ValueError("x"), attempts=1, at=datetime.now(UTC))]
        )
    dead = DeadLetters(bus)
    assert [letter.id for letter in await dead.all(group="a")] == ["0:0", "0:2"]
    assert [letter.id for letter in await dead.all(group="a", topic="streams.v1")] == ["0:2"]


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ((), dict),
        ((("ce_type", b"stream.started"), ("ce_source", "/café".encode())), dict),
        ((("twice", b"1"), ("once", b"2"), ("twice", b"3")), list),
        ((("bytes", b"\xff\x00\xfe"), ("text", b"t")), list),
        ((("nul", b"a\x00b"),), list),
    ],
)
def test_headers_are_kept_whole_and_readable_where_they_can_be(headers: Headers, kind: type) -> None:
    kept = headers_to_json(headers)
    assert isinstance(json.loads(kept), kind)
    assert "\\u0000" not in kept, "jsonb refuses it"
    assert headers_from_json(kept) == headers


def test_a_process_on_postgres_loads_no_kafka_client() -> None:
    program = (
        "import sys, eventbus.bus_configured, eventbus.bus_postgres, eventbus.consume, console.topics, console.groups,"
        " console.dead_letters; sys.exit(any(name.startswith('aiokafka') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
