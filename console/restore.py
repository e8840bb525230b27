"""``livestream restore``: bring a server back from a backup, into an empty database and an empty store."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from console.backups.layout import SETTINGS, find, read_header
from console.backups.restoring import Restored, require_empty_directory, restore_backup
from console.backups.settings import BackupSettings
from console.backups.stores import open_server_objects
from console.backups.wording import told_errors
from console.endings import DIFFERS
from console.progress import Say, waiting
from console.server_settings import load_for
from console.stopped_server import ServerOption, own_postgres

app = typer.Typer()


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="A backup, or where backups are kept: then the newest.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a restore of the same backup that was interrupted.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Objects copied at the same time.")] = 4,
    directory: ServerOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Restore a backup into the database and the object store of the settings; both must be empty.

    Stop the server first, and start it afterwards. Objects are restored first, each compared with the backup's list;
    then the database, all of it or nothing. Nothing is ever replaced or removed. Interrupted? The database is still
    empty: repeat it with --resume, and the objects that are there already are compared and left alone.

    Exit 0: restored; 1: not; 2: used wrongly; 3: restored, but the backup holds no objects, and the store lacks some
    of its list.

    Examples:

        livestream restore /mnt/backup --directory /var/lib/livestream

        livestream --env-file /srv/livestream/livestream.env restore /mnt/backup/20261123T013200Z --json

        livestream restore /mnt/backup --resume
    """
    with own_postgres(directory, server_must_be_stopped=True), told_errors():
        settings = load_for(BackupSettings)
        with waiting("restoring", quiet=as_json) as say:
            restored = asyncio.run(_restore(settings, path.resolve(), workers=workers, resume=resume, say=say))
    if as_json:
        typer.echo(json.dumps(_summary(restored)))
    else:
        _tell(restored)
    if restored.absent:
        raise typer.Exit(DIFFERS)


async def _restore(settings: BackupSettings, path: Path, *, workers: int, resume: bool, say: Say) -> Restored:
    backup = await asyncio.to_thread(find, path)
    included = (await asyncio.to_thread(read_header, backup)).objects.included
    for store, directory in (
        (settings.archive_object_store, settings.archive_disk_directory),
        (settings.chat_emote_store, settings.chat_emote_directory),
    ):
        if store == "disk" and included and not resume:
            await asyncio.to_thread(require_empty_directory, directory)
    async with open_server_objects(settings) as objects:
        return await restore_backup(settings, objects, backup, workers=workers, resume=resume, say=say)


def _summary(restored: Restored) -> dict[str, object]:
    return {
        "backup": str(restored.path),
        "made_at": restored.header.made_at.isoformat(),
        "objects_restored": restored.objects_restored,
        "objects_there": restored.objects_there,
        "objects_absent": restored.absent,
        "migrations_behind": restored.migrations_behind,
    }


def _tell(restored: Restored) -> None:
    header = restored.header
    there = f" ({restored.objects_there} were there)" if restored.objects_there else ""
    objects = f"{restored.objects_restored} objects{there}" if header.objects.included else "no objects: it has none"
    typer.echo(f"restored {restored.path}: the database as of {header.made_at:%Y-%m-%d %H:%M:%SZ}, {objects}")
    if restored.absent:
        typer.echo(f"the object store lacks {restored.absent} of the {header.objects.count} objects listed", err=True)
    if restored.migrations_behind:
        typer.echo(f"next: livestream migrate ({restored.migrations_behind} migrations are newer than the backup)")
    if header.settings_included:
        typer.echo(f"the settings of that time are in {restored.path / SETTINGS}; put them in place before you start")
