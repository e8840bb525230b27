"""``livestream generate``: write every file that follows from the code, or check that the committed ones do."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from accounts.settings import AccountsSettings
from archive.settings import ArchiveSettings
from chat.settings import ChatSettings
from chat.sockets.socket_document import socket_document
from deploy.container.edge import EdgeSettings
from deploy.local import Stack
from events.documents import asyncapi_document, events_page, schema_of, to_json
from events.envelope import Event
from events.topics import EVENT_MODELS
from notify.settings import NotifySettings
from runtime.migrations import SCHEMAS
from runtime.openapi import find_apis, is_public, openapi_document
from runtime.schema_dump import dump_schemas, schema_file
from runtime.settings import ProcessSettings
from runtime.settings_docs import configuration_page, env_example
from solo.settings import SoloSettings
from streaming.settings import StreamingSettings

ROOT = Path(__file__).parent.parent

PROCESSES: tuple[tuple[str, type[ProcessSettings]], ...] = (
    ("accounts", AccountsSettings),
    ("streaming", StreamingSettings),
    ("chat", ChatSettings),
    ("notify", NotifySettings),
    ("archive", ArchiveSettings),
    ("edge", EdgeSettings),
)
SOLO = ("solo", SoloSettings)

app = typer.Typer()


def documents() -> Mapping[Path, Callable[[], str]]:
    """Every generated file, relative to the checkout, with what writes its text."""
    files: dict[Path, Callable[[], str]] = {
        Path("events/asyncapi.json"): lambda: to_json(asyncapi_document()),
        Path("docs/events.md"): events_page,
        Path("docs/chat-asyncapi.json"): lambda: to_json(socket_document()),
        # What everybody may read at the edge, and what is for whoever works on the services.
        Path("web/openapi.json"): lambda: _openapi_text("LiveStream", is_public),
        Path("docs/openapi-internal.json"): lambda: _openapi_text(
            "LiveStream, between its parts", lambda path: not is_public(path)
        ),
        Path("docs/configuration.md"): lambda: configuration_page(PROCESSES, SOLO),
        Path("deploy/env.example"): lambda: env_example(PROCESSES, SOLO),
    }
    for model in EVENT_MODELS.values():
        files[Path(f"events/schemas/{model.type}.json")] = partial(_schema_text, model)
    return files


@app.command()
def generate(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file is not current.")] = False,
    schemas: Annotated[bool, typer.Option("--schemas", help="Also sql/schema.sql, by the stack's Postgres.")] = False,
) -> None:
    """Write the generated files: event schemas, AsyncAPI, OpenAPI, settings and their pages.

    Exit 0: all are written, or with --check, all are current; 1: not.

    Examples:

        livestream generate

        livestream generate --check
    """
    stale = [path for path, write in documents().items() if _differs(ROOT / path, write())]
    if check:
        for path in stale:
            typer.echo(f"{path} is not what the code says; run `make generate`", err=True)
        raise typer.Exit(1 if stale else 0)
    for path in stale:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(documents()[path]())
        typer.echo(f"wrote {path}")
    if schemas:
        _write_schemas()


def _write_schemas() -> None:
    """Write every service's sql/schema.sql; the tests compare them, since `--check` must do without a server."""
    stack = Stack()
    was_running = any(part.name == "postgres" and part.state == "running" for part in stack.status())
    stack.start("postgres")
    try:
        dumps = asyncio.run(dump_schemas(SecretStr(stack.environment()["LIVESTREAM_POSTGRES_DSN"])))
    finally:
        if not was_running:
            stack.stop("postgres")
    for schema, text in dumps.items():
        path = schema_file(schema)
        if _differs(ROOT / path, text):
            (ROOT / path).write_text(text)
            typer.echo(f"wrote {path}")


def _differs(path: Path, text: str) -> bool:
    return not path.exists() or path.read_text() != text


def _openapi_text(title: str, having: Callable[[str], bool]) -> str:
    apis = [api for service in SCHEMAS for api in find_apis(service)]
    return to_json(openapi_document(title, apis, having=having))


def _schema_text(model: type[Event]) -> str:
    return to_json(schema_of(model))
