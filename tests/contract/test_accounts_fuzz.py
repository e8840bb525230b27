"""Generated requests against the accounts API: whatever is sent, the answer is one that the document declares."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.core.result import Ok

from accounts.__main__ import APIS
from accounts.parts import make_parts
from eventbus.outbox import Outbox
from runtime.endpoints import endpoints_of
from runtime.http_server import HttpServer
from runtime.openapi import openapi_document
from runtime.postgres import open_pool
from runtime.redis_client import redis_client
from runtime.settings import HttpSettings, PostgresSettings
from tests.engines import Database
from tests.integration.accounts.conftest import settings as accounts_settings

EXAMPLES_MAX = 15
SEED = 20_240_601
START_SECONDS_MAX = 20.0

SCHEMA = schemathesis.openapi.from_dict(openapi_document("accounts", APIS))
OPERATIONS = {result.ok().label: result.ok() for result in SCHEMA.get_all_operations() if isinstance(result, Ok)}


class Served:
    """The accounts API on a loop and thread of its own, since the generated requests are sent synchronously."""

    def __init__(self, database: Database, redis_url: str) -> None:
        self.url = ""
        self._database = database
        self._redis_url = redis_url
        self._listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])

    def __enter__(self) -> "Served":
        self._thread.start()
        assert self._listening.wait(START_SECONDS_MAX)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(START_SECONDS_MAX)
        self._loop.close()

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            database = PostgresSettings(postgres_dsn=self._database.dsn)
            pool = await stack.enter_async_context(open_pool(database, schema="accounts"))
            settings = accounts_settings(self._database, self._redis_url)
            redis = redis_client(settings)
            stack.push_async_callback(redis.aclose)
            outbox = Outbox(pool, source="accounts")
            parts = await make_parts(stack.enter_context(ExitStack()), settings, pool, redis, outbox)
            apis = [api(parts) for api in APIS]
            server = HttpServer(apis, settings=HttpSettings(), verifier=parts.tokens)
            runner = web.AppRunner(await server.application(), access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{site.port}"
            self._listening.set()
            await self._done.wait()


@pytest.fixture
def served(database: Database, redis_url: str) -> Iterator[Served]:
    """The API on a fresh database."""
    with Served(database, redis_url) as running:
        yield running


def test_every_endpoint_is_tried() -> None:
    assert len(OPERATIONS) == len([one for api in APIS for one in endpoints_of(api)]) > 15


@pytest.mark.parametrize("label", OPERATIONS)
def test_whatever_is_sent_the_answer_is_as_declared(label: str, served: Served) -> None:
    @seed(SEED)
    @settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=OPERATIONS[label].as_strategy())
    def hold(case: Any) -> None:  # noqa: ANN401  schemathesis' case is generic over its transport
        case.call_and_validate(base_url=served.url)

    hold()
