"""``livestream migrate``: bring every service's schema up to what the code expects."""

import asyncio

import typer

from runtime.migrations import MigrationError
from runtime.migrations import migrate as apply_migrations
from runtime.settings import PostgresSettings, SettingsInvalid, load_settings

app = typer.Typer()


@app.command()
def migrate() -> None:
    """Apply the migrations that are not applied yet; waits for Postgres. Exit 0: all are applied; 1: not.

    Needs LIVESTREAM_POSTGRES_DSN. Safe to repeat, and safe to run from several places at once.

    Example:

        livestream migrate
    """
    try:
        settings = load_settings(PostgresSettings)
        applied = asyncio.run(apply_migrations(settings.postgres_dsn, say=typer.echo))
    except SettingsInvalid as invalid:
        typer.echo("\n".join(invalid.lines), err=True)
        raise typer.Exit(1) from None
    except MigrationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{len(applied)} applied" if applied else "nothing to apply")
