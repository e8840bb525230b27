"""Each route with its owner, with somebody else, and without login; answers held to the OpenAPI document."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from notify import fanout_store, store
from notify.fanout_part import limits_of
from notify.fanout_settings import FanoutSettings
from notify.notices import Notice
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.contract.held_client import HeldClient
from tests.integration.notify.conftest import FOLLOWS_MAX
from tests.integration.notify.processes import Person, seed

ADA, BOB, EVE = Person("ada"), Person("bob"), Person("eve")
# seven streams in a row, each told of
LIMITS = limits_of(FanoutSettings(notify_fanouts_per_day_max=100, notify_cool_down_seconds=0))


@pytest.fixture(autouse=True)
async def ada_is_known(pool: Pool) -> None:
    await store.keep_person(pool, ADA.user_id, ADA.name)


def followers_of(person: Person) -> str:
    return f"/api/users/{person.user_id}/followers"


async def names(client: HeldClient, person: Person) -> list[str]:
    answer = await client.get(followers_of(person))
    assert answer.status == 200
    return [item["username"] for item in answer.body["items"]]


async def begun(pool: Pool, channel: Person, seconds_ago: int = 0) -> Notice:
    """A fan-out without pages, and its notice."""
    stream_id = uuid7()
    notice = Notice(
        notification_id=stream_id,
        stream_id=stream_id,
        channel_id=channel.user_id,
        channel_name=channel.name,
        title="t",
        created_at=datetime.now(UTC) - timedelta(seconds=seconds_ago),
    )
    async with pool.acquire() as connection:
        assert (await fanout_store.admit(connection, notice, LIMITS, is_live=False)).is_new
    return notice


async def put_into_inbox(pool: Pool, person: Person, notice: Notice) -> None:
    await pool.execute("INSERT INTO notices VALUES ($1, $2)", person.user_id, notice.notification_id)


async def test_following_twice_and_unfollowing_twice_is_one_of_each(client: HeldClient) -> None:
    for _ in range(2):
        assert (await client.put(f"{followers_of(ADA)}/me", token=BOB.token)).status == 204
    assert await names(client, ADA) == ["bob"]
    for _ in range(2):
        assert (await client.delete(f"{followers_of(ADA)}/me", token=BOB.token)).status == 204
    assert await names(client, ADA) == []


async def test_a_person_changes_only_their_own_following(client: HeldClient) -> None:
    await client.put(f"{followers_of(ADA)}/me", token=BOB.token)
    await client.put(f"{followers_of(ADA)}/me", token=EVE.token)
    assert (await client.delete(f"{followers_of(ADA)}/me", token=EVE.token)).status == 204
    assert await names(client, ADA) == ["bob"]


async def test_nobody_changes_anything_without_login(client: HeldClient) -> None:
    for method, path in (
        ("PUT", f"{followers_of(ADA)}/me"),
        ("DELETE", f"{followers_of(ADA)}/me"),
        ("GET", "/api/notifications"),
        ("GET", "/api/notifications/live"),
        ("GET", f"/api/fanouts/{uuid7()}"),
    ):
        assert (await client.request(method, path)).problem == "not-authenticated"
        assert (await client.request(method, path, token="nobody")).status == 401


async def test_only_known_people_are_followed_and_listed(client: HeldClient) -> None:
    assert (await client.put(f"{followers_of(EVE)}/me", token=BOB.token)).problem == "user-not-found"
    assert (await client.get(followers_of(EVE))).problem == "user-not-found"
    assert (await client.put("/api/users/not-an-id/followers/me", token=BOB.token)).status == 422


async def test_nobody_follows_themselves(client: HeldClient) -> None:
    assert (await client.put(f"{followers_of(ADA)}/me", token=ADA.token)).problem == "follows-themselves"


async def test_a_person_follows_a_bounded_number_of_channels(client: HeldClient, pool: Pool) -> None:
    channels = [Person(f"c{n}") for n in range(FOLLOWS_MAX + 1)]
    for channel in channels:
        await store.keep_person(pool, channel.user_id, channel.name)
    answers = [await client.put(f"{followers_of(channel)}/me", token=BOB.token) for channel in channels]
    assert [answer.status for answer in answers] == [204] * FOLLOWS_MAX + [409]
    assert answers[-1].problem == "too-many-follows"
    assert (await client.put(f"{followers_of(channels[0])}/me", token=BOB.token)).status == 204
    await client.delete(f"{followers_of(channels[0])}/me", token=BOB.token)
    assert (await client.put(f"{followers_of(channels[-1])}/me", token=BOB.token)).status == 204


async def test_a_name_is_changed_by_no_token(client: HeldClient) -> None:
    """One from before a rename is good for minutes; who was renamed is told by an event."""
    await client.put(f"{followers_of(ADA)}/me", token=BOB.token)
    renamed = Person("robert", BOB.user_id)
    await client.delete(f"{followers_of(ADA)}/me", token=renamed.token)
    await client.put(f"{followers_of(ADA)}/me", token=renamed.token)
    assert await names(client, ADA) == ["bob"]


async def test_followers_are_listed_newest_first_by_a_cursor_that_insertions_do_not_disturb(
    client: HeldClient, pool: Pool
) -> None:
    old = [UUID(int=n) for n in range(1, 26)]
    for n, follower in enumerate(old):
        # five followers a moment: the id decides between them
        await seed(pool, ADA, [follower], ago=timedelta(hours=10 - n // 5))
    seen: list[str] = []
    cursor = ""
    while True:
        answer = await client.get(f"{followers_of(ADA)}?limit=4{cursor}")
        seen += [item["user_id"] for item in answer.body["items"]]
        await seed(pool, ADA, [uuid7()], ago=timedelta(0))
        if answer.body["next_cursor"] is None:
            break
        cursor = f"&cursor={answer.body['next_cursor']}"
    assert sorted(seen) == [str(follower) for follower in old]
    assert seen[0] in {str(follower) for follower in old[20:]}
    assert seen[-1] in {str(follower) for follower in old[:5]}


async def test_lists_refuse_limits_and_cursors_that_are_none(client: HeldClient) -> None:
    for path in (followers_of(ADA), "/api/notifications"):
        for query, status in (
            ("limit=0", 422),
            ("limit=101", 422),
            ("cursor=bm9uZQ", 400),
            (f"cursor={'x' * 600}", 422),
        ):
            answer = await client.get(f"{path}?{query}", token=BOB.token)
            assert answer.status == status, (path, query, answer.body)


async def test_an_inbox_is_its_owners_alone_and_newest_first_by_a_stable_cursor(client: HeldClient, pool: Pool) -> None:
    made = [await begun(pool, ADA) for _ in range(7)]
    for notice in made:
        await put_into_inbox(pool, BOB, notice)
    first = await client.get("/api/notifications?limit=4", token=BOB.token)
    await put_into_inbox(pool, BOB, await begun(pool, ADA))
    rest = await client.get(f"/api/notifications?limit=4&cursor={first.body['next_cursor']}", token=BOB.token)
    seen = [item["notification_id"] for item in first.body["items"] + rest.body["items"]]
    assert seen == [str(notice.notification_id) for notice in reversed(made)]
    assert rest.body["next_cursor"] is None
    assert first.body["items"][0] == {**made[-1].model_dump(mode="json"), "read": False}
    assert (await client.get("/api/notifications", token=EVE.token)).body["items"] == []


async def test_a_fanout_is_the_streamers_to_see(client: HeldClient, pool: Pool) -> None:
    notice = await begun(pool, ADA)
    path = f"/api/fanouts/{notice.stream_id}"
    answer = await client.get(path, token=ADA.token)
    assert answer.status == 200
    assert answer.body["stream_id"] == str(notice.stream_id)
    assert (await client.get(path, token=EVE.token)).problem == "not-your-fanout"
    assert (await client.get(f"/api/fanouts/{uuid7()}", token=ADA.token)).problem == "fanout-not-found"


async def test_a_last_event_id_that_is_none_of_ours_is_refused(client: HeldClient) -> None:
    answer = await client.get("/api/notifications/live", token=BOB.token, headers={"Last-Event-ID": "1' OR 1=1"})
    assert answer.problem == "invalid-last-event-id"
