"""The bus that the settings name."""

from contextlib import AbstractAsyncContextManager

from eventbus.bus import EventBus
from eventbus.settings import BusChoice, BusSettings, KafkaSettings
from runtime.settings import load_settings


def open_bus(settings: BusSettings) -> AbstractAsyncContextManager[EventBus]:
    """The bus of a process; waits for what carries it, saying so."""
    # Imported when it is wanted: a process on Postgres need not load a Kafka client.
    if settings.bus_backend == "postgres":
        from eventbus import bus_postgres

        return bus_postgres.open_bus(settings)
    return _open_kafka(settings)


def open_bus_of_environment() -> AbstractAsyncContextManager[EventBus]:
    """The bus for a command that needs nothing else: on Kafka it does without Postgres. Raises SettingsInvalid."""
    if load_settings(BusChoice).bus_backend == "postgres":
        return open_bus(load_settings(BusSettings))
    return _open_kafka(load_settings(KafkaSettings))


def _open_kafka(settings: KafkaSettings) -> AbstractAsyncContextManager[EventBus]:
    from eventbus import bus_kafka

    return bus_kafka.open_bus(settings)
