"""``livestream deliveries``: look at pushes, mails and webhooks that were given up on, and send them again."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from console.endings import fail
from console.progress import waiting
from notify.deliveries.dead import DeadDelivery, NoSuchDelivery, find_dead, list_dead
from notify.deliveries.dead import replay as put_back
from notify.deliveries.delivery import ChannelName
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings, SettingsInvalid, load_settings

app = typer.Typer(
    help="Look at pushes, mails and webhooks that were given up on, and replay them.", no_args_is_help=True
)

T = TypeVar("T")
REPLAYED_MAX = 100_000
REASON_CHARACTERS_SHOWN_MAX = 200
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]
ChannelOption = Annotated[ChannelName | None, typer.Option("--channel", help="Only those of this delivery channel.")]
SourceOption = Annotated[
    UUID | None, typer.Option("--source", help="Only those of this fan-out, webhook endpoint or person.")
]
ProviderOption = Annotated[
    str | None, typer.Option("--provider", help="Only those to this provider, for example fcm.googleapis.com:443.")
]


@app.command("list")
def list_deliveries(
    channel: ChannelOption = None,
    source: SourceOption = None,
    provider: ProviderOption = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many, the newest.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Show deliveries that were given up on, the newest first. Exit 0, also when there are none; 1: cannot be asked.

    Needs LIVESTREAM_POSTGRES_DSN.

    Examples:

        livestream deliveries list

        livestream deliveries list --channel webhook --json
    """
    found = _run(
        lambda pool: list_dead(pool, channel=channel, source_id=source, provider=provider, rows_max=limit),
        as_json=as_json,
    )
    if as_json:
        typer.echo(json.dumps([_whole(one) for one in found]))
        return
    for one in found:
        typer.echo(_lines(one))
    if not found:
        typer.echo("no dead deliveries")


@app.command()
def show(
    id: Annotated[int, typer.Argument(help="As `list` shows it.")],  # noqa: A002  its name in --help
    as_json: JsonOption = False,
) -> None:
    """Show one of them whole. Exit 0; 1: there is none with this id, or the database cannot be asked.

    Examples:

        livestream deliveries show 4711

        livestream deliveries show 4711 --json
    """
    whole = _whole(_run(lambda pool: find_dead(pool, id), as_json=as_json))
    if as_json:
        typer.echo(json.dumps(whole))
        return
    for name, value in whole.items():
        typer.echo(f"{name}: {'' if value is None else value}")


@app.command()
def replay(
    ids: Annotated[list[int] | None, typer.Argument(help="Those to replay, as `list` shows them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help=f"All, at most {REPLAYED_MAX} of them.")] = False,
    channel: ChannelOption = None,
    source: SourceOption = None,
    provider: ProviderOption = None,
    valid_hours: Annotated[float, typer.Option(min=0.1, max=168, help="Not sent any more after so long.")] = 24,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be replayed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put them back into their queues, with the ids that their messages had, and all attempts before them.

    What nobody wants any more (the fan-out was cancelled, the destination is gone) is dropped when its turn comes.

    Exit 0: put back (or nothing to put back); 1: an id is unknown, or the database cannot be asked; 2: neither ids nor
    --all given.

    Examples:

        livestream deliveries replay 4711 4712

        livestream deliveries replay --all --provider fcm.googleapis.com:443 --dry-run
    """
    if bool(ids) == everything:
        raise typer.BadParameter("name deliveries, or give --all")

    async def work(pool: Pool) -> list[DeadDelivery]:
        if ids:
            chosen = [await find_dead(pool, one) for one in ids]
        else:
            chosen = list(
                await list_dead(pool, channel=channel, source_id=source, provider=provider, rows_max=REPLAYED_MAX)
            )
        if not dry_run:
            await put_back(pool, [one.delivery_id for one in chosen], valid_for=timedelta(hours=valid_hours))
        return chosen

    chosen = _run(work, as_json=as_json)
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "replayed": [one.delivery_id for one in chosen]}))
        return
    for one in chosen:
        typer.echo(f"{'would replay' if dry_run else 'replayed'} {one.delivery_id}  {one.channel}  {one.provider}")
    if not chosen:
        typer.echo("nothing to replay")


def _run(work: Callable[[Pool], Awaitable[T]], *, as_json: bool) -> T:
    async def with_pool(settings: PostgresSettings) -> T:
        async with open_pool(settings, schema="notify") as pool:
            return await work(pool)

    try:
        settings = load_settings(PostgresSettings)
        with waiting("asking Postgres", quiet=as_json):
            return asyncio.run(with_pool(settings))
    except SettingsInvalid as invalid:
        raise fail(invalid.lines) from None
    except NoSuchDelivery as error:
        raise fail(str(error)) from None


def _lines(one: DeadDelivery) -> str:
    """Two lines: what and where to, then why."""
    return (
        f"{one.delivery_id}  {one.died_at:%Y-%m-%d %H:%M:%SZ}  {one.channel}/{one.lane}  {one.provider}"
        f"  of {one.source_id}  after {one.attempts} attempts\n"
        f"    {one.reason[:REASON_CHARACTERS_SHOWN_MAX]}"
    )


def _whole(one: DeadDelivery) -> dict[str, object]:
    return {
        "id": one.delivery_id,
        "died_at": one.died_at.isoformat(),
        "channel": one.channel.value,
        "lane": one.lane.value,
        "provider": one.provider,
        "reason": one.reason,
        "attempts": one.attempts,
        "source_id": str(one.source_id),
        "message_id": str(one.message_id),
        "user_id": str(one.user_id),
        "destination_id": str(one.destination_id),
        "created_at": one.created_at.isoformat(),
        "content": None if one.content is None else dict(one.content),
    }
