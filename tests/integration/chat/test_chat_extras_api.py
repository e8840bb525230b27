"""The extras of a room over HTTP: what they do, whom they refuse, and with which words."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from chat.brokers.broker import Conditions
from chat.emotes.image import read_image
from chat.emotes.problems import TooManyEmotes
from chat.extras.pins import unpin_gone
from chat.log import store as log_store
from chat.log.store import LoggedMessage
from chat.presence.presence import Present
from chat.rooms.entries import Deleted, Mention, RepliedTo, Said, message_body, to_body
from chat.speaking.speaking import Saying, Speaker
from chat.speaking.standing import Standing
from runtime.ids import uuid7
from runtime.objects_disk import DiskObjects
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from runtime.tokens import Caller
from tests.contract.held_client import Anything
from tests.engines import Database
from tests.integration.chat.extras_world import (
    EMOTES_MAX,
    World,
    disk_directory,
    know,
    open_world,
    picture,
    token_of,
)
from tests.integration.chat.gateways import Person, eventually


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    settings = PostgresSettings(postgres_dsn=database.dsn, postgres_connections_max=5)
    async with open_pool(settings, schema="chat") as made:
        yield made


@pytest.fixture
async def world(pool: Pool, tmp_path: Path) -> AsyncIterator[World]:
    async with DiskObjects(disk_directory(tmp_path)) as objects, open_world(pool, objects) as made:
        yield made


async def refused_to_others(world: World, method: str, path: str, **rest: Anything) -> None:
    """Whoever neither streams nor moderates here is refused, and so is whoever is not logged in."""
    answer = await world.client.request(method, path, token=token_of(world.viewer), **rest)
    assert (answer.status, answer.problem) == (403, "not-a-moderator")
    other_streamer = Person("other")
    answer = await world.client.request(method, path, token=token_of(other_streamer), **rest)
    assert (answer.status, answer.problem) == (403, "not-a-moderator")
    assert (await world.client.request(method, path, **rest)).status == 401


# ------------------------------------------------------------------------------------------- the room


async def test_a_room_is_seen_by_everybody(world: World) -> None:
    room = await world.client.get(world.path)
    assert room.status == 200
    assert room.body["channel_name"] == "owner"
    assert (room.body["connections"], room.body["chatters"]) == (0, 0)
    assert (await world.client.get(f"/api/chat/{uuid4()}")).problem == "room-not-found"
    assert (await world.client.get("/api/chat/nonsense")).status == 422


async def test_chatters_are_listed_page_by_page_and_searched(world: World) -> None:
    people = [Present(uuid4(), f"user{number:02}") for number in range(7)]
    await world.presence.note({world.owner.user_id: [*people, Present(world.owner.user_id, "owner", "streamer")]})
    names: list[str] = []
    cursor = ""
    while True:
        page = await world.client.get(f"{world.path}/chatters?limit=3{cursor}")
        assert page.body["chatters"] == 8
        names += [item["username"] for item in page.body["items"]]
        if page.body["next_cursor"] is None:
            break
        cursor = f"&cursor={page.body['next_cursor']}"
    assert names == ["owner", *(one.username for one in people)]
    found = await world.client.get(f"{world.path}/chatters?q=OWN")
    assert [item["role"] for item in found.body["items"]] == ["streamer"]
    assert (await world.client.get(f"{world.path}/chatters?q=%20")).status == 422
    world.presence.away = True
    assert (await world.client.get(f"{world.path}/chatters")).status == 503
    room = await world.client.get(world.path)
    assert (room.status, room.body["chatters"]) == (200, None)


# ------------------------------------------------------------------------------------------- pins


async def publish(world: World, text: str, author: Person) -> str:
    message_id = uuid7()
    body = message_body(message_id, author.user_id, author.name, text, datetime.now(UTC))
    await world.broker.publish(world.owner.user_id, str(message_id), body, Conditions())
    return str(message_id)


async def pinned(world: World) -> str | None:
    message = (await world.facts()).pinned
    return None if message is None else message.text


async def test_moderators_pin_one_message_and_take_it_down(world: World) -> None:
    first, second = await publish(world, "first", world.viewer), await publish(world, "second", world.viewer)
    path = f"{world.path}/pin"
    await refused_to_others(world, "PUT", path, json={"message_id": first})
    for person, message_id in ((world.moderator, first), (world.owner, second)):
        answer = await world.client.put(path, token=token_of(person), json={"message_id": message_id})
        assert (answer.status, answer.body["message"]["message_id"]) == (200, message_id)
    assert await pinned(world) == "second"
    unknown = await world.client.put(path, token=token_of(world.owner), json={"message_id": str(uuid4())})
    assert (unknown.status, unknown.problem) == (404, "message-not-found")
    await refused_to_others(world, "DELETE", path)
    assert (await world.client.delete(path, token=token_of(world.moderator))).status == 204
    assert await pinned(world) is None
    assert (await world.client.delete(path, token=token_of(world.moderator))).problem == "nothing-pinned"


async def test_a_message_of_the_log_is_pinned_without_what_it_answered(world: World) -> None:
    room, old = world.owner.user_id, uuid7()
    replied = RepliedTo(message_id=uuid7(), user_id=uuid7(), username="ann", text="a secret")
    mention = Mention(user_id=uuid7(), username="ann")
    said = Said(
        message_id=old, user_id=world.viewer.user_id, username="viewer", text="long ago", sent_at=datetime.now(UTC),
        reply_to=replied, mentions=(mention,),
    )  # fmt: skip
    async with world.pool.acquire() as connection:
        await log_store.insert(connection, [LoggedMessage(room, "e1", 1, said, None)])
    body = {"message_id": str(old)}
    for away in (False, True):
        if away:
            world.server.go_away()
        answer = await world.client.put(f"{world.path}/pin", token=token_of(world.owner), json=body)
        assert (answer.status, answer.body["message"]["text"]) == (200, "long ago")
        assert (answer.body["message"]["reply_to"], len(answer.body["message"]["mentions"])) == (None, 1)
    unknown = await world.client.put(
        f"{world.path}/pin", token=token_of(world.owner), json={"message_id": str(uuid4())}
    )
    assert unknown.status == 503
    async with world.pool.acquire() as connection:
        await log_store.mark_deleted(connection, room, message_id=old, before=datetime.now(UTC), by=room)
    world.server.come_back()
    gone = await world.client.put(f"{world.path}/pin", token=token_of(world.owner), json=body)
    assert gone.problem == "message-not-found"


async def test_a_pin_comes_down_at_its_time_by_itself(world: World) -> None:
    message_id = await publish(world, "for a while", world.viewer)
    body = {"message_id": message_id, "seconds": 60}
    answer = await world.client.put(f"{world.path}/pin", token=token_of(world.owner), json=body)
    assert answer.body["ends_at"] is not None
    assert await world.deadlines.look() == 0
    before = await world.facts()
    await world.pool.execute("UPDATE pins SET ends_at = now()")
    assert await world.deadlines.look() == 1
    assert await pinned(world) is None
    assert (await world.facts()).version > before.version
    short = await world.client.put(f"{world.path}/pin", token=token_of(world.owner), json={**body, "seconds": 1})
    assert short.body["errors"][0]["field"] == "body.seconds"


async def test_what_is_deleted_is_not_pinned(world: World) -> None:
    message_id = await publish(world, "gone", world.viewer)
    token = token_of(world.owner)
    assert (await world.client.put(f"{world.path}/pin", token=token, json={"message_id": message_id})).status == 200
    async with world.pool.acquire() as connection:
        assert not await unpin_gone(connection, world.owner.user_id, user_id=world.owner.user_id)
        assert await unpin_gone(connection, world.owner.user_id, user_id=world.viewer.user_id)
    assert await pinned(world) is None
    body = to_body(Deleted(message_id=UUID(message_id)))
    await world.broker.publish(world.owner.user_id, "deletion", body, Conditions())
    answer = await world.client.put(f"{world.path}/pin", token=token, json={"message_id": message_id})
    assert answer.problem == "message-not-found"


# ------------------------------------------------------------------------------------------- polls

POLL = {"question": "Which game?", "options": ["Chess", "Go", "Nim"], "seconds": 60}


async def test_a_poll_takes_one_vote_a_person_until_its_end(world: World) -> None:
    path = f"{world.path}/polls"
    await refused_to_others(world, "POST", path, json=POLL)
    poll = (await world.client.post(path, token=token_of(world.moderator), json=POLL)).body
    assert [option["votes"] for option in poll["options"]] == [0, 0, 0]
    one = f"{path}/{poll['poll_id']}"
    for person, option in ((world.viewer, 0), (world.owner, 2), (world.viewer, 2), (world.viewer, 1)):
        answer = await world.client.put(f"{one}/votes", token=token_of(person), json={"option": option})
        assert answer.status == 204
    seen = (await world.client.get(one, token=token_of(world.viewer))).body
    assert [option["votes"] for option in seen["poll"]["options"]] == [0, 1, 1]
    assert seen["your_option"] == 1
    assert (await world.client.get(one)).body["your_option"] is None
    assert (await world.client.put(f"{one}/votes", json={"option": 0})).status == 401
    outside = await world.client.put(f"{one}/votes", token=token_of(world.viewer), json={"option": 3})
    assert (outside.status, outside.body["errors"][0]["field"]) == (422, "body.option")
    await refused_to_others(world, "POST", f"{one}/end")
    ended = await world.client.post(f"{one}/end", token=token_of(world.moderator))
    assert (ended.status, ended.body["ended"]) == (200, True)
    late = await world.client.put(f"{one}/votes", token=token_of(world.viewer), json={"option": 0})
    assert (late.status, late.problem) == (409, "poll-is-over")
    after = (await world.client.get(one, token=token_of(world.viewer))).body
    assert ([option["votes"] for option in after["poll"]["options"]], after["your_option"]) == ([0, 1, 1], 1)
    assert (await world.client.post(f"{one}/end", token=token_of(world.owner))).problem == "poll-is-over"
    elsewhere = f"/api/chat/{uuid4()}/polls/{poll['poll_id']}"
    assert (await world.client.get(elsewhere)).problem == "poll-not-found"
    missing = await world.client.put(f"{elsewhere}/votes", token=token_of(world.viewer), json={"option": 0})
    assert missing.problem == "poll-not-found"


async def test_who_is_silenced_has_no_vote(world: World) -> None:
    poll = (await world.client.post(f"{world.path}/polls", token=token_of(world.owner), json=POLL)).body
    votes = f"{world.path}/polls/{poll['poll_id']}/votes"
    ban = "INSERT INTO bans (channel_id, user_id, until, banned_by) VALUES ($1, $2, $3, $1)"
    await world.pool.execute(ban, world.owner.user_id, world.viewer.user_id, None)
    answer = await world.client.put(votes, token=token_of(world.viewer), json={"option": 0})
    assert (answer.status, answer.problem) == (403, "silenced-here")
    assert await world.pool.fetchval("SELECT count(*) FROM poll_votes") == 0
    await world.pool.execute("UPDATE bans SET until = now() - interval '1 s'")
    assert (await world.client.put(votes, token=token_of(world.viewer), json={"option": 0})).status == 204


async def test_one_poll_runs_at_a_time_and_the_next_may_follow_its_end_at_once(world: World) -> None:
    path, token = f"{world.path}/polls", token_of(world.owner)
    first = (await world.client.post(path, token=token, json=POLL)).body
    assert (await world.client.post(path, token=token, json=POLL)).problem == "poll-runs"
    await world.pool.execute("UPDATE polls SET ends_at = now()")  # it is over, and nobody has looked yet
    assert (await world.client.get(f"{path}/{first['poll_id']}")).body["poll"]["ended"] is True
    second = await world.client.post(path, token=token, json={**POLL, "options": ["Yes", "No"]})
    assert second.status == 201
    shown = (await world.facts()).poll
    assert shown is not None and str(shown.poll_id) == second.body["poll_id"]
    listed: list[str] = []
    cursor = ""
    while True:
        page = (await world.client.get(f"{path}?limit=1{cursor}")).body
        listed += [item["poll_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert listed == [second.body["poll_id"], first["poll_id"]]


async def test_a_poll_ends_and_goes_by_the_clock_of_the_database_alone(world: World) -> None:
    poll = (await world.client.post(f"{world.path}/polls", token=token_of(world.owner), json=POLL)).body
    assert await world.deadlines.look() == 0
    votes = f"{world.path}/polls/{poll['poll_id']}/votes"
    assert (await world.client.put(votes, token=token_of(world.viewer), json={"option": 1})).status == 204
    await world.pool.execute("UPDATE polls SET ends_at = now()")
    assert await world.deadlines.look() == 1
    shown = (await world.facts()).poll
    assert shown is not None and shown.ended
    assert await world.deadlines.look() == 0
    await world.pool.execute("UPDATE polls SET ended_at = now() - interval '15 s'")
    assert await world.deadlines.look() == 1
    assert (await world.facts()).poll is None
    (kept,) = (await world.client.get(f"{world.path}/polls")).body["items"]
    assert kept["poll_id"] == poll["poll_id"]
    assert [option["votes"] for option in kept["options"]] == [0, 1, 0]
    assert await world.pool.fetchval("SELECT result FROM polls") == [0, 1, 0]


async def test_however_many_vote_rooms_are_told_once_a_second_and_of_all(world: World) -> None:
    poll = (await world.client.post(f"{world.path}/polls", token=token_of(world.owner), json=POLL)).body
    cast = (
        "INSERT INTO poll_votes (poll_id, user_id, option) SELECT $1, gen_random_uuid(), 1 FROM generate_series(1, $2)"
    )
    await world.pool.execute("UPDATE polls SET told_at = now() - interval '1 s'")
    await world.pool.execute(cast, poll["poll_id"], 1_000)
    before = await world.pool.fetchval("SELECT now()")
    assert await world.deadlines.look() == 1
    assert await world.pool.fetchval("SELECT told_at >= $1 FROM polls", before)
    await world.pool.execute(cast, poll["poll_id"], 1)
    await world.pool.execute("UPDATE polls SET told_at = now() + interval '1 min'")  # told just now, however long ago
    assert await world.deadlines.look() == 0, "not before a second is over"
    await world.pool.execute("UPDATE polls SET told_at = now() - interval '1 s'")
    assert await world.deadlines.look() == 1
    shown = (await world.facts()).poll
    assert shown is not None and [option.votes for option in shown.options] == [0, 1_001, 0]
    await world.pool.execute("UPDATE poll_votes SET voted_at = now() - interval '10 s'")
    await world.pool.execute("UPDATE polls SET told_at = now() - interval '1 s'")
    assert await world.deadlines.look() == 0, "there is nothing new"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"options": ["one"]}, "body.options"),
        ({"options": [str(number) for number in range(11)]}, "body.options"),
        ({"options": ["same", "SAME "]}, "body.options"),
        ({"options": ["fine", "x" * 61]}, "body.options.1"),
        ({"question": "new\nline"}, "body.question"),
        ({"question": ""}, "body.question"),
        ({"seconds": 14}, "body.seconds"),
        ({"seconds": 1_801}, "body.seconds"),
    ],
)
async def test_polls_have_limits_that_refusals_name(world: World, changes: dict[str, object], field: str) -> None:
    answer = await world.client.post(f"{world.path}/polls", token=token_of(world.owner), json={**POLL, **changes})
    assert answer.status == 422
    assert answer.body["errors"][0]["field"] == field


# ------------------------------------------------------------------------------------------- emotes


async def test_an_emote_is_uploaded_listed_served_said_and_deleted(world: World) -> None:
    path = f"{world.path}/emotes"
    await refused_to_others(world, "POST", f"{path}?name=Wave", data=picture())
    for name, kind, frames in (("Wave", "PNG", 1), ("wave", "GIF", 3), ("Nod_1", "WEBP", 2)):
        answer = await world.client.post(
            f"{path}?name={name}", token=token_of(world.moderator), data=picture(kind, frames=frames)
        )
        assert answer.status == 201, answer.body
        emote = answer.body
        assert (emote["name"], emote["animated"], emote["width_px"]) == (name, frames > 1, 32)
        served = await world.client.get(emote["url"])
        assert served.status == 200
        assert served.headers["Content-Type"] == emote["content_type"] == f"image/{kind.lower()}"
        assert served.headers["X-Content-Type-Options"] == "nosniff"
        assert "immutable" in served.headers["Cache-Control"]
        image = Image.open(BytesIO(served.content))
        assert (image.format, image.size, getattr(image, "n_frames", 1)) == (kind, (32, 24), frames)
    listed = (await world.client.get(f"{path}?limit=2")).body
    rest = (await world.client.get(f"{path}?limit=2&cursor={listed['next_cursor']}")).body
    assert [item["name"] for item in (*listed["items"], *rest["items"])] == ["Nod_1", "Wave", "wave"]
    facts = await world.facts()
    assert set(facts.emotes) == {"Nod_1", "Wave", "wave"}
    await refused_to_others(world, "DELETE", f"{path}/Wave")
    assert (await world.client.delete(f"{path}/Wave", token=token_of(world.owner))).status == 204
    assert set((await world.facts()).emotes) == {"Nod_1", "wave"}
    assert (await world.client.get(facts.emotes["Wave"])).problem == "emote-not-found"
    assert (await world.client.delete(f"{path}/Wave", token=token_of(world.owner))).problem == "emote-not-found"
    keys = [stored.key async for stored in world.objects.list("emotes/")]
    assert sorted(keys) == sorted(url.replace("/api/chat/", "") for name, url in facts.emotes.items() if name != "Wave")


async def waiting_for_locks(pool: Pool, count: int) -> bool:
    """Whether so many connections to this database wait for what others have locked."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await pool.fetchval(waiting) == count)


