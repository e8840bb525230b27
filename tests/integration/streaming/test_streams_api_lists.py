"""Lists by what streams are about, and how they are read: along an index, however many streams there are."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from runtime.ids import uuid7
from streaming import store
from tests.integration.streaming.asking import Asking
from tests.integration.streaming.studio import Studio, User

ADA = User("ada")
SEED = """
INSERT INTO streams (stream_id, channel_id, title, category, tags, language, visibility, status, started_at, ended_at,
                     end_reason)
SELECT (substr(uuid7_floor(at)::text, 1, 24) || lpad(to_hex(n), 12, '0'))::uuid, channel_id, 'stream ' || n,
       (ARRAY['Chess', 'Go', 'Music'])[1 + n % 3], ARRAY['tag ' || n % 10], (ARRAY['en', 'de', 'pt-BR'])[1 + n % 3],
       (ARRAY['public', 'public', 'private'])[1 + n % 3], 'ended', at, at + interval '1 h', 'streamer'
FROM generate_series(1, 20000) AS n
CROSS JOIN LATERAL (SELECT channel_id FROM channels ORDER BY channel_id OFFSET n % 100 LIMIT 1) AS c
CROSS JOIN LATERAL (SELECT now() - n * interval '1 minute' AS at) AS t
RETURNING 1
"""


@pytest.fixture
def ask(studio: Studio) -> Asking:
    return Asking(studio)


async def test_live_streams_are_found_by_what_they_are_about(ask: Asking) -> None:
    profiles = [
        ("Sicilian", "Chess", ["opening"], "en-GB"),
        ("Endgames", "chess", ["opening", "rooks"], "en"),
        ("Fuseki", "Go", ["opening"], "de"),
        ("Silence", None, [], None),
    ]
    channels = {}
    for client, (title, category, tags, language) in enumerate(profiles):
        user = User(f"user{client}")
        body = {"title": title, "category": category, "tags": tags, "language": language}
        assert (await ask("PUT", "/api/channels/me", user, body=body))[0] == 200
        await ask.go_live(user, client=client)
        channels[title] = str(user.user_id)
    assert await ask.titles() == ["Silence", "Fuseki", "Endgames", "Sicilian"]
    assert await ask.titles(category="CHESS") == ["Endgames", "Sicilian"]
    assert await ask.titles(category="Chess", language="en-gb") == ["Sicilian"]
    assert await ask.titles(language="en") == ["Endgames", "Sicilian"]
    assert await ask.titles(tag="#Opening") == ["Fuseki", "Endgames", "Sicilian"]
    assert await ask.titles(tag="opening", channel_id=channels["Fuseki"]) == ["Fuseki"]
    assert await ask.titles(tag="open") == await ask.titles(language="e" * 3) == []
    first = (await ask("GET", "/api/streams", tag="opening", limit="2"))[1]
    assert await ask.titles(tag="opening", limit="2", cursor=first["next_cursor"]) == ["Sicilian"]
    _, categories = await ask("GET", "/api/categories")
    assert [(one["category"].lower(), one["streams"]) for one in categories["items"]] == [("chess", 2), ("go", 1)]


async def test_what_cannot_be_asked_for_is_refused(ask: Asking) -> None:
    channel = str(uuid4())
    for query in (
        {"status": "ended"},
        {"status": "prepared"},
        {"status": "interrupted", "channel_id": channel},
        {"channel_id": "me"},
        {"category": ""},
        {"category": "x" * 51},
        {"tag": "x" * 26},
        {"language": "en_GB"},
        {"limit": "0"},
    ):
        assert (await ask("GET", "/api/streams", ADA, **query))[0] == 422, query
    for status in ("live", "ended", "prepared"):
        assert (await ask("GET", "/api/streams", channel_id=channel, status=status, cursor="nonsense"))[0] == 400
        assert await ask.titles(channel_id=channel, status=status) == []


async def test_a_channels_past_is_paged_along_an_index(ask: Asking) -> None:
    studio = ask.studio
    for number in range(100):
        await studio.channel(f"channel{number}")
    await studio.rows(SEED)
    await studio.rows("ANALYZE streams")
    [channel] = await studio.rows("SELECT channel_id FROM channels ORDER BY channel_id LIMIT 1")
    channel_id: UUID = channel["channel_id"]
    expected = [
        row["title"]
        for row in await studio.rows(
            "SELECT title FROM streams WHERE channel_id = $1 AND visibility = 'public' ORDER BY started_at DESC",
            channel_id,
        )
    ]
    seen: list[str] = []
    query = {"status": "ended", "channel_id": str(channel_id), "limit": "100"}
    while True:
        _, page = await ask("GET", "/api/streams", None, **query)
        seen += [item["title"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == expected and len(seen) > 100
    assert "private" not in {item["visibility"] for item in page["items"]}

    place = {"started_at": datetime.now(UTC) - timedelta(days=1), "stream_id": uuid7()}
    asked = {"channel_id": channel_id, "category": "Chess", "language": "en", "tag": "tag 1", "with_hidden": False}
    plans = {
        "list_channel_streams": (await _plan(studio, "list_channel_streams", **place, **asked, rows_max=51)),
        "list_open_streams": (await _plan(studio, "list_open_streams", **place, **asked, rows_max=51)),
    }
    assert "channel_id_started_at" in plans["list_channel_streams"], plans["list_channel_streams"]
    for name, plan in plans.items():
        assert not re.search(r"Seq Scan on streams", plan), f"{name}\n{plan}"


async def _plan(studio: Studio, name: str, **arguments: object) -> str:
    query = getattr(store.queries, name)
    assert query is not None
    seen: list[str] = []

    class Explaining:
        """Stands for a connection, and explains what it is asked."""

        async def fetch(self, sql: str, *values: object) -> list[object]:
            seen.extend(row[0] for row in await studio.rows(f"EXPLAIN {sql}", *values))
            return []

    await query(Explaining(), **arguments)
    return "\n".join(seen)
