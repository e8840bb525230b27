"""Two gateways, one room: messages flow both ways, and the death of a gateway costs nobody a message."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from chat.rooms.rooms import SWEEP_SECONDS
from chat.sockets.closecodes import CloseCode
from eventbus.bus import Record
from eventbus.bus_kafka import open_bus
from eventbus.settings import KafkaSettings
from events import AccountDeleted, AccountRegistered, Envelope, Event, StreamEnded, StreamStarted, encode, topic_of
from events.streams import EndReason
from runtime.ids import uuid7
from runtime.postgres import connect
from tests import engines
from tests.integration.chat.gateways import Client, Gateway, Person, Site, eventually


async def test_messages_flow_between_gateways_in_one_order(site: Site, streamer: Person) -> None:
    one, other = await asyncio.gather(site.start(), site.start())
    people = [site.client(streamer.user_id, Person(f"p{number}")) for number in range(6)]
    for number, client in enumerate(people):
        await client.join((one, other)[number % 2])
    for number in range(20):
        for index, client in enumerate(people):
            await client.send(f"c{number}", f"{index}-{number}")
    await eventually(lambda: all(len(client.seen) == 120 for client in people))
    assert all(client.seen == people[0].seen for client in people)
    assert all(client.offsets == list(range(1, 121)) for client in people)
    # What is said may be heard before its sender is answered.
    await eventually(lambda: all(client.kinds().count("accepted") == 20 for client in people))
    for index in range(6):
        own = [text for text in people[0].seen if text.startswith(f"{index}-")]
        assert own == [f"{index}-{number}" for number in range(20)]


async def test_a_killed_gateway_costs_nobody_a_message(site: Site, streamer: Person) -> None:
    """Clients of a gateway that dies go to another one, or to its successor, with their last position."""
    doomed, stays = await asyncio.gather(site.start(), site.start())
    speaker = site.client(streamer.user_id, Person("speaker"))
    await speaker.join(stays)
    listeners = [site.client(streamer.user_id) for _ in range(12)]
    for client in listeners:
        await client.join(doomed)
    await _talk(speaker, 1, 30)
    await eventually(lambda: all(len(client.seen) > 20 for client in listeners))
    talking = asyncio.create_task(_talk(speaker, 31, 60))
    await doomed.kill()
    await eventually(lambda: all(client.gone for client in listeners))
    for client in listeners[:6]:
        await client.join(stays)
    await talking
    successor = await site.start(doomed.port)
    talking = asyncio.create_task(_talk(speaker, 91, 60))
    for client in listeners[6:]:
        await client.join(successor)
    await talking
    await eventually(lambda: all(len(client.seen) >= 150 for client in [speaker, *listeners]))
    for client in listeners:
        assert client.offsets == list(range(1, 151))
        assert client.recoveries == [True]


async def _talk(speaker: Client, first: int, count: int) -> None:
    for number in range(first, first + count):
        await speaker.send(f"c{number}", f"t{number}")
        await asyncio.sleep(0.01)


async def test_a_stopped_gateway_sends_its_clients_away_and_exits_well(site: Site, streamer: Person) -> None:
    one, other = await asyncio.gather(site.start(), site.start())
    clients = [site.client(streamer.user_id, Person(f"p{number}")) for number in range(20)]
    for client in clients:
        await client.join(one)
    assert (await clients[0].say("before", "before"))["type"] == "accepted"
    assert await one.stop() == 0, one.log.read_text()[-2_000:]
    await eventually(lambda: all(client.gone for client in clients))
    assert {client.close_code for client in clients} == {CloseCode.DRAINING}
    for client in clients:
        await client.join(other)
        assert client.seen == ["before"]
    await eventually(lambda: clients[0].recoveries == [True])


async def test_rooms_follow_accounts_and_streams_in_any_order(
    site: Site, kafka_bootstrap_servers: str, topic_prefix: str, database: engines.Database
) -> None:
    settings = KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap_servers, kafka_topic_prefix=topic_prefix)
    one, other = await asyncio.gather(site.start(), site.start())
    ann = Person("ann")
    first, second, now = uuid7(), uuid7(), datetime.now(UTC)

    def started(stream: object, minutes: int) -> Event:
        return StreamStarted.model_validate(
            {"stream_id": stream, "channel_id": ann.user_id, "channel_name": "ann", "title": "hello",
             "started_at": now + timedelta(minutes=minutes)}
        )  # fmt: skip

    def ended(stream: object, minutes: int) -> Event:
        return StreamEnded.model_validate(
            {"stream_id": stream, "channel_id": ann.user_id, "started_at": now + timedelta(minutes=minutes),
             "ended_at": now + timedelta(minutes=minutes + 1), "reason": EndReason.STREAMER}
        )  # fmt: skip

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await site.client(ann.user_id).join(one)
    async with open_bus(settings) as bus:

        async def say(*events: Event) -> None:
            for event in events:
                envelope = Envelope(id=uuid7(), source="test", time=now, event=event)
                key, value, headers = encode(envelope)
                await bus.publish([Record(topic_of(event).name, key, value, headers)])

        await say(AccountRegistered(user_id=ann.user_id, username="ann", registered_at=now))
        watchers = await _joined_when_there(site, ann, [one, other])
        await say(started(first, 1))
        await _told(watchers, [str(first)])
        # The end of the second overtakes its start; the first one's start comes again; none is live.
        await say(ended(second, 5), started(second, 5), started(first, 1), ended(first, 1))
        await _told(watchers, [str(first), None])  # before the next: changes that follow closely are told as one
        await say(started(third := uuid7(), 9))
        await _told(watchers, [str(first), None, str(third)])
        await say(ended(first, 1), ended(third, 9))
        await _told(watchers, [str(first), None, str(third), None])
        await say(AccountDeleted(user_id=ann.user_id, deleted_at=now))
        connection = await connect(database.dsn, schema="chat")
        found = "SELECT EXISTS (SELECT FROM rooms WHERE channel_id = $1 AND channel_name IS NULL)"
        await eventually(lambda: connection.fetchval(found, ann.user_id))
        await connection.close()
        # Sooner than gateways compare the versions of their rooms, which finds what a lost signal would have said.
        await eventually(lambda: all(client.gone for client in watchers), SWEEP_SECONDS / 2)
        assert [client.close_code for client in watchers] == [CloseCode.ROOM_GONE] * 2
        assert not CloseCode.ROOM_GONE.reconnect


async def _joined_when_there(site: Site, ann: Person, gateways: list[Gateway]) -> list[Client]:
    clients = [site.client(ann.user_id) for _ in gateways]
    for client, gateway in zip(clients, gateways, strict=True):

        async def joins(client: Client = client, gateway: Gateway = gateway) -> bool:
            try:
                async with asyncio.timeout(0.5):
                    await client.join(gateway)
            except TimeoutError:
                await client.leave()
                return False
            return True

        await eventually(joins)
    return clients


async def _told(clients: list[Client], expected: list[str | None]) -> None:
    def told(client: Client) -> list[str | None]:
        return [frame["live_stream_id"] for frame in client.frames if frame["type"] == "room"]

    try:
        await eventually(lambda: all(told(client) == expected for client in clients))
    except TimeoutError:
        assert [told(client) for client in clients] == [expected] * len(clients)


async def test_the_token_is_in_no_log(site: Site, streamer: Person) -> None:
    gateway = await site.start()
    person = Person("ann")
    token = site.accounts.token(person)
    client = Client(site.session, streamer.user_id, token)
    await client.join(gateway)
    await client.say("c1", "something private")
    await gateway.stop()
    log = gateway.log.read_text()
    assert token.split(".")[2] not in log
    assert "something private" not in log


def test_secret_settings_are_typed_as_secrets() -> None:
    from chat.settings import ChatSettings

    for name in ("redis_url", "postgres_dsn"):
        assert ChatSettings.model_fields[name].annotation is SecretStr