async def test_names_are_a_channels_own_and_emotes_are_bounded(world: World) -> None:
    path, token = f"{world.path}/emotes", token_of(world.owner)
    for number in range(EMOTES_MAX - 1):
        assert (await world.client.post(f"{path}?name=emote{number}", token=token, data=picture())).status == 201
    taken = await world.client.post(f"{path}?name=emote0", token=token, data=picture())
    assert (taken.status, taken.problem) == (409, "emote-name-taken")
    image, owner = read_image(picture()), Caller(world.owner.user_id, "owner")
    async with world.pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute("SELECT FROM rooms FOR UPDATE")
            adding = [
                asyncio.create_task(world.emotes.add(owner, owner.user_id, f"racing{number}", image))
                for number in range(3)
            ]
            await eventually(lambda: waiting_for_locks(world.pool, 3))
        outcomes = await asyncio.gather(*adding, return_exceptions=True)
    assert sum(isinstance(outcome, TooManyEmotes) for outcome in outcomes) == 2, outcomes
    many = await world.client.post(f"{path}?name=another", token=token, data=picture())
    assert (many.problem, many.body["limit"]) == ("too-many-emotes", EMOTES_MAX)
    for bad in ("ab", "x" * 26, "a-b", "a%20b", "%C3%A4%C3%B6%C3%BC"):
        answer = await world.client.post(f"{path}?name={bad}", token=token, data=picture())
        assert (answer.status, answer.body["errors"][0]["field"]) == (422, "query.name")


