"""What was given up on can be looked at, and sent again with the ids that it had."""

import asyncio
import json

from typer.testing import CliRunner

from console.__main__ import app
from notify.deliveries.delivery import Delivered, Failed
from runtime.postgres import Pool
from tests.engines import Database
from tests.integration.notify.delivery_scene import TestChannel, new, queue, running, waiting
from tests.integration.notify.processes import eventually


async def livestream(database: Database, *arguments: str) -> tuple[int, str]:
    """The exit code of a verb, and what it answers or why it does not."""
    # what is written about slow queries is no answer
    environment = {"LIVESTREAM_POSTGRES_DSN": database.url, "LIVESTREAM_POSTGRES_SLOW_QUERY_SECONDS": "60"}
    done = await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=environment)
    return done.exit_code, done.stdout or done.stderr


async def give_up_on(pool: Pool, *, number: int) -> None:
    await queue(pool, *(new(provider=f"p{n}.example:443", content={"n": n}) for n in range(number)))
    async with running(pool, TestChannel(lambda _: Failed("no answer"))):
        await eventually(lambda: none_waits(pool))


async def none_waits(pool: Pool) -> bool:
    return await waiting(pool) == 0


async def test_they_are_listed_shown_and_put_back(pool: Pool, database: Database) -> None:
    await give_up_on(pool, number=3)
    code, output = await livestream(database, "deliveries", "list", "--json")
    listed = json.loads(output)
    assert (code, len(listed)) == (0, 3)
    assert {one["reason"] for one in listed} == {"no answer"}

    [chosen] = [one for one in listed if one["provider"] == "p1.example:443"]
    code, output = await livestream(database, "deliveries", "show", str(chosen["id"]), "--json")
    assert (code, json.loads(output)) == (0, chosen)
    assert chosen["content"] == {"n": 1}

    code, output = await livestream(
        database, "deliveries", "replay", "--all", "--provider", "p1.example:443", "--dry-run"
    )
    assert (code, output.split()[:3]) == (0, ["would", "replay", str(chosen["id"])])
    assert await waiting(pool) == 0

    code, _ = await livestream(database, "deliveries", "replay", str(chosen["id"]))
    assert code == 0
    channel = TestChannel(lambda _: Delivered())
    async with running(pool, channel):
        await eventually(lambda: none_waits(pool))
    [sent] = channel.sent
    assert (str(sent.message_id), str(sent.destination_id), sent.attempts, sent.content) == (
        chosen["message_id"],
        chosen["destination_id"],
        0,
        {"n": 1},
    )
    assert await pool.fetchval("SELECT count(*) FROM dead_deliveries") == 2


async def test_all_are_put_back_and_what_is_not_there_is_one_line(pool: Pool, database: Database) -> None:
    await give_up_on(pool, number=5)
    code, output = await livestream(database, "deliveries", "replay", "--all", "--json")
    assert (code, len(json.loads(output)["replayed"])) == (0, 5)
    assert await waiting(pool) == 5
    assert await livestream(database, "deliveries", "list") == (0, "no dead deliveries\n")
    for arguments in (("show", "1"), ("replay", "1")):
        code, output = await livestream(database, "deliveries", *arguments)
        assert (code, len(output.splitlines())) == (1, 1)
    assert (await livestream(database, "deliveries", "replay"))[0] == 2
