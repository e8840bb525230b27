"""``livestream dead-letters``: look at the messages that consumers set aside, and send them back."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from console.progress import waiting
from eventbus.bus import BusError
from eventbus.bus_configured import open_bus_of_environment
from eventbus.dead_letters import DeadLetter, DeadLetters, NoSuchDeadLetter, NotReplayable
from runtime.settings import SettingsInvalid

app = typer.Typer(help="Look at messages that were set aside, and replay them.", no_args_is_help=True)

T = TypeVar("T")
ERROR_CHARACTERS_SHOWN_MAX = 200
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]
GroupOption = Annotated[str | None, typer.Option("--group", help="Only those that this consumer group set aside.")]
TopicOption = Annotated[str | None, typer.Option("--topic", help="Only those that came from this topic.")]


@app.command("list")
def list_letters(
    group: GroupOption = None,
    topic: TopicOption = None,
    include_replayed: Annotated[bool, typer.Option("--all", help="Also those that were replayed.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many, the newest.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Show dead letters, oldest first. Exit 0, also when there are none; 1: the bus could not be asked.

    Examples:

        livestream dead-letters list

        livestream dead-letters list --group notify-streams --json
    """
    letters = _run(lambda dead: dead.all(group=group, topic=topic), as_json=as_json)
    shown = [letter for letter in letters if include_replayed or letter.replayed_at is None][-limit:]
    if as_json:
        typer.echo(json.dumps([_summary(letter) for letter in shown]))
        return
    if not shown:
        typer.echo("no dead letters")
        return
    for letter in shown:
        typer.echo(_lines(letter))


@app.command()
def show(
    id: Annotated[str, typer.Argument(help="As `list` shows it, for example 0:17.")],  # noqa: A002  its name in --help
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter whole. Exit 0; 1: there is none with this id, or the bus could not be asked.

    Examples:

        livestream dead-letters show 0:17

        livestream dead-letters show 0:17 --json
    """
    letter = _run(lambda dead: dead.find(id), as_json=as_json)
    whole = _whole(letter)
    if as_json:
        typer.echo(json.dumps(whole))
        return
    for name, value in whole.items():
        if isinstance(value, dict):
            typer.echo(f"{name}:")
            for key, text in value.items():
                typer.echo(f"  {key}: {text}")
        else:
            typer.echo(f"{name}: {'' if value is None else value}")


@app.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Those to replay, as `list` shows them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that were not replayed yet.")] = False,
    group: GroupOption = None,
    topic: TopicOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be replayed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish originals again for the group that set them aside. Its inbox makes a second replay harmless.

    Exit 0: replayed (or nothing to replay); 1: an id is unknown, a letter is not whole, or the bus could not be asked;
    2: neither ids nor --all given.

    Examples:

        livestream dead-letters replay 0:17 0:18

        livestream dead-letters replay --all --group notify-streams --dry-run
    """
    if bool(ids) == everything:
        raise typer.BadParameter("name dead letters, or give --all")

    async def work(dead: DeadLetters) -> list[DeadLetter]:
        if everything:
            letters = [letter for letter in await dead.all(group=group, topic=topic) if letter.replayed_at is None]
        else:
            letters = [await dead.find(one) for one in ids or ()]
        if not dry_run:
            await dead.replay(letters)
        return letters

    letters = _run(work, as_json=as_json)
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "replayed": [_summary(letter) for letter in letters]}))
        return
    for letter in letters:
        typer.echo(f"{'would replay' if dry_run else 'replayed'} {letter.id} to {letter.topic} for {letter.group}")
    if not letters:
        typer.echo("nothing to replay")


def _run(work: Callable[[DeadLetters], Awaitable[T]], *, as_json: bool) -> T:
    async def with_bus() -> T:
        async with open_bus_of_environment() as bus:
            return await work(DeadLetters(bus))

    try:
        with waiting("asking the bus", quiet=as_json):
            return asyncio.run(with_bus())
    except SettingsInvalid as invalid:
        typer.echo("\n".join(invalid.lines), err=True)
    except (BusError, NoSuchDeadLetter, NotReplayable) as error:
        typer.echo(str(error), err=True)
    raise typer.Exit(1)


def _lines(letter: DeadLetter) -> str:
    """Two lines: what and where from, then why."""
    replayed = "" if letter.replayed_at is None else f"  replayed {letter.replayed_at:%Y-%m-%d %H:%M:%SZ}"
    return (
        f"{letter.id}  {letter.at:%Y-%m-%d %H:%M:%SZ}  {letter.group}  {letter.type or 'unknown type'}"
        f"  {letter.topic}/{letter.partition}@{letter.offset}{replayed}\n"
        f"    {letter.error}: {letter.error_text[:ERROR_CHARACTERS_SHOWN_MAX]}"
    )


def _summary(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.id,
        "at": letter.at.isoformat(),
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "group": letter.group,
        "type": letter.type,
        "event_id": letter.event_id,
        "error": letter.error,
        "error_text": letter.error_text,
        "attempts": letter.attempts,
        "replayed_at": None if letter.replayed_at is None else letter.replayed_at.isoformat(),
    }


def _whole(letter: DeadLetter) -> dict[str, object]:
    return {
        **_summary(letter),
        "key": _text(letter.key),
        "headers": {name: _text(value) for name, value in letter.headers},
        "value": _text(letter.value),
        "value_dropped": letter.value_dropped,
    }


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")
