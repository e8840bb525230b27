"""The bus that the settings name."""

from contextlib import AbstractAsyncContextManager

from eventbus.bus import EventBus
from eventbus.settings import BusSettings


def open_bus(settings: BusSettings) -> AbstractAsyncContextManager[EventBus]:
    """The bus of a process; waits for what carries it, saying so."""
    # Imported when it is wanted: a process on Postgres need not load a Kafka client.
    if settings.bus_backend == "postgres":
        from eventbus import bus_postgres

        return bus_postgres.open_bus(settings)
    from eventbus import bus_kafka

    return bus_kafka.open_bus(settings)
