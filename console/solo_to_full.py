"""``livestream migrate solo-to-full``: have Kafka carry the events that Postgres has carried so far."""

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from console.endings import fail
from console.progress import waiting
from console.server_settings import load_for
from console.stopped_server import ServerOption, own_postgres
from eventbus.bus import BusError
from eventbus.settings import BusSettings
from runtime.migrations import MigrationError

if TYPE_CHECKING:
    from eventbus.move_to_kafka import Moved

NEXT_STEPS = """next: set LIVESTREAM_BUS_BACKEND=kafka (and keep LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS), then start again.
recordings move apart from events, before or after: livestream objects copy --from disk --to s3"""


def solo_to_full(
    directory: ServerOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Move the events from Postgres to Kafka, where every process then says and hears them. Nothing is lost.

    Postgres must run and the services must not. Needs LIVESTREAM_POSTGRES_DSN and LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS.
    All events that are still kept go to Kafka in their order, read or not, dead letters among them; what is in Kafka
    is then compared with what was said. Groups recognise what they had handled. An interrupted move goes on when this
    is run again; until it has ended no service starts. There is no way back.

    Exit 0: Kafka has all of it (also if it had before); 1: not.

    Examples:

        livestream migrate solo-to-full --directory /var/lib/livestream

        livestream --env-file livestream.env migrate solo-to-full --json
    """
    with own_postgres(directory, server_must_be_stopped=True):
        settings = load_for(BusSettings)
        if not settings.kafka_bootstrap_servers:
            raise fail("LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS: missing (where the events are to go, as host:port)")
        moved = _move(settings, quiet=as_json)
    _tell(moved, as_json=as_json)


def _move(settings: BusSettings, *, quiet: bool) -> "Moved":
    # Imported when it is wanted: a server on Postgres, which is a verb too, has no need of a Kafka client.
    from eventbus.move_to_kafka import MoveError, move_to_kafka
    from eventbus.topics_kafka import TopicRefused

    try:
        with waiting("moving events to Kafka", quiet=quiet) as say:
            return asyncio.run(move_to_kafka(settings, say=say))
    except (MoveError, MigrationError, BusError, TopicRefused) as error:
        raise fail(str(error)) from None


def _tell(moved: "Moved", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"was_done": moved.was_done, "records": moved.records}))
        return
    if moved.was_done:
        typer.echo("Kafka has the events already; nothing was changed")
        return
    for topic, records in moved.records.items():
        typer.echo(f"{topic}: {records} records in Kafka, everything that was kept among them")
    typer.echo(NEXT_STEPS)
