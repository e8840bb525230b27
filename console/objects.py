"""``livestream objects``: copy recordings from one object store to another."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from archive.objects.copying import Copy, CopyReport, Outcome
from archive.objects.store_configured import disk_objects, s3_objects
from archive.settings import ObjectSettings
from console.endings import NOT_DONE, USED_WRONGLY, fail
from console.progress import Say, waiting
from console.server_settings import load_for
from runtime.objects import EVERYTHING, InvalidKey, ObjectStore, ObjectStoreError, StoredObject, checked_prefix

app = typer.Typer(help="Move recordings between object stores.", no_args_is_help=True)

FAILURES_SHOWN_MAX = 20


@app.callback()
def objects() -> None:
    """Move recordings between object stores."""


@app.command()
def copy(
    source: Annotated[str, typer.Option("--from", metavar="s3|disk|disk:DIR", help="Where the objects are.")],
    target: Annotated[str, typer.Option("--to", metavar="s3|disk|disk:DIR", help="Where they shall be.")],
    prefix: Annotated[
        str, typer.Option(help="Only what is below this folder, for example a recording's id.", metavar="ID/")
    ] = EVERYTHING,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Objects copied at the same time.")] = 4,
    read_back: Annotated[
        bool, typer.Option("--read-back", help="Read every object back from S3 too, instead of trusting its MD5.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Copy every object from one store to another, verified; repeat it to resume, or to bring over what is new.

    `s3` is the bucket of LIVESTREAM_ARCHIVE_S3_*, `disk` the directory LIVESTREAM_ARCHIVE_DISK_DIRECTORY. An object
    that is there already with the same size and bytes is left alone; nothing is deleted. Media are copied before the
    playlists that name them. What is on a disk is read back and its SHA-256 compared; for S3, the MD5 that the store
    worked out itself is proof, and where it has none, or with --read-back, the object is read back as well.

    Exit 0: every object of the source is in the target, verified; 1: not; 2: used wrongly.

    Examples:

        livestream objects copy --from disk --to s3

        livestream objects copy --from disk:/mnt/old --to disk --prefix 01975a7e-0000-7000-8000-000000000001/

        livestream objects copy --from s3 --to disk:/mnt/backup --read-back --json
    """
    _check(source, target, prefix)
    settings = load_for(ObjectSettings)
    started = time.monotonic()
    try:
        with waiting("copying objects", quiet=as_json) as say:
            report = asyncio.run(_copy(settings, source, target, prefix, workers=workers, read_back=read_back, say=say))
    except ValueError as error:
        raise fail(str(error), code=USED_WRONGLY) from None
    except ObjectStoreError as error:
        raise fail(f"{error}; what was copied stays: run it again to go on") from None
    seconds = round(time.monotonic() - started, 3)
    if as_json:
        typer.echo(json.dumps(_summary(report, seconds)))
    else:
        _tell(report, seconds)
    if not report.complete:
        raise typer.Exit(NOT_DONE)


@asynccontextmanager
async def open_place(settings: ObjectSettings, place: str) -> AsyncIterator[ObjectStore]:
    """The store that `s3`, `disk` or `disk:DIR` names. Raises ValueError, StoreUnavailable; does not wait."""
    if place == "s3":
        async with s3_objects(settings) as store:
            yield store
        return
    async with disk_objects(settings, _disk_directory(settings, place)) as store:
        yield store


def _disk_directory(settings: ObjectSettings, place: str) -> Path:
    named = place.removeprefix("disk").removeprefix(":")
    return Path(named) if named else settings.archive_disk_directory


def _check(source: str, target: str, prefix: str) -> None:
    for option, place in (("--from", source), ("--to", target)):
        if place not in ("s3", "disk") and not (place.startswith("disk:") and place != "disk:"):
            raise fail(f"{option} {place}: wanted s3, disk or disk:DIR", code=USED_WRONGLY)
    if source == target:
        raise fail("--from and --to are the same place", code=USED_WRONGLY)
    try:
        checked_prefix(prefix)
    except InvalidKey:
        raise fail(f"--prefix {prefix}: wanted a folder with its slash, such as ID/", code=USED_WRONGLY) from None


async def _copy(
    settings: ObjectSettings, source: str, target: str, prefix: str, *, workers: int, read_back: bool, say: Say
) -> CopyReport:
    if source != "s3" and not (folder := _disk_directory(settings, source)).is_dir():
        raise ValueError(f"--from {source}: {folder} is not a directory")
    done = 0

    def on_object(stored: StoredObject, outcome: Outcome) -> None:
        nonlocal done
        done += 1
        say(f"{done} done, {stored.key} {outcome}")

    async with AsyncExitStack() as stack:
        from_store = await stack.enter_async_context(open_place(settings, source))
        to_store = await stack.enter_async_context(open_place(settings, target))
        return await Copy(from_store, to_store, workers=workers, read_back=read_back, on_object=on_object).run(prefix)


def _summary(report: CopyReport, seconds: float) -> dict[str, object]:
    return {
        "complete": report.complete,
        **{str(outcome): objects for outcome, objects in report.outcomes.items()},
        "bytes_copied": report.bytes_copied,
        "failures": report.failures,
        "seconds": seconds,
    }


def _tell(report: CopyReport, seconds: float) -> None:
    counted = report.outcomes
    typer.echo(
        f"{counted['copied']} copied ({report.bytes_copied / 1e6:.1f} MB) and verified, {counted['there']} were there "
        f"already, in {seconds:.1f} s"
    )
    if counted["gone"]:
        typer.echo(f"{counted['gone']} were deleted from the source meanwhile")
    for key, reason in list(report.failures.items())[:FAILURES_SHOWN_MAX]:
        typer.echo(f"failed: {reason or key}", err=True)
    if not report.complete:
        typer.echo(
            f"{counted['failed']} failed, and {counted['skipped']} playlists that name them were left out: "
            "run it again",
            err=True,
        )
