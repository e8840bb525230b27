"""What a backup must know: the database, and where the objects are."""

from archive.settings import ObjectSettings
from chat.emotes.settings import EmoteSettings
from eventbus.settings import BusChoice
from runtime.settings import PostgresSettings


class BackupSettings(PostgresSettings, BusChoice, ObjectSettings, EmoteSettings):
    """Settings of ``livestream backup`` and ``livestream restore``."""
