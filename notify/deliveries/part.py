"""Puts together what all delivery channels have in common; each brings its own workers."""

from datetime import timedelta

from notify.deliveries.upkeep import DeliveryUpkeep
from notify.parts import NotifyParts
from runtime.assembly import Assembly


def assemble_deliveries(parts: NotifyParts) -> Assembly:
    """The service that clears away what deliveries leave behind."""
    dead_kept = timedelta(days=parts.settings.notify_delivery_dead_days_max)
    return Assembly(services=[DeliveryUpkeep(parts.pool, dead_kept=dead_kept)])
