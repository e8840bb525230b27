"""``livestream generate``: write every file that follows from the code, or check that the committed ones do."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from events.documents import asyncapi_document, events_page, schema_of, to_json
from events.envelope import Event
from events.topics import EVENT_MODELS

ROOT = Path(__file__).parent.parent

app = typer.Typer()


def documents() -> Mapping[Path, Callable[[], str]]:
    """Every generated file, relative to the checkout, with what writes its text."""
    files: dict[Path, Callable[[], str]] = {
        Path("events/asyncapi.json"): lambda: to_json(asyncapi_document()),
        Path("docs/events.md"): events_page,
    }
    for model in EVENT_MODELS.values():
        files[Path(f"events/schemas/{model.type}.json")] = partial(_schema_text, model)
    return files


@app.command()
def generate(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file is not current.")] = False,
) -> None:
    """Write the generated files: event schemas, AsyncAPI, OpenAPI, settings and their pages.

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


def _differs(path: Path, text: str) -> bool:
    return not path.exists() or path.read_text() != text


def _schema_text(model: type[Event]) -> str:
    return to_json(schema_of(model))
