"""``livestream retention hold``, ``release`` and ``holds``: what nothing may touch, and why."""

from __future__ import annotations

import json
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from archive.retention import store as retention_store
from archive.retention.plan import Hold, Scope
from chat.log import retention as message_retention
from console.endings import USED_WRONGLY, fail
from console.retention.opened import ByOption, HoldingPools, JsonOption, uuid_of, whoever, with_holding_pools, with_pool
from runtime.postgres import Pool
from streaming.retention import holds as stream_holds
from streaming.retention.holds import HoldScope


def hold(
    reason: Annotated[str, typer.Option(help="Why; whoever finds the hold later reads it.")],
    everything: Annotated[
        bool, typer.Option("--everything", help="All recordings, all objects, all chat, all streams.")
    ] = False,
    channel: Annotated[
        str | None, typer.Option(metavar="ID", help="The recordings, the chat and the streams of one channel.")
    ] = None,
    recording: Annotated[str | None, typer.Option(metavar="ID", help="One recording, and its stream.")] = None,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep everything, what is a channel's or one recording: not cooled, purged, swept or deleted for its age.

    That is recordings and their objects, what was said in chat, and streams. Owners may still delete recordings of
    theirs, which hides them; their objects stay until the hold is released. Streams under a hold may move to the cold
    table, where they are found as before, unless everything is held. Waits for what is being deleted at this moment,
    and says so if the stream is gone then, or the channel's account was deleted: the hold keeps what is left.
    Exit 0: it stands; 1: not; 2: used wrongly.

    Examples:

        livestream retention hold --everything --reason "restoring a backup"

        livestream retention hold --channel 01975a7e-0000-7000-8000-000000000001 --reason "case 4711" --json
    """
    if [everything, channel is not None, recording is not None].count(True) != 1 or not reason.strip():
        raise fail("give one of --everything, --channel and --recording, and a reason", code=USED_WRONGLY)
    scope: Scope = "everything" if everything else "channel" if channel is not None else "recording"
    subject_id = uuid_of(f"--{scope}", channel or recording)
    placed_by = whoever(by)

    async def work(pools: HoldingPools) -> tuple[UUID, bool]:
        placed = await retention_store.place_hold(
            pools.recordings, scope=scope, subject_id=subject_id, reason=reason.strip(), placed_by=placed_by
        )
        if scope != "recording":
            await message_retention.place_hold(
                pools.messages, placed, subject_id, reason=reason.strip(), placed_by=placed_by
            )
        # a recording has the id of its stream
        of_streams: HoldScope = "stream" if scope == "recording" else scope
        in_time = await stream_holds.place_hold(
            pools.streams, placed, of_streams, subject_id, reason=reason.strip(), placed_by=placed_by
        )
        return placed, in_time

    hold_id, in_time = with_holding_pools(work, what="placing the hold", quiet=as_json)
    typer.echo(json.dumps({"hold_id": str(hold_id), "in_time": in_time}) if as_json else f"hold {hold_id} stands")
    if not in_time and not as_json:
        what = "stream" if scope == "recording" else scope
        typer.echo(f"but streaming does not have that {what}, or no more: the hold keeps what is left", err=True)


def release(
    hold_id: Annotated[str, typer.Argument(metavar="ID", help="The hold, as `holds` shows it.")],
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let go of what a hold keeps. Its row stays, with who released it.

    Exit 0: released; 1: there is no such hold in force; 2: used wrongly.

    Examples:

        livestream retention release 01975a7e-0000-7000-8000-000000000001
    """
    wanted, released_by = uuid_of("ID", hold_id), whoever(by)

    async def work(pools: HoldingPools) -> bool:
        if wanted is None:
            return False
        # the archive's last, which is the one that `holds` shows: whoever is interrupted can do it again
        released = [
            await stream_holds.release_hold(pools.streams, wanted, released_by=released_by),
            await message_retention.release_hold(pools.messages, wanted, released_by=released_by),
            await retention_store.release_hold(pools.recordings, wanted, released_by=released_by),
        ]
        return any(released)

    if not with_holding_pools(work, what="releasing the hold", quiet=as_json):
        raise fail(f"there is no hold {hold_id} in force; `livestream retention holds` shows those that are")
    typer.echo(json.dumps({"released": hold_id}) if as_json else f"hold {hold_id} is released")


def holds(
    include_released: Annotated[bool, typer.Option("--all", help="Also those that were released.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the holds in force, the newest first. Exit 0, also when there is none; 1: the database could not be asked.

    Examples:

        livestream retention holds

        livestream retention holds --all --json
    """

    async def work(pool: Pool) -> list[Hold]:
        return await retention_store.list_holds(pool, include_released=include_released)

    found = with_pool(work, what="looking for holds", quiet=as_json)
    if as_json:
        typer.echo(json.dumps([_facts(one) for one in found]))
    elif not found:
        typer.echo("no holds")
    else:
        table = Table("hold", "of", "since", "by", "reason", "released")
        for one in found:
            released = "" if one.released_at is None else f"{one.released_at:%Y-%m-%d} by {one.released_by}"
            subject = f"{one.scope} {one.subject_id or ''}".strip()
            table.add_row(
                str(one.hold_id), subject, f"{one.placed_at:%Y-%m-%d %H:%MZ}", one.placed_by, one.reason, released
            )
        Console().print(table)


def _facts(one: Hold) -> dict[str, object]:
    return {
        "hold_id": str(one.hold_id),
        "scope": one.scope,
        "subject_id": None if one.subject_id is None else str(one.subject_id),
        "reason": one.reason,
        "placed_by": one.placed_by,
        "placed_at": one.placed_at.isoformat(),
        "released_by": one.released_by,
        "released_at": None if one.released_at is None else one.released_at.isoformat(),
    }
