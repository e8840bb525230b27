"""What means that a dependency is away is said in one place, and nobody takes a mistake for it."""

from pathlib import Path

import asyncpg
import pytest
import redis.exceptions

from runtime.unavailable import PERHAPS_AWAY, is_unavailable

ROOT = Path(__file__).parents[3]
SERVICES = ("accounts", "streaming", "notify", "chat", "archive", "runtime")


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (redis.exceptions.ConnectionError(), True),
        (asyncpg.AdminShutdownError(), True),
        (asyncpg.InterfaceError("cannot call Transaction.__aexit__(): the underlying connection is closed"), True),
        (asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed"), False),
        (asyncpg.UniqueViolationError(), False),
    ],
)
def test_a_mistake_is_told_from_a_dependency_that_is_away(error: Exception, away: bool) -> None:
    assert is_unavailable(error) is away
    assert isinstance(error, PERHAPS_AWAY) or not away, "it would not be caught"


def test_whoever_catches_what_may_be_a_mistake_asks() -> None:
    """And nobody makes a list of their own, that could miss one."""
    modules = {path: path.read_text() for service in SERVICES for path in sorted((ROOT / service).rglob("*.py"))}
    catching = {path: text for path, text in modules.items() if "PERHAPS_AWAY" in text}
    assert len(catching) > 20, "the test looks where nothing is"
    assert [str(path) for path, text in catching.items() if "is_unavailable(" not in text] == []
    own = [
        str(path) for path, text in modules.items() if "asyncpg.InterfaceError," in text or "InterfaceError)" in text
    ]
    allowed = {"runtime/unavailable.py", "runtime/read_pool_replica.py"}
    assert {str(Path(path).relative_to(ROOT)) for path in own} <= allowed
