"""``livestream migrate solo-to-full``: have Kafka carry the events that Postgres has carried so far."""

import asyncio
import json
from typing import Annotated

import typer

from console.endings import fail
from console.progress import waiting
from console.server_settings import load_for
from eventbus.bus import BusError
from eventbus.move_to_kafka import Moved, MoveError, move_to_kafka
from eventbus.settings import BusSettings
from eventbus.topics_kafka import TopicRefused
from runtime.migrations import MigrationError

NEXT_STEPS = """next: set LIVESTREAM_BUS_BACKEND=kafka (and keep LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS), then start again.
recordings move apart from events, before or after: livestream objects copy --from disk --to s3"""


def solo_to_full(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Move the events from Postgres to Kafka, where every process then says and hears them. Nothing is lost.

    Postgres must run and the services must not. Needs LIVESTREAM_POSTGRES_DSN and LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS.
    All events that are still kept go to Kafka in their order, read or not, dead letters among them; what is in Kafka
    is then compared with what was said. Groups recognise what they had handled. An interrupted move goes on when this
    is run again; until it has ended no service starts. There is no way back.

    Exit 0: Kafka has all of it (also if it had before); 1: not.

    Examples:

        livestream migrate solo-to-full

        livestream --env-file /var/lib/livestream/livestream.env migrate solo-to-full --json
    """
    settings = load_for(BusSettings)
    if not settings.kafka_bootstrap_servers:
        raise fail("LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS: missing (where the events are to go, as host:port)")
    try:
        with waiting("moving events to Kafka", quiet=as_json) as say:
            moved = asyncio.run(move_to_kafka(settings, say=say))
    except (MoveError, MigrationError, BusError, TopicRefused) as error:
        raise fail(str(error)) from None
    _tell(moved, as_json=as_json)


def _tell(moved: Moved, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"was_done": moved.was_done, "records": moved.records}))
        return
    if moved.was_done:
        typer.echo("Kafka has the events already; nothing was changed")
        return
    for topic, records in moved.records.items():
        typer.echo(f"{topic}: {records} records in Kafka, everything that was kept among them")
    typer.echo(NEXT_STEPS)
