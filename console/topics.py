"""``livestream topics``: make the topics of the contract on the bus, and see how what is there differs from it."""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from console.progress import waiting
from eventbus.bus import BusError
from eventbus.settings import BusChoice, KafkaSettings
from events import TOPICS
from runtime.settings import SettingsInvalid, load_settings

app = typer.Typer(help="Make and look at the topics of the contract.", no_args_is_help=True)

T = TypeVar("T")
NOTHING_TO_MAKE = "nothing to make: on Postgres its log is an outbox"
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


@dataclass(frozen=True, slots=True)
class _Topic:
    """A topic of the contract as it is on the bus."""

    name: str
    partitions: int | None
    drift: tuple[str, ...]
    done: str = ""


class _Refused(Exception):
    """The text is for the operator."""


@app.command()
def create(as_json: JsonOption = False) -> None:
    """Create missing topics and add missing partitions; report settings that differ. Waits for Kafka.

    On Postgres there is nothing to make: a topic's log is the outbox of the service that says it, which
    `livestream migrate` makes.

    Exit 0: every topic is there as the contract says; 1: Kafka refused; 3: all are there, but some differ.

    Examples:

        livestream topics create

        livestream topics create --json
    """
    topics = _run(_topics(make=True), as_json=as_json)
    if as_json:
        rows = [{"topic": one.name, "done": one.done, "drift": list(one.drift)} for one in topics]
        typer.echo(json.dumps(rows))
    else:
        for one in topics:
            typer.echo(f"{one.name}: {one.done}" + "".join(f"; {sentence}" for sentence in one.drift))
    if any(one.drift for one in topics):
        raise typer.Exit(3)


@app.command("list")
def list_topics(as_json: JsonOption = False) -> None:
    """Show every topic of the contract and how the one in Kafka differs (on Postgres none can). Waits for Kafka.

    Exit 0: no difference; 3: some are missing or differ.

    Examples:

        livestream topics list

        livestream topics list --json
    """
    found = _run(_topics(make=False), as_json=as_json)
    if as_json:
        rows = [{"topic": one.name, "partitions": one.partitions, "drift": list(one.drift)} for one in found]
        typer.echo(json.dumps(rows))
    else:
        table = Table("topic", "key", "partitions", "retention", "said by", "heard by", "differs")
        for topic, one in zip(TOPICS, found, strict=True):
            table.add_row(
                topic.name,
                topic.key,
                str(topic.partitions),
                f"{topic.retention.days} d",
                topic.producer,
                ", ".join(topic.consumers),
                "; ".join(one.drift) or "no",
            )
        Console().print(table)
    if any(one.drift for one in found):
        raise typer.Exit(3)


async def _topics(*, make: bool) -> list[_Topic]:
    if load_settings(BusChoice).bus_backend == "postgres":
        return [_Topic(topic.name, topic.partitions, (), NOTHING_TO_MAKE) for topic in TOPICS]
    # Imported when it is wanted: this package is loaded by every verb, and `livestream solo` needs no Kafka client.
    from eventbus.topics_kafka import TopicRefused, drift_of, open_topics

    async with open_topics(load_settings(KafkaSettings)) as there:
        done: dict[str, str] = {}
        if make:
            try:
                done = {one.topic: one.done for one in await there.make(TOPICS)}
            except TopicRefused as refused:
                raise _Refused(str(refused)) from refused
        states = await there.states(TOPICS)
    return [
        _Topic(topic.name, states[topic.name].partitions, drift_of(topic, states[topic.name]), done.get(topic.name, ""))
        if topic.name in states
        else _Topic(topic.name, None, ("missing",))
        for topic in TOPICS
    ]


def _run(work: Coroutine[Any, Any, T], *, as_json: bool) -> T:
    try:
        with waiting("asking the bus", quiet=as_json):
            return asyncio.run(work)
    except SettingsInvalid as invalid:
        typer.echo("\n".join(invalid.lines), err=True)
    except (BusError, _Refused) as error:
        typer.echo(str(error), err=True)
    raise typer.Exit(1)
