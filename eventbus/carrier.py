"""Which bus carries an installation's events: kept in its database, so that a wrong setting cannot split them.

The first process that opens a bus claims the installation for it. From then on processes with another setting refuse
to start; ``livestream migrate solo-to-full`` is the way from Postgres to Kafka.
"""

from eventbus.log_postgres import BUS_SCHEMA
from eventbus.outbox import QUERIES
from eventbus.settings import BusSettings
from runtime.migrations import wait_until_migrated
from runtime.postgres import Connection, open_pool
from runtime.service import CannotServe

MOVING = "moving"
REMEDIES = {
    ("postgres", "kafka"): "move them first: livestream migrate solo-to-full",
    ("kafka", "postgres"): "set LIVESTREAM_BUS_BACKEND=kafka; there is no way back, because Kafka has what came after",
    (MOVING, "kafka"): "they are being moved to Kafka: let livestream migrate solo-to-full end, or run it again",
    (MOVING, "postgres"): "they are being moved to Kafka: let livestream migrate solo-to-full end, or run it again",
}


class CarriedElsewhere(CannotServe):
    """Another bus carries the events. ``carrier`` is which, ``wanted`` what the settings say."""

    def __init__(self, carrier: str, wanted: str) -> None:
        where = "neither bus right now" if carrier == MOVING else carrier
        super().__init__(
            f"LIVESTREAM_BUS_BACKEND is {wanted}, and this installation's events are on {where}: "
            + REMEDIES[carrier, wanted]
        )
        self.carrier = carrier
        self.wanted = wanted


async def claim_carrier(settings: BusSettings) -> None:
    """Return when the settings' bus carries the events; waits for Postgres and migrations. Raises CarriedElsewhere."""
    single = settings.model_copy(update={"postgres_connections_max": 1})
    async with open_pool(single, schema=BUS_SCHEMA) as pool:
        await wait_until_migrated(pool, schema=BUS_SCHEMA)
        async with pool.acquire() as connection:
            carrier = await claim(connection, settings.bus_backend)
    if carrier != settings.bus_backend:
        raise CarriedElsewhere(carrier, settings.bus_backend)


async def claim(connection: Connection, backend: str) -> str:
    """Claim the installation for a bus unless it is claimed; the answer is who has it."""
    carrier = await QUERIES.claim_carrier(connection, backend=backend)
    if carrier is None:  # another process claimed it in this very moment: what it said can be seen now
        carrier = await QUERIES.read_carrier(connection)
    return str(carrier)
