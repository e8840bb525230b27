"""Topics are made although the broker has only just started: it answers before it may hold partitions."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import InvalidReplicationFactorError, PolicyViolationError

from eventbus import topics_kafka
from eventbus.kafka_names import Names
from eventbus.topics_kafka import KafkaTopics, TopicRefused
from events.topics import ACCOUNTS, STREAMS


class JustStarted:
    """A Kafka admin client whose broker refuses ``STREAMS`` with an error for the first few times."""

    def __init__(self, error: type[Exception], refusals: int) -> None:
        self.asked: list[list[str]] = []
        self._code = error.errno  # type: ignore[attr-defined]  # Kafka's errors have one
        self._refusals = refusals
        self._made: dict[str, int] = {}

    async def describe_cluster(self) -> dict[str, Any]:
        return {"brokers": [{}]}

    async def describe_topics(self, _: None) -> list[dict[str, Any]]:
        return [{"topic": name, "partitions": [{}] * count} for name, count in self._made.items()]

    async def describe_configs(self, _: object) -> list[Any]:
        return []

    async def create_topics(self, topics: Sequence[Any]) -> SimpleNamespace:
        self.asked.append([topic.name for topic in topics])
        refused = len(self.asked) <= self._refusals
        errors = []
        for topic in topics:
            code = self._code if refused and topic.name == STREAMS.name else 0
            errors.append((topic.name, code, "why"))
            if code == 0:
                self._made[topic.name] = topic.num_partitions
        return SimpleNamespace(topic_errors=errors)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_kafka, "UNFENCED_POLL_SECONDS", 0.001)


async def test_a_fenced_broker_is_waited_for_and_only_what_is_missing_is_asked_again() -> None:
    admin = JustStarted(InvalidReplicationFactorError, refusals=2)
    made = await KafkaTopics(cast(AIOKafkaAdminClient, admin), Names("")).make([ACCOUNTS, STREAMS])
    assert [change.done for change in made] == ["created", "created"]
    assert admin.asked == [[ACCOUNTS.name, STREAMS.name], [STREAMS.name], [STREAMS.name]]


async def test_a_broker_that_stays_fenced_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_kafka, "UNFENCED_TIMEOUT_SECONDS", 0.02)
    admin = JustStarted(InvalidReplicationFactorError, refusals=1_000_000)
    with pytest.raises(TopicRefused, match="InvalidReplicationFactorError why"):
        await KafkaTopics(cast(AIOKafkaAdminClient, admin), Names("")).make([STREAMS])


async def test_any_other_refusal_is_told_at_once() -> None:
    admin = JustStarted(PolicyViolationError, refusals=1_000_000)
    with pytest.raises(TopicRefused, match=STREAMS.name):
        await KafkaTopics(cast(AIOKafkaAdminClient, admin), Names("")).make([STREAMS])
    assert len(admin.asked) == 1
