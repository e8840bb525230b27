"""Reading: some notices, everything, how much is left; and never somebody else's."""

from uuid import UUID

from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.contract.held_client import HeldClient
from tests.integration.notify.processes import Person

ADA, BOB, EVE = Person("ada"), Person("bob"), Person("eve")
LOOKED_AT_MAX = 1_000


async def tell(pool: Pool, person: Person, count: int, *, kind: str = "stream.started") -> list[UUID]:
    """Put notices into an inbox, the oldest first; their ids."""
    ids = [uuid7() for _ in range(count)]
    await pool.execute(
        "INSERT INTO fanouts (fanout_id, kind, stream_id, channel_id, channel_name, title, started_at)"
        " SELECT id, $2, id, $3, 'ada', 't', now() FROM unnest($1::uuid[]) AS id",
        ids,
        kind,
        ADA.user_id,
    )
    await pool.execute("INSERT INTO notices (user_id, notice_id) SELECT $1, unnest($2::uuid[])", person.user_id, ids)
    return ids


async def unread(client: HeldClient, person: Person) -> tuple[int, bool]:
    body = (await client.get("/api/notifications/unread", token=person.token)).body
    return body["unread"], body["more"]


async def shown(client: HeldClient, person: Person) -> dict[str, bool]:
    items = (await client.get("/api/notifications", token=person.token)).body["items"]
    return {item["notification_id"]: item["read"] for item in items}


async def test_some_are_read_and_others_stay_unread(client: HeldClient, pool: Pool) -> None:
    ids = [str(notice_id) for notice_id in await tell(pool, BOB, 3)]
    for _ in range(2):
        answer = await client.post("/api/notifications/read", token=BOB.token, json={"ids": [ids[1], str(uuid7())]})
        assert (answer.status, answer.body) == (200, {"unread": 2, "more": False})
    assert await shown(client, BOB) == {ids[0]: False, ids[1]: True, ids[2]: False}


async def test_everything_is_read_by_one_row_and_what_comes_later_is_not(client: HeldClient, pool: Pool) -> None:
    await tell(pool, BOB, 30)
    for _ in range(2):
        answer = await client.post("/api/notifications/read", token=BOB.token, json={"everything": True})
        assert answer.body == {"unread": 0, "more": False}
    assert all((await shown(client, BOB)).values())
    assert await pool.fetchval("SELECT count(*) FROM notices WHERE read_at IS NOT NULL") == 0
    assert await pool.fetchval("SELECT count(*) FROM inboxes") == 1
    [later] = await tell(pool, BOB, 1)
    assert await unread(client, BOB) == (1, False)
    assert (await shown(client, BOB))[str(later)] is False


async def test_an_empty_inbox_has_nothing_to_read(client: HeldClient) -> None:
    assert await unread(client, BOB) == (0, False)
    answer = await client.post("/api/notifications/read", token=BOB.token, json={"everything": True})
    assert answer.body == {"unread": 0, "more": False}


async def test_nobody_reads_what_is_anothers(client: HeldClient, pool: Pool) -> None:
    ids = await tell(pool, BOB, 2)
    body = {"ids": [str(notice_id) for notice_id in ids]}
    assert (await client.post("/api/notifications/read", token=EVE.token, json=body)).body["unread"] == 0
    await client.post("/api/notifications/read", token=EVE.token, json={"everything": True})
    assert await unread(client, BOB) == (2, False)
    assert (await client.post("/api/notifications/read", json=body)).status == 401
    assert (await client.get("/api/notifications/unread")).status == 401


async def test_counting_is_bounded_however_full_the_inbox_is(client: HeldClient, pool: Pool) -> None:
    ids = await tell(pool, BOB, LOOKED_AT_MAX + 5)
    assert await unread(client, BOB) == (LOOKED_AT_MAX, True)
    body = {"ids": [str(notice_id) for notice_id in ids[-2:]]}
    assert (await client.post("/api/notifications/read", token=BOB.token, json=body)).body[
        "unread"
    ] == LOOKED_AT_MAX - 2


async def test_a_recordings_notice_says_so(client: HeldClient, pool: Pool) -> None:
    await tell(pool, BOB, 1, kind="recording.published")
    [item] = (await client.get("/api/notifications", token=BOB.token)).body["items"]
    assert (item["kind"], item["read"]) == ("recording.published", False)


async def test_what_is_read_must_be_said(client: HeldClient) -> None:
    bodies: list[dict[str, object]] = [
        {},
        {"everything": False},
        {"ids": []},
        {"ids": ["x"]},
        {"ids": [str(UUID(int=1))] * 101},
        {"ids": [str(UUID(int=1))], "everything": True},
        {"all": True},
    ]
    for body in bodies:
        answer = await client.post("/api/notifications/read", token=BOB.token, json=body)
        assert (answer.status, answer.problem) == (422, "validation-failed"), body
