"""``livestream topics``: make the topics of the contract in Kafka, and see how what is there differs from it."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from eventbus.bus import BusError
from eventbus.settings import KafkaSettings
from eventbus.topics_kafka import Change, TopicRefused, TopicState, drift_of, open_topics
from events import TOPICS
from runtime.settings import SettingsInvalid, load_settings

app = typer.Typer(help="Make and look at the topics of the contract.", no_args_is_help=True)

T = TypeVar("T")
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


@app.command()
def create(as_json: JsonOption = False) -> None:
    """Create missing topics and add missing partitions; report settings that differ. Waits for Kafka.

    Exit 0: every topic is there as the contract says; 1: Kafka refused; 3: all are there, but some differ.

    Examples:

        livestream topics create

        livestream topics create --json
    """
    changes = _run(_create())
    if as_json:
        rows = [{"topic": one.topic, "done": one.done, "drift": list(one.drift)} for one in changes]
        typer.echo(json.dumps(rows))
    else:
        for one in changes:
            typer.echo(f"{one.topic}: {one.done}" + "".join(f"; {sentence}" for sentence in one.drift))
    if any(one.drift for one in changes):
        raise typer.Exit(3)


@app.command("list")
def list_topics(as_json: JsonOption = False) -> None:
    """Show every topic of the contract and how the one in Kafka differs. Waits for Kafka.

    Exit 0: no difference; 3: some are missing or differ.

    Examples:

        livestream topics list

        livestream topics list --json
    """
    states = _run(_states())
    drifts = {topic.name: _drift(states, topic.name) for topic in TOPICS}
    if as_json:
        typer.echo(json.dumps([_row(name, states.get(name), drift) for name, drift in drifts.items()]))
    else:
        table = Table("topic", "key", "partitions", "retention", "said by", "heard by", "differs")
        for topic in TOPICS:
            table.add_row(
                topic.name,
                topic.key,
                str(topic.partitions),
                f"{topic.retention.days} d",
                topic.producer,
                ", ".join(topic.consumers),
                "; ".join(drifts[topic.name]) or "no",
            )
        Console().print(table)
    if any(drifts.values()):
        raise typer.Exit(3)


def _drift(states: dict[str, TopicState], name: str) -> tuple[str, ...]:
    topic = next(topic for topic in TOPICS if topic.name == name)
    return drift_of(topic, states[name]) if name in states else ("missing",)


def _row(name: str, state: TopicState | None, drift: tuple[str, ...]) -> dict[str, object]:
    return {"topic": name, "partitions": None if state is None else state.partitions, "drift": list(drift)}


async def _create() -> list[Change]:
    async with open_topics(load_settings(KafkaSettings)) as topics:
        return await topics.make(TOPICS)


async def _states() -> dict[str, TopicState]:
    async with open_topics(load_settings(KafkaSettings)) as topics:
        return await topics.states(TOPICS)


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except SettingsInvalid as invalid:
        typer.echo("\n".join(invalid.lines), err=True)
    except (BusError, TopicRefused) as error:
        typer.echo(str(error), err=True)
    raise typer.Exit(1)
