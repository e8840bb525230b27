"""``livestream retention plan`` and ``apply``: what would go now, and one round of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from console.endings import DIFFERS, USED_WRONGLY, fail
from console.retention.opened import JsonOption, with_services
from console.retention.port import ACTIONS, Found, Line, RetentionPlan

MB = 10**6

SweepOption = Annotated[
    bool, typer.Option("--sweep/--no-sweep", help="Also go through the whole store for what nobody names.")
]


def plan(sweep: SweepOption = True, as_json: JsonOption = False) -> None:
    """Show what would be cooled, deleted, purged and swept now, by channel, and what it would free. Changes nothing.

    Recordings, chat and streams. Cooled streams move to a table of old ones, by months; purged ones are gone. Deleting
    hides a recording and frees nothing yet: it can be undone until the purge. Needs LIVESTREAM_POSTGRES_DSN and the
    settings of the object store. Exit 0: planned; 3: planned, and objects are missing that the database names; 1: not.

    Examples:

        livestream retention plan

        livestream retention plan --no-sweep --json
    """
    now = datetime.now(UTC)

    async def work(services: list[RetentionPlan]) -> dict[str, Found]:
        return {one.service: await one.plan(now) for one in services}

    _tell(with_services(work, sweeps=sweep, what="planning", quiet=as_json), now, would="would be", as_json=as_json)


def apply(
    sweep: SweepOption = True,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Do one round of it now: as many recordings as a round of the service does, and the whole store.

    The services do the same by themselves, unless LIVESTREAM_ARCHIVE_RETENTION, LIVESTREAM_ARCHIVE_SWEEP or
    LIVESTREAM_STREAMING_RETENTION are off. Both may run at once. What is cut short is gone on with by the next round.
    Exit 0: done; 3: done, and objects are missing that the database names; 1: not done, or not confirmed; 2: used
    wrongly.

    Examples:

        livestream retention apply

        livestream retention apply --yes --json
    """
    if as_json and not yes:
        raise fail("--json asks nobody: give --yes too", code=USED_WRONGLY)
    if not yes:
        typer.confirm("Cool, delete, purge and sweep now? `livestream retention plan` shows what", abort=True)
    now = datetime.now(UTC)

    async def work(services: list[RetentionPlan]) -> dict[str, Found]:
        return {one.service: await one.apply(now) for one in services}

    _tell(with_services(work, sweeps=sweep, what="applying", quiet=as_json), now, would="", as_json=as_json)


def _tell(found: Mapping[str, Found], now: datetime, *, would: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_facts(found, now)))
    else:
        for service, one in found.items():
            _tell_one(service, one, would)
    if any(one.missing for one in found.values()):
        raise typer.Exit(DIFFERS)


def _tell_one(service: str, found: Found, would: str) -> None:
    if found.lines:
        table = Table("action", "channel", "how many", "MB", title=f"{service}: what {would or 'was'} done")
        for line in found.lines:
            table.add_row(line.action, str(line.channel_id or "-"), f"{line.count:,}", f"{line.size_bytes / MB:,.1f}")
        Console().print(table)
    for action in ACTIONS:
        lines = [line for line in found.lines if line.action == action]
        if lines:
            count, size_bytes = sum(line.count for line in lines), sum(line.size_bytes for line in lines)
            typer.echo(f"{action}: {count:,} with {size_bytes / MB:,.1f} MB")
    if not found.lines:
        typer.echo(f"{service}: nothing to do" if would else f"{service}: there was nothing to do")
    typer.echo(f"{found.freed_bytes() / MB:,.1f} MB {would} freed".replace("  ", " "))
    if found.held:
        typer.echo(f"held: {sum(line.count for line in found.held):,} (`livestream retention holds` says by what)")
    for note in found.notes:
        typer.echo(note)


def _facts(found: Mapping[str, Found], now: datetime) -> dict[str, object]:
    return {
        "at": now.isoformat(),
        "freed_bytes": sum(one.freed_bytes() for one in found.values()),
        "services": {
            service: {
                "actions": _rows(one.lines),
                "held": _rows(one.held),
                "missing": one.missing,
                "notes": list(one.notes),
            }
            for service, one in found.items()
        },
    }


def _rows(lines: Sequence[Line]) -> list[dict[str, object]]:
    return [
        {
            "action": line.action,
            "channel_id": None if line.channel_id is None else str(line.channel_id),
            "count": line.count,
            "bytes": line.size_bytes,
        }
        for line in lines
    ]
