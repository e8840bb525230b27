"""Making the topics of the contract in Kafka, and saying where what is there differs from it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidReplicationFactorError, KafkaError, TopicAlreadyExistsError, for_code

from eventbus.bus import BusUnavailable
from eventbus.kafka_names import Names
from eventbus.settings import KafkaSettings
from events import Topic
from runtime.waiting import wait_for

REQUEST_TIMEOUT_MS = 10_000
REPLICAS_MAX = 3
"""Copies of a partition where there are as many brokers; otherwise one on each."""

VISIBLE_TIMEOUT_SECONDS = 15.0
VISIBLE_POLL_SECONDS = 0.1
UNFENCED_TIMEOUT_SECONDS = 30.0
UNFENCED_POLL_SECONDS = 0.25
NO_ERROR = 0


class TopicRefused(Exception):
    """Kafka does not make a topic. ``topic`` and ``reason`` say which and why."""

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"Kafka refuses topic {topic}: {reason}")
        self.topic = topic
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is in Kafka."""

    name: str
    partitions: int
    configuration: dict[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """What making did to one topic: ``created``, ``partitions added`` or ``unchanged``; and how it still differs."""

    topic: str
    done: str
    drift: tuple[str, ...]


def wanted_configuration(topic: Topic) -> dict[str, str]:
    """The topic-level settings that follow from the contract."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(int(topic.retention.total_seconds() * 1000)),
        "message.timestamp.type": "CreateTime",
    }


def drift_of(topic: Topic, state: TopicState) -> tuple[str, ...]:
    """How ``state`` differs from the contract, a sentence each."""
    drift = []
    if state.partitions != topic.partitions:
        drift.append(f"has {state.partitions} partitions, the contract says {topic.partitions}")
    for name, wanted in wanted_configuration(topic).items():
        actual = state.configuration.get(name)
        if actual != wanted:
            drift.append(f"{name} is {actual}, the contract says {wanted}")
    return tuple(drift)


class KafkaTopics:
    """The topics of an installation. Made by ``open_topics``."""

    def __init__(self, admin: AIOKafkaAdminClient, names: Names) -> None:
        self._admin = admin
        self._names = names

    async def states(self, topics: Iterable[Topic]) -> dict[str, TopicState]:
        """Those of ``topics`` that exist, by name. Raises BusUnavailable."""
        wanted = {self._names.there(topic.name): topic.name for topic in topics}
        try:
            described = await self._admin.describe_topics(None)
            present = {one["topic"]: len(one["partitions"]) for one in described if one["topic"] in wanted}
            configurations = await self._configurations(list(present))
        except KafkaError as error:
            raise BusUnavailable(f"cannot ask for topics: {error!r}") from error
        return {
            wanted[there]: TopicState(wanted[there], partitions, configurations.get(there, {}))
            for there, partitions in present.items()
        }

    async def make(self, topics: Sequence[Topic]) -> list[Change]:
        """Create what is missing and add missing partitions; settings that differ are reported, not changed.

        Safe to repeat and to run from several places at once. Raises BusUnavailable, TopicRefused.
        """
        before = await self.states(topics)
        try:
            await self._create([topic for topic in topics if topic.name not in before])
            await self._grow(
                [topic for topic in topics if topic.name in before and before[topic.name].partitions < topic.partitions]
            )
        except KafkaError as error:
            raise BusUnavailable(f"cannot make topics: {error!r}") from error
        after = await self._visible(topics)
        return [Change(topic.name, _done(topic, before, after), drift_of(topic, after[topic.name])) for topic in topics]

    async def _create(self, topics: Sequence[Topic]) -> None:
        deadline = time.monotonic() + UNFENCED_TIMEOUT_SECONDS
        while topics:
            topics = await self._create_now(topics, patient=time.monotonic() < deadline)
            if topics:
                await asyncio.sleep(UNFENCED_POLL_SECONDS)

    async def _create_now(self, topics: Sequence[Topic], *, patient: bool) -> Sequence[Topic]:
        """Create ``topics``; answers those that must wait for the brokers to be let in, while ``patient``."""
        waiting = []
        brokers = len((await self._admin.describe_cluster())["brokers"])
        response = await self._admin.create_topics(
            [
                NewTopic(
                    self._names.there(topic.name),
                    topic.partitions,
                    min(brokers, REPLICAS_MAX),
                    topic_configs=wanted_configuration(topic),
                )
                for topic in topics
            ]
        )
        for name, code, *reason in response.topic_errors:
            error = for_code(code)
            # A broker that has just started is fenced for a moment: it answers, and may not hold partitions yet.
            if patient and error is InvalidReplicationFactorError:
                waiting.append(self._names.here(name))
            elif code != NO_ERROR and error is not TopicAlreadyExistsError:
                raise TopicRefused(self._names.here(name), f"{error.__name__} {reason[0] if reason else ''}".strip())
        return [topic for topic in topics if topic.name in waiting]

    async def _grow(self, topics: Sequence[Topic]) -> None:
        # Keys move to other partitions when their number grows: order holds within what is said from then on.
        for topic in topics:
            await self._admin.create_partitions({self._names.there(topic.name): NewPartitions(topic.partitions)})

    async def _visible(self, topics: Sequence[Topic]) -> dict[str, TopicState]:
        """The states, once every topic is known with its partitions: brokers learn of a new topic a moment later."""
        async with asyncio.timeout(VISIBLE_TIMEOUT_SECONDS):
            while True:
                states = await self.states(topics)
                if all(topic.name in states and states[topic.name].partitions >= topic.partitions for topic in topics):
                    return states
                await asyncio.sleep(VISIBLE_POLL_SECONDS)

    async def _configurations(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        responses = await self._admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        )
        return {
            name: {entry[0]: entry[1] for entry in entries}
            for response in responses
            for _code, _reason, _type, name, entries in response.resources
        }


def _done(topic: Topic, before: dict[str, TopicState], after: dict[str, TopicState]) -> str:
    if topic.name not in before:
        return "created"
    return "partitions added" if after[topic.name].partitions > before[topic.name].partitions else "unchanged"


@asynccontextmanager
async def open_topics(settings: KafkaSettings) -> AsyncIterator[KafkaTopics]:
    """The topics behind ``settings``; waits for Kafka, saying so."""
    admin = await wait_for("kafka", lambda: _connect(settings))
    try:
        yield KafkaTopics(admin, Names(settings.kafka_topic_prefix))
    finally:
        await admin.close()


async def _connect(settings: KafkaSettings) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        client_id="livestream-topics",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    try:
        await admin.start()
    except KafkaError as error:
        await admin.close()
        raise BusUnavailable(f"cannot connect to Kafka at {settings.kafka_bootstrap_servers}: {error!r}") from error
    return admin
