"""What a backup must know: the database, and where the objects are."""

from archive.settings import ObjectSettings
from eventbus.settings import BusSettings


class BackupSettings(BusSettings, ObjectSettings):
    """Settings of ``livestream backup`` and ``livestream restore``."""
