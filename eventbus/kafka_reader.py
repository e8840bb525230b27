"""Reading a topic from end to end without a group, for commands that look at what is there."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from eventbus.bus import BusUnavailable, Message, UnknownTopic
from eventbus.kafka_names import Names

START_TIMEOUT_SECONDS = 10.0
SILENCE_SECONDS_MAX = 10.0
REQUEST_TIMEOUT_MS = 5_000
FETCH_TIMEOUT_MS = 500
FETCH_WAIT_MS_MAX = 20
"""How long the broker holds an empty fetch: the first begins before it is known where to read, and blocks the next."""


async def read_topic(servers: str, names: Names, topic: str, start: Mapping[int, int] | None) -> AsyncIterator[Message]:
    """See ``EventBus.read``."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        client_id="livestream-reader",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        fetch_max_wait_ms=FETCH_WAIT_MS_MAX,
    )
    try:
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            await consumer.start()
            places, ends = await _places(consumer, names.there(topic), topic, start)
        async for message in _messages(consumer, topic, places, ends):
            yield message
    except (KafkaError, OSError) as error:
        raise (
            error if isinstance(error, BusUnavailable) else BusUnavailable(f"cannot read {topic}: {error!r}")
        ) from error
    finally:
        await consumer.stop()


async def _places(
    consumer: AIOKafkaConsumer, kafka_topic: str, topic: str, start: Mapping[int, int] | None
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    cluster = await consumer._client.fetch_all_metadata()
    numbers = cluster.partitions_for_topic(kafka_topic)
    if not numbers:
        raise UnknownTopic(topic)
    wanted = [TopicPartition(kafka_topic, number) for number in numbers if start is None or number in start]
    if not wanted:
        return {}, {}
    consumer.assign(wanted)
    begins = await consumer.beginning_offsets(wanted)
    ends = await consumer.end_offsets(wanted)
    places = {place: max(begins[place], 0 if start is None else start[place.partition]) for place in wanted}
    return {place: offset for place, offset in places.items() if offset < ends[place]}, ends


async def _messages(
    consumer: AIOKafkaConsumer, topic: str, places: dict[TopicPartition, int], ends: dict[TopicPartition, int]
) -> AsyncIterator[Message]:
    loop = asyncio.get_running_loop()
    for place, offset in places.items():
        consumer.seek(place, offset)
    unread = set(places)
    heard_at = loop.time()
    while unread:
        fetched = await consumer.getmany(*unread, timeout_ms=FETCH_TIMEOUT_MS)
        if fetched:
            heard_at = loop.time()
        elif loop.time() - heard_at > SILENCE_SECONDS_MAX:
            raise BusUnavailable(f"no answer for {SILENCE_SECONDS_MAX:g} s while reading {topic}")
        for place, records in fetched.items():
            for r in records:
                if r.offset < ends[place]:
                    yield Message(topic, r.key, r.value, r.headers, place.partition, r.offset, r.timestamp)
        # Positions, not the last record's offset, tell the end: retention leaves gaps.
        unread = {place for place in unread if await consumer.position(place) < ends[place]}