async def test_nothing_but_the_picture_is_kept(world: World) -> None:
    about = PngInfo()
    about.add_text("Comment", "where I live")
    file = BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG", pnginfo=about, exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00")
    body = file.getvalue() + b"<script>alert(1)</script>"
    assert b"where I live" in body
    url = (await world.client.post(f"{world.path}/emotes?name=Home", token=token_of(world.owner), data=body)).body[
        "url"
    ]
    served = (await world.client.get(url)).content
    assert b"where I live" not in served and b"script" not in served and b"Exif" not in served
    assert Image.open(BytesIO(served)).size == (64, 64)


async def test_what_is_no_emote_is_refused_with_the_reason(world: World) -> None:
    path = f"{world.path}/emotes?name=Wave"
    huge = bytearray(picture())
    huge[16:24] = (60_000).to_bytes(4, "big") * 2
    webp = bytearray(picture("WEBP", frames=2))
    webp[24:30] = b"\xff\x3e\x00\xff\x3e\x00"  # it says that it has 16,128 pixels a side
    for body, reason in (
        (b"", "PNG, GIF or WebP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "PNG, GIF or WebP"),
        (picture("BMP"), "PNG, GIF or WebP"),
        (picture()[:60], "damaged"),
        (picture("GIF", frames=2)[:40], "damaged"),
        (picture(size=(129, 129)), "16 to 128"),
        (picture(size=(15, 15)), "16 to 128"),
        (picture(size=(128, 32)), "at most 3 times"),
        (bytes(huge), "16 to 128"),
        (bytes(webp), "16 to 128"),
        (picture("GIF", size=(16, 16), frames=101), "100 frames"),
    ):
        answer = await world.client.post(path, token=token_of(world.owner), data=body)
        assert (answer.status, answer.problem) == (422, "emote-image-refused"), body[:20]
        assert reason in answer.body["errors"][0]["message"]
    large = await world.client.post(path, token=token_of(world.owner), data=b"\x89PNG" + bytes(262_144))
    assert (large.status, large.problem) == (413, "payload-too-large")
    assert [stored async for stored in world.objects.list("emotes/")] == []


async def test_an_upload_that_died_leaves_no_image_and_no_row(world: World) -> None:
    answer = await world.client.post(f"{world.path}/emotes?name=Wave", token=token_of(world.owner), data=picture())
    await world.pool.execute("UPDATE emotes SET state = 'storing'")
    assert await world.emotes.settle_leftovers() == 0, "it may still be going on"
    await world.pool.execute("UPDATE emotes SET state_since = now() - interval '1 h'")
    assert await world.emotes.settle_leftovers() == 1
    assert [stored async for stored in world.objects.list("emotes/")] == []
    assert await world.pool.fetchval("SELECT count(*) FROM emotes") == 0
    assert answer.status == 201


# ------------------------------------------------------------------------------------------- what is said


async def say(world: World, person: Person, text: str) -> None:
    room = await world.room()
    await room.ready()
    speaker = Speaker(Caller(person.user_id, person.name), Standing())
    await world.speaking.say(room, speaker, Saying(str(uuid4()), text))


async def test_people_and_emotes_that_a_message_names_come_with_it(world: World) -> None:
    ann, bob = Person("ann"), Person("bob_2")
    await know(world.pool, ann, bob)
    upload = await world.client.post(f"{world.path}/emotes?name=Wave", token=token_of(world.owner), data=picture())
    room = await world.room()
    await eventually(lambda: "Wave" in room.facts.emotes)
    await say(world, world.viewer, "Wave @Ann, wave @bob_2! Wave@ann a@ann Waves @nobody_here Wave")
    (said,) = await world.said()
    assert [(mention.username, mention.user_id) for mention in said.mentions] == [
        ("ann", ann.user_id),
        ("bob_2", bob.user_id),
    ]
    (use,) = said.emotes
    assert (use.name, use.url) == ("Wave", upload.body["url"])
    assert [said.text[first:last] for first, last in use.places] == ["Wave", "Wave"]
    assert use.places[0] == (0, 4)


async def test_mentions_are_ten_at_most_and_nobody_waits_for_a_database_that_is_away(world: World) -> None:
    people = [Person(f"friend{number}") for number in range(12)]
    await know(world.pool, *people)
    await say(world, world.viewer, " ".join(f"@{person.name}" for person in people))
    assert len((await world.said())[-1].mentions) == 10
    await world.room()
    await world.pool.close()
    await say(world, world.viewer, "@somebody_else and @friend0")
    assert [mention.username for mention in (await world.said())[-1].mentions] == ["friend0"]


async def test_announcements_are_for_moderators_and_once_for_an_id(world: World) -> None:
    path = f"{world.path}/announcements"
    body = {"text": "Raid at nine", "id": "bot-1"}
    await refused_to_others(world, "POST", path, json=body)
    first = await world.client.post(path, token=token_of(world.owner), json=body)
    again = await world.client.post(path, token=token_of(world.owner), json=body)
    assert (first.status, again.status) == (201, 201)
    assert first.body == again.body
    (said,) = await world.said()
    assert (said.kind, said.text, said.username) == ("announcement", "Raid at nine", "owner")
    control = await world.client.post(path, token=token_of(world.owner), json={"text": "a\x07b"})
    assert (control.status, control.body["errors"][0]["field"]) == (422, "body.text")
    world.server.go_away()
    away = await world.client.post(path, token=token_of(world.owner), json={"text": "later"})
    assert away.status == 503
