"""``livestream backup``: keep the database and the recordings in a directory, or compare a backup with itself."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from console.backups.layout import find
from console.backups.making import Made, Wishes, make_backup
from console.backups.settings import BackupSettings
from console.backups.stores import open_server_objects
from console.backups.verifying import verify as verify_backup
from console.backups.wording import told_errors
from console.endings import DIFFERS, USED_WRONGLY, fail
from console.progress import Say, waiting
from console.server_settings import load_for
from console.stopped_server import ServerOption, own_postgres

app = typer.Typer()


@app.command()
def backup(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Where backups are kept; each gets a directory in it.")],
    with_objects: Annotated[
        bool | None,
        typer.Option(
            "--with-objects/--without-objects",
            help="Keep the recordings too, or only a list of them. Default: keep those of a disk, list those of S3.",
            show_default=False,
        ),
    ] = None,
    with_settings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, readable=True, help="Keep this settings file too: its secrets!"
        ),
    ] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Remove all but so many of the newest backups.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Make none; read the newest in DIR (or DIR itself) and compare it.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Objects read at the same time.")] = 4,
    directory: ServerOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Back up database, recordings and emotes while the server runs; unchanged recordings take no room again.

    Each backup is a directory of its own below DIR with all that belongs to it; it gets its name when it is whole.
    Restore it with `livestream restore`. Not in it: what Redis and the live segments on disk hold, and, unless
    --with-settings names it, the settings file. Keep that safe: without its LIVESTREAM_ACCOUNTS_KEY_SECRET the signing
    keys in the database cannot be read, and a restored server does not start; without its
    LIVESTREAM_NOTIFY_SEALING_SECRET webhooks cannot be read.

    Exit 0: the backup is made (or whole, with --verify); 1: not; 2: used wrongly; 3: it is made, but the store lacks
    objects that the database names.

    Examples:

        livestream backup /mnt/backup

        livestream backup /mnt/backup --directory /var/lib/livestream --keep 7

        livestream --env-file livestream.env backup /mnt/backup --with-settings livestream.env

        livestream backup /mnt/backup --verify --json
    """
    if verify:
        _verify(root, as_json=as_json)
        return
    with own_postgres(directory, server_must_be_stopped=False), told_errors():
        settings = load_for(BackupSettings)
        chosen = settings.archive_object_store == "disk" if with_objects is None else with_objects
        with waiting("backing up", quiet=as_json) as say:
            made = asyncio.run(_make(settings, root.resolve(), Wishes(chosen, with_settings, workers, keep), say))
    if as_json:
        typer.echo(json.dumps(_summary(made)))
    else:
        _tell(made)
    if made.header.objects.absent_count:
        raise typer.Exit(DIFFERS)


async def _make(settings: BackupSettings, root: Path, wishes: Wishes, say: Say) -> Made:
    _refuse_inside(root, settings)
    async with open_server_objects(settings) as objects:
        return await make_backup(settings, objects, root, wishes, say)


def _refuse_inside(root: Path, settings: BackupSettings) -> None:
    for store, directory, what in (
        (settings.archive_object_store, settings.archive_disk_directory.resolve(), "recordings"),
        (settings.chat_emote_store, settings.chat_emote_directory.resolve(), "emotes"),
    ):
        if store == "disk" and root.is_relative_to(directory):
            raise fail(f"{root} is inside of the {what} ({directory}): choose another directory", code=USED_WRONGLY)


def _verify(root: Path, *, as_json: bool) -> None:
    with told_errors(), waiting("comparing", quiet=as_json) as say:
        path = find(root)
        header, damage = verify_backup(path, say)
    if as_json:
        typer.echo(json.dumps({"backup": str(path), "whole": not damage, "damage": damage}))
    elif not damage:
        objects = f"and {header.objects.count} objects" if header.objects.included else "(objects are not in it)"
        typer.echo(f"{path}: whole: the database {objects}, made at {header.made_at:%Y-%m-%d %H:%M:%SZ}")
    if damage:
        raise fail([f"{path}: {line}" for line in damage])


def _summary(made: Made) -> dict[str, object]:
    return {
        "backup": str(made.path),
        "objects_linked": made.linked,
        "removed": list(made.removed),
        **made.header.model_dump(mode="json", exclude={"migrations"}),
    }


def _tell(made: Made) -> None:
    objects = made.header.objects
    size = f"{objects.size_bytes / 1e6:.1f} MB"
    kept = f"{size}, {made.linked} unchanged since the last one" if objects.included else f"{size}, listed only"
    typer.echo(
        f"made {made.path}: database {made.header.database.size_bytes / 1e6:.1f} MB, {objects.count} objects ({kept})"
    )
    if made.removed:
        typer.echo(f"removed {', '.join(made.removed)}")
    if not made.header.settings_included:
        typer.echo(
            "not in it: the settings file; keep a copy, or add it by --with-settings FILE: a restored server does not "
            "start without its LIVESTREAM_ACCOUNTS_KEY_SECRET"
        )
    for key in objects.absent:
        typer.echo(f"not in the store, though the database names it: {key}", err=True)
    if objects.absent_count > len(objects.absent):
        typer.echo(f"… {objects.absent_count} in all", err=True)
