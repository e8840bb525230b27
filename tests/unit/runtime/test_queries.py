"""Named queries: how a file becomes functions, and what mistakes are told."""

from typing import Any

import pytest

from runtime.queries import parse_queries

TEXT = """
-- name: find_thing(thing_id, at)^
-- Find it.
SELECT 1 WHERE :thing_id::uuid IS NOT NULL AND :at > now() AND :at < now();

-- name: list_things(limit)
-- List them.
SELECT ':not_this' FROM t LIMIT :limit;

-- name: change_things(name)!
-- Change them.
UPDATE t SET name = :name;

-- name: add_things(a, b)*!
-- Add them.
INSERT INTO t VALUES (:a, :b);
"""


class Recorder:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def fetchrow(self, *asked: object) -> None:
        """No row."""
        self.asked.append(asked)

    async def fetch(self, *asked: object) -> list[object]:
        """No rows."""
        self.asked.append(asked)
        return []

    async def fetchval(self, *asked: object) -> None:
        """No value."""
        self.asked.append(asked)

    async def execute(self, *asked: object) -> str:
        """Three rows."""
        self.asked.append(asked)
        return "UPDATE 3"

    async def executemany(self, *asked: object) -> None:
        """Done."""
        self.asked.append(asked)


async def test_names_become_numbers_and_repeat() -> None:
    queries, recorder = parse_queries("tested", TEXT), Recorder()
    assert await queries.find_thing(recorder, at="now", thing_id="t") is None
    sql, *arguments = recorder.asked[0]
    assert "$1::uuid IS NOT NULL AND $2 > now() AND $2 < now()" in sql
    assert arguments == ["t", "now"]
    assert await queries.list_things(recorder, limit=3) == []
    assert "':not_this'" in recorder.asked[1][0]
    assert await queries.change_things(recorder, name="x") == 3
    assert await queries.add_things(recorder, [{"a": 1, "b": 2}, {"b": 4, "a": 3}]) is None
    assert recorder.asked[3][1] == [[1, 2], [3, 4]]


async def test_wrong_names_are_told() -> None:
    queries, recorder = parse_queries("tested", TEXT), Recorder()
    with pytest.raises(AttributeError, match=r"tested/sql/queries\*.sql has no query 'find_nothing'"):
        _ = queries.find_nothing
    with pytest.raises(TypeError, match=r"find_thing takes \['at', 'thing_id'\], was given \['at'\]"):
        await queries.find_thing(recorder, at="now")
    with pytest.raises(TypeError, match="list_things takes"):
        await queries.list_things(recorder, limit=1, offset=2)
    assert [query.name for query in queries.all()] == ["add_things", "change_things", "find_thing", "list_things"]
    assert queries.find_thing.doc.strip() == "Find it."
