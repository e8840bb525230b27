"""The bus that the settings name."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from eventbus.bus import EventBus
from eventbus.carrier import claim_carrier
from eventbus.settings import BusChoice, BusSettings, KafkaSettings
from runtime.settings import load_settings


def open_bus(settings: BusSettings) -> AbstractAsyncContextManager[EventBus]:
    """The bus of a process; waits for what carries it, saying so.

    Entering raises CarriedElsewhere when the installation's events are on another bus.
    """
    return _open_bus(settings)


@asynccontextmanager
async def _open_bus(settings: BusSettings) -> AsyncIterator[EventBus]:
    await claim_carrier(settings)
    # Imported when it is wanted: a process on Postgres need not load a Kafka client.
    if settings.bus_backend == "postgres":
        from eventbus import bus_postgres as backend
    else:
        from eventbus import bus_kafka as backend  # type: ignore[no-redef]  # the other of two modules alike
    async with backend.open_bus(settings) as bus:
        yield bus


def open_bus_of_environment() -> AbstractAsyncContextManager[EventBus]:
    """The bus for a command that needs nothing else: on Kafka it does without Postgres. Raises SettingsInvalid."""
    if load_settings(BusChoice).bus_backend == "postgres":
        return open_bus(load_settings(BusSettings))
    from eventbus import bus_kafka

    return bus_kafka.open_bus(load_settings(KafkaSettings))
