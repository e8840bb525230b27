"""Streamers watch, pause, resume and cancel the telling of their followers; what has ended stops by itself."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from events import EndReason, StreamEnded, StreamStarted
from notify.fanout_store import FanoutState
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.contract.held_client import HeldClient
from tests.integration.notify.by_hand import ByHand, ids, started_at
from tests.integration.notify.processes import Person, notices_by_person, seed

ADA, EVE = Person("ada"), Person("eve")
FOLLOWERS = 95
PAGES = 10


@pytest.fixture
async def by_hand(pool: Pool) -> ByHand:
    """Ada has followers for ten pages, of which a window has four."""
    await seed(pool, ADA, ids(FOLLOWERS))
    return ByHand(pool)


async def begun(by_hand: ByHand) -> StreamStarted:
    event = started_at(ADA, datetime.now(UTC))
    await by_hand.begin(event)
    return event


def ended(event: StreamStarted) -> StreamEnded:
    return StreamEnded(
        stream_id=event.stream_id,
        channel_id=event.channel_id,
        started_at=event.started_at,
        ended_at=event.started_at + timedelta(hours=1),
        reason=EndReason.STREAMER,
    )


async def steer(client: HeldClient, fanout_id: UUID, verb: str) -> str:
    answer = await client.post(f"/api/fanouts/{fanout_id}/{verb}", token=ADA.token)
    assert answer.status == 200, answer.body
    state: str = answer.body["state"]
    return state


async def test_a_streamer_sees_how_far_it_is(client: HeldClient, by_hand: ByHand) -> None:
    event = await begun(by_hand)
    await by_hand.tell(*(await by_hand.pages())[:2])
    seen = (await client.get(f"/api/fanouts/{event.stream_id}", token=ADA.token)).body
    assert (seen["state"], seen["pages_planned"], seen["pages_done"]) == ("running", 6, 2)
    assert (seen["recipients"], seen["audience"], seen["pages_held"]) == (20, FOLLOWERS, 0)
    assert seen["outcomes"] == [{"channel": "inbox", "outcome": "told", "recipients": 20}]
    assert seen["recipients_per_second"] > 0
    assert seen["eta_seconds"] > 0
    await by_hand.tell_all()
    seen = (await client.get(f"/api/fanouts/{event.stream_id}", token=ADA.token)).body
    assert (seen["state"], seen["pages_done"], seen["recipients"]) == ("completed", PAGES, FOLLOWERS)
    assert (seen["eta_seconds"], seen["planned_at"] is None, seen["completed_at"] is None) == (None, False, False)


async def test_streamers_list_their_own_newest_first(client: HeldClient, by_hand: ByHand) -> None:
    now = datetime.now(UTC)
    events = [started_at(ADA, now + timedelta(minutes=minute)) for minute in range(5)]
    for event in [*events, started_at(EVE, now)]:
        await by_hand.begin(event)
    listed: list[str] = []
    cursor = ""
    while len(listed) < 10:
        page = (await client.get(f"/api/fanouts?limit=2{cursor}", token=ADA.token)).body
        listed += [item["fanout_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert listed == [str(event.stream_id) for event in reversed(events)]
    assert (await client.get("/api/fanouts?cursor=nonsense", token=ADA.token)).problem == "invalid-cursor"


@pytest.mark.parametrize("route", ["GET ", "POST /pause", "POST /resume", "POST /cancel"])
async def test_nobody_sees_or_steers_what_is_anothers(client: HeldClient, by_hand: ByHand, route: str) -> None:
    method, _, verb = route.partition(" ")
    event = await begun(by_hand)
    path = f"/api/fanouts/{event.stream_id}{verb}"
    assert (await client.request(method, path, token=EVE.token)).problem == "not-your-fanout"
    assert (await client.request(method, path)).problem == "not-authenticated"
    assert (
        await client.request(method, f"/api/fanouts/{uuid7()}{verb}", token=ADA.token)
    ).problem == "fanout-not-found"
    assert (await by_hand.stands(event.stream_id)).state is FanoutState.RUNNING


async def test_paused_pages_are_held_and_told_once_it_resumes(client: HeldClient, by_hand: ByHand, pool: Pool) -> None:
    event = await begun(by_hand)
    pages = await by_hand.pages()
    await by_hand.tell(pages[0])
    assert await steer(client, event.stream_id, "pause") == "paused"
    await by_hand.tell(*pages, *pages)
    seen = (await client.get(f"/api/fanouts/{event.stream_id}", token=ADA.token)).body
    assert (seen["pages_held"], seen["pages_done"], seen["recipients"], seen["eta_seconds"]) == (3, 1, 10, None)
    assert len(await by_hand.pages()) == 4
    assert await steer(client, event.stream_id, "resume") == "running"
    assert [page.page_number for page in (await by_hand.pages())[4:]] == [2, 3, 4]
    await by_hand.tell_all()
    assert await notices_by_person(pool, event.stream_id) == dict.fromkeys(ids(FOLLOWERS), 1)
    stands = await by_hand.stands(event.stream_id)
    assert (stands.state, stands.pages_done, stands.recipients) == (FanoutState.COMPLETED, PAGES, FOLLOWERS)
    assert timedelta(0) < stands.paused_for < timedelta(minutes=1)
    assert len(by_hand.heard.stored) == 1


async def test_a_fanout_that_was_paused_while_its_last_pages_were_written_completes_when_it_resumes(
    client: HeldClient, by_hand: ByHand, pool: Pool
) -> None:
    event = await begun(by_hand)
    await by_hand.tell(*await by_hand.pages())
    while (await by_hand.stands(event.stream_id)).planned_at is None:
        done = (await by_hand.stands(event.stream_id)).pages_done
        await by_hand.tell((await by_hand.pages())[done])
    done = (await by_hand.stands(event.stream_id)).pages_done
    # a page that saw it running comes to its end after the pause
    in_hand = (await by_hand.pages())[done:]
    await by_hand.tell(*in_hand[:-1])
    async with pool.acquire() as connection, connection.transaction():
        last = in_hand[-1]
        await connection.execute("UPDATE fanouts SET state = 'running' WHERE fanout_id = $1", event.stream_id)
        await connection.execute(
            "SELECT tell_page($1, $2, $3, $4, '1 h', '1 h', 10, 4)",
            *(last.fanout_id, last.page_number, last.after_follower_id, last.last_follower_id),
        )
        await connection.execute(
            "UPDATE fanouts SET state = 'paused', completed_at = NULL WHERE fanout_id = $1", event.stream_id
        )
    assert await steer(client, event.stream_id, "resume") == "completed"


async def test_a_pause_before_the_beginning_holds_it_all(client: HeldClient, by_hand: ByHand, pool: Pool) -> None:
    event = started_at(ADA, datetime.now(UTC))
    await by_hand.announce(event)
    assert await steer(client, event.stream_id, "pause") == "paused"
    await by_hand.begin(event)
    assert await by_hand.pages() == []
    assert await steer(client, event.stream_id, "resume") == "running"
    assert await by_hand.tell_all() == PAGES
    assert len(await notices_by_person(pool, event.stream_id)) == FOLLOWERS


async def test_resuming_misses_no_page_that_comes_at_that_moment(
    client: HeldClient, by_hand: ByHand, pool: Pool
) -> None:
    for _ in range(5):
        event = await begun(by_hand)
        said = await by_hand.pages()
        pages = [page for page in said if page.stream_id == event.stream_id]
        await steer(client, event.stream_id, "pause")
        await asyncio.gather(steer(client, event.stream_id, "resume"), *(by_hand.tell(page) for page in pages))
        # the bus brings none of them a second time
        await by_hand.tell_all(after=len(said))
        assert len(await notices_by_person(pool, event.stream_id)) == FOLLOWERS
        assert (await by_hand.stands(event.stream_id)).state is FanoutState.COMPLETED


@pytest.mark.parametrize("paused_before", [False, True])
async def test_a_cancelled_fanout_tells_nobody_any_more(
    client: HeldClient, by_hand: ByHand, pool: Pool, paused_before: bool
) -> None:
    event = await begun(by_hand)
    pages = await by_hand.pages()
    await by_hand.tell(pages[0])
    if paused_before:
        await steer(client, event.stream_id, "pause")
        await by_hand.tell(pages[1])
    assert await steer(client, event.stream_id, "cancel") == "cancelled"
    await by_hand.tell_all()
    await by_hand.begin(event)
    await by_hand.announce(event)
    assert len(await by_hand.pages()) == 4
    assert len(await notices_by_person(pool, event.stream_id)) == 10
    assert by_hand.heard.live == by_hand.heard.stored == []


@pytest.mark.parametrize(
    ("state", "verb"),
    [
        ("running", "resume"),
        ("paused", "pause"),
        *((state, verb) for state in ("completed", "cancelled", "ended") for verb in ("pause", "resume", "cancel")),
    ],
)
async def test_what_the_state_does_not_allow_is_refused_with_the_states_that_would(
    client: HeldClient, by_hand: ByHand, pool: Pool, state: str, verb: str
) -> None:
    event = await begun(by_hand)
    await pool.execute("UPDATE fanouts SET state = $2 WHERE fanout_id = $1", event.stream_id, state)
    answer = await client.post(f"/api/fanouts/{event.stream_id}/{verb}", token=ADA.token)
    assert (answer.status, answer.problem) == (409, "fanout-state-forbids")
    allowed = {"pause": ["running"], "resume": ["paused"], "cancel": ["running", "paused"]}
    assert (answer.body["state"], answer.body["allowed"]) == (state, allowed[verb])


async def test_a_stream_that_ends_stops_the_telling_of_its_start(
    client: HeldClient, by_hand: ByHand, pool: Pool
) -> None:
    event, other = await begun(by_hand), await begun(by_hand)
    await by_hand.tell((await by_hand.pages())[0])
    await by_hand.end(ended(event))
    await by_hand.tell_all()
    assert len(await notices_by_person(pool, event.stream_id)) == 10
    assert (await by_hand.stands(event.stream_id)).state is FanoutState.ENDED
    assert (await by_hand.stands(other.stream_id)).state is FanoutState.COMPLETED
    await by_hand.end(ended(other))
    assert (await by_hand.stands(other.stream_id)).state is FanoutState.COMPLETED
    answer = await client.post(f"/api/fanouts/{event.stream_id}/resume", token=ADA.token)
    assert answer.problem == "fanout-state-forbids"
