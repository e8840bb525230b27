"""``livestream migrate``: bring every service's schema up to what the code expects."""

import asyncio
import json
from typing import Annotated

import typer

from console.endings import fail
from console.progress import waiting
from console.solo_to_full import solo_to_full
from runtime.migrations import Applied, MigrationError
from runtime.migrations import migrate as apply_migrations
from runtime.settings import PostgresSettings, SettingsInvalid, load_settings

app = typer.Typer()
app.command("solo-to-full")(solo_to_full)


@app.callback(invoke_without_command=True)
def migrate(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Apply the migrations that are not applied yet; waits for Postgres.

    Needs LIVESTREAM_POSTGRES_DSN. Safe to repeat, and safe to run from several places at once. A solo server does this
    by itself at its start.

    Exit 0: all are applied; 1: not.

    Examples:

        livestream migrate

        livestream --env-file /var/lib/livestream/livestream.env migrate --json
    """
    if context.invoked_subcommand is not None:
        return
    try:
        with waiting("migrating", quiet=as_json) as say:
            settings = load_settings(PostgresSettings)
            applied = asyncio.run(apply_migrations(settings.postgres_dsn, say=say))
    except SettingsInvalid as invalid:
        raise fail(invalid.lines) from None
    except MigrationError as error:
        raise fail(str(error)) from None
    _tell(applied, as_json=as_json)


def _tell(applied: list[Applied], *, as_json: bool) -> None:
    if as_json:
        rows = [{"schema": one.schema, "migration": one.migration} for one in applied]
        typer.echo(json.dumps({"applied": rows}))
        return
    for one in applied:
        typer.echo(f"{one.schema}: applied {one.migration}")
    typer.echo(f"{len(applied)} applied" if applied else "nothing to apply")
