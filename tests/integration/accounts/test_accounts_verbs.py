"""The verbs for operators and for signing keys, as whoever runs the installation calls them."""

import asyncio
import base64
import json

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from console.__main__ import app
from runtime.ids import uuid7
from tests.engines import Database
from tests.integration.accounts.conftest import SECRET


@pytest.fixture
def called(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The environment in which the verbs are called."""
    monkeypatch.setenv("LIVESTREAM_POSTGRES_DSN", database.url)
    monkeypatch.setenv("LIVESTREAM_ACCOUNTS_KEY_SECRET", base64.urlsafe_b64encode(SECRET).decode())
    return database


def livestream(*arguments: str) -> Result:
    """Call a verb."""
    return CliRunner().invoke(app, arguments)


def _add_user(database: Database, username: str) -> None:
    async def add() -> None:
        connection = await asyncpg.connect(database.url)
        statement = "INSERT INTO accounts.users (user_id, username, password_hash) VALUES ($1, $2, '')"
        await connection.execute(statement, uuid7(), username)
        await connection.close()

    asyncio.run(add())


def test_operators_are_added_listed_and_removed(called: Database) -> None:
    _add_user(called, "ann")
    assert livestream("operators", "list").stdout.strip() == "no operators"
    assert json.loads(livestream("operators", "add", "ANN", "--json").stdout)["is_operator"] is True
    assert [one["username"] for one in json.loads(livestream("operators", "list", "--json").stdout)] == ["ann"]
    assert livestream("operators", "remove", "ann").stdout.strip() == "ann is no operator now"
    assert json.loads(livestream("operators", "list", "--json").stdout) == []
    unknown = livestream("operators", "add", "bob")
    assert (unknown.exit_code, "nobody is called 'bob'" in unknown.output) == (1, True)


def test_keys_are_listed_and_rotated(called: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no keys yet" in livestream("keys", "list").output
    rotated = json.loads(livestream("keys", "rotate", "--json").stdout)
    assert rotated["signs_in_seconds"] == 900
    states = {one["key_id"]: one["state"] for one in json.loads(livestream("keys", "list", "--json").stdout)}
    assert sorted(states.values()) == ["current", "next"]
    assert states[rotated["key_id"]] == "next"
    again = livestream("keys", "rotate")
    assert (again.exit_code, "waiting for its turn" in again.output) == (1, True)
    leaked = json.loads(livestream("keys", "rotate", "--leaked", "--json").stdout)
    assert [one["key_id"] for one in json.loads(livestream("keys", "list", "--json").stdout)] == [leaked["key_id"]]
    monkeypatch.setenv("LIVESTREAM_ACCOUNTS_KEY_SECRET", base64.urlsafe_b64encode(b"x" * 32).decode())
    wrong = livestream("keys", "rotate")
    assert (wrong.exit_code, "another LIVESTREAM_ACCOUNTS_KEY_SECRET" in wrong.output) == (1, True)
