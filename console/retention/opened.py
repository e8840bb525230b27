"""Opens what the verbs of ``livestream retention`` work on, and says in one line why it cannot."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar
from uuid import UUID

import asyncpg
import typer

from console.endings import USED_WRONGLY, fail
from console.progress import waiting
from console.retention.messages import MessageRetentionSettings, open_messages, open_messages_pool
from console.retention.port import RetentionPlan
from console.retention.recordings import SCHEMA, RecordingRetentionSettings, open_recordings
from console.retention.streams import StreamRetentionVerbSettings, open_streams, open_streams_pool
from console.server_settings import load_for
from runtime.migrations import StaleSchema, require_migrated
from runtime.objects import ObjectStoreError
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings

T = TypeVar("T")

FAILURES = (StaleSchema, OSError, asyncpg.PostgresError, ObjectStoreError)

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who says so; you, if it is not given.")]


def with_services(work: Callable[[list[RetentionPlan]], Awaitable[T]], *, sweeps: bool, what: str, quiet: bool) -> T:
    """Do something with every service that has retention."""
    settings, chat_settings = load_for(RecordingRetentionSettings), load_for(MessageRetentionSettings)
    streaming_settings = load_for(StreamRetentionVerbSettings)

    async def opened() -> T:
        async with (
            open_recordings(settings, sweeps=sweeps) as recordings,
            open_messages(chat_settings) as messages,
            open_streams(streaming_settings) as streams,
        ):
            return await work([recordings, messages, streams])

    return _run(opened, what=what, quiet=quiet)


def with_pool(work: Callable[[Pool], Awaitable[T]], *, what: str, quiet: bool) -> T:
    """Do something with the archive's database."""
    settings = load_for(PostgresSettings)

    async def opened() -> T:
        async with open_pool(settings, schema=SCHEMA) as pool:
            await require_migrated(pool, schema=SCHEMA)
            return await work(pool)

    return _run(opened, what=what, quiet=quiet)


@dataclass(frozen=True)
class HoldingPools:
    """The databases of every service that asks for holds; the archive's list is the one that is shown."""

    recordings: Pool
    messages: Pool
    streams: Pool


def with_holding_pools(work: Callable[[HoldingPools], Awaitable[T]], *, what: str, quiet: bool) -> T:
    """Do something with every database that keeps holds."""
    settings = load_for(PostgresSettings)

    async def opened() -> T:
        async with (
            open_pool(settings, schema=SCHEMA) as recordings,
            open_messages_pool(settings) as messages,
            open_streams_pool(settings) as streams,
        ):
            await require_migrated(recordings, schema=SCHEMA)
            return await work(HoldingPools(recordings, messages, streams))

    return _run(opened, what=what, quiet=quiet)


def _run(work: Callable[[], Awaitable[T]], *, what: str, quiet: bool) -> T:
    async def worked() -> T:
        return await work()

    try:
        with waiting(what, quiet=quiet):
            return asyncio.run(worked())
    except FAILURES as error:
        raise fail(str(error)) from None


def whoever(by: str | None) -> str:
    """Who is written down as having said it."""
    try:
        return by or getpass.getuser()
    except (KeyError, OSError):
        raise fail("nobody knows who you are; give --by", code=USED_WRONGLY) from None


def uuid_of(option: str, text: str | None) -> UUID | None:
    """The id that an option gives. Ends with 2 when it is none."""
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise fail(f"{option} {text}: not an id", code=USED_WRONGLY) from None
