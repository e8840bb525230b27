"""What SRS, MediaMTX and Ant Media are answered: each in its own words, and only at the address that has its secret."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from runtime.http_server import HttpServer
from runtime.settings import HttpSettings
from streaming.ingest.commands import Dialect, IngestEvent
from streaming.ingest.hook_fields import JSON_BYTES_MAX
from streaming.ingest.hooked_servers import HookedServer, HookedServers, SettledSecrets
from streaming.ingest.hooks import HookRules, IngestHooks
from streaming.lifecycle.lifecycle import Verdict
from streaming.lifecycle.publishing import Answer
from tests.unit.streaming.test_ingest_dialects import ANT, AVAILABLE, KEY, MEDIAMTX, SRS, TOLD, changed
from tests.unit.streaming.test_ingest_hooks import Commands

Client = TestClient[web.Request, web.Application]

SECRETS = {dialect: f"a-secret-of-the-tests-{dialect}" for dialect in Dialect}
OTHERS = [Dialect.SRS, Dialect.MEDIAMTX, Dialect.ANT_MEDIA]
PUBLISHES = {Dialect.SRS: SRS, Dialect.MEDIAMTX: MEDIAMTX, Dialect.ANT_MEDIA: ANT}
KEYLESS = {
    Dialect.SRS: changed(SRS, param=""),
    Dialect.MEDIAMTX: changed(MEDIAMTX, query=""),
    Dialect.ANT_MEDIA: changed(ANT, queryParams=None),
}
ENDS = {Dialect.SRS: changed(SRS, action="on_unpublish"), Dialect.ANT_MEDIA: TOLD}


def address(dialect: Dialect, secret: str | None = None) -> str:
    return f"/hooks/ingest/{dialect}/{secret or SECRETS[dialect]}"


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
async def client(commands: Commands) -> AsyncIterator[Client]:
    hooked = [
        HookedServer(f"{dialect}-1", dialect, SettledSecrets(SecretStr(secret)), "live", watched=True)
        for dialect, secret in SECRETS.items()
    ]
    rules = HookRules(HookedServers(hooked), seconds_max=0.2)
    server = HttpServer([IngestHooks(commands, rules)], settings=HttpSettings())
    async with TestClient(TestServer(await server.application())) as client:
        yield client


@pytest.mark.parametrize("dialect", OTHERS)
async def test_a_publish_is_accepted(client: Client, commands: Commands, dialect: Dialect) -> None:
    answer = await client.post(address(dialect), json=PUBLISHES[dialect])
    # what all three take for yes: SRS the code, Ant Media exactly 200, MediaMTX any 2xx
    assert (answer.status, await answer.json(), answer.content_type) == (200, {"code": 0}, "application/json")
    [command] = commands.heard
    assert (command.event, command.session.server, command.key) == (IngestEvent.PUBLISH, f"{dialect}-1", KEY)


@pytest.mark.parametrize("dialect", OTHERS)
async def test_a_publish_is_refused(client: Client, commands: Commands, dialect: Dialect) -> None:
    commands.answer = Answer(Verdict.REFUSED, "no channel has this stream key")
    answer = await client.post(address(dialect), json=PUBLISHES[dialect])
    problem = await answer.json()
    assert (answer.status, problem["detail"]) == (403, "no channel has this stream key")
    if dialect is Dialect.SRS:
        assert type(problem["code"]) is int
        assert problem["code"] != 0
    assert KEY not in str(problem)


@pytest.mark.parametrize("dialect", OTHERS)
async def test_who_shows_no_key_is_refused_or_asked(client: Client, commands: Commands, dialect: Dialect) -> None:
    answer = await client.post(address(dialect), json=KEYLESS[dialect])
    assert answer.status == (401 if dialect is Dialect.MEDIAMTX else 403)
    assert ("WWW-Authenticate" in answer.headers) is (dialect is Dialect.MEDIAMTX)
    assert not commands.heard


@pytest.mark.parametrize("verdict", [Verdict.IGNORED, Verdict.REFUSED])
async def test_what_is_told_is_answered_with_yes_whatever_comes_of_it(
    client: Client, commands: Commands, verdict: Verdict
) -> None:
    commands.answer = Answer(verdict, "no open stream has this publisher")
    answers = [await client.post(address(dialect), json=hook) for dialect, hook in ENDS.items()]
    form = {name: str(value) for name, value in TOLD.items()}
    answers.append(await client.post(address(Dialect.ANT_MEDIA), data=form))
    answers += [
        await client.post(address(Dialect.MEDIAMTX), params=AVAILABLE | {"event": event})
        for event in ("available", "unavailable")
    ]
    assert [answer.status for answer in answers] == [200] * 5
    assert [command.event.value for command in commands.heard] == ["done", "done", "done", "alive", "done"]


async def test_viewers_and_files_are_no_business_of_ours(client: Client, commands: Commands) -> None:
    answers = [
        await client.post(address(Dialect.SRS), json={"action": "on_play"}),
        await client.post(address(Dialect.MEDIAMTX), json=changed(MEDIAMTX, action="read", id=None)),
        await client.post(address(Dialect.ANT_MEDIA), json=changed(TOLD, action="vodReady")),
    ]
    assert [(answer.status, await answer.json()) for answer in answers] == [(200, {"code": 0})] * 3
    assert not commands.heard


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("other", list(Dialect))
async def test_a_secret_speaks_for_its_server_and_dialect_alone(
    client: Client, commands: Commands, dialect: Dialect, other: Dialect
) -> None:
    if dialect is other:
        return
    answer = await client.post(address(dialect, SECRETS[other]), json=PUBLISHES.get(dialect, {}))
    assert answer.status == 403
    assert (await answer.json())["type"].endswith("wrong-hook-secret")
    assert not commands.heard


@pytest.mark.parametrize("dialect", OTHERS)
async def test_bodies_of_other_kinds_and_sizes_are_refused(
    client: Client, commands: Commands, dialect: Dialect
) -> None:
    where = address(dialect)
    text = await client.post(where, data=b"{}", headers={"Content-Type": "text/plain"})
    large = await client.post(where, json=PUBLISHES[dialect] | {"x": "y" * JSON_BYTES_MAX})
    broken = await client.post(where, data=b"{", headers={"Content-Type": "application/json"})
    assert [text.status, large.status, broken.status] == [415, 413, 400]
    assert not commands.heard


@pytest.mark.parametrize("dialect", OTHERS)
async def test_without_a_database_nobody_starts(client: Client, commands: Commands, dialect: Dialect) -> None:
    commands.error = ConnectionRefusedError("no database")
    assert (await client.post(address(dialect), json=PUBLISHES[dialect])).status == 503
    if dialect in ENDS:
        assert (await client.post(address(dialect), json=ENDS[dialect])).status == 200
