"""Everything that can go wrong with a backup, as one tree.

::

    BackupError
    ├── PostgresUnreachable
    ├── ToolMissing       pg_dump or pg_restore is not installed
    ├── ToolFailed        … or did not do its work
    ├── NothingToBackUp   the database has no schema of ours
    ├── BackupBusy        another backup is being made in the directory
    ├── NoSuchBackup      the directory holds no whole backup
    ├── BackupDamaged     files of the backup are not what its header says
    ├── NewerSchema       the backup has migrations that this version does not know
    ├── TargetNotEmpty    a restore would mix with what is there
    ├── NoPlaceForEmotes  the backup has images of emotes, and the settings name no store for them
    └── TargetDamages     the object store gives back other bytes than it was given
"""

from collections.abc import Sequence
from pathlib import Path


class BackupError(Exception):
    """Base; ``lines`` are for people, each with the next step where there is one."""

    def __init__(self, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class PostgresUnreachable(BackupError):
    """The server does not answer, or does not let us in."""


class ToolMissing(BackupError):
    """A program of Postgres is not installed."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} is not installed; do: apt-get install postgresql-client")
        self.program = program


class ToolFailed(BackupError):
    """A program of Postgres ended with another exit code than 0."""

    def __init__(self, program: str, reason: str) -> None:
        super().__init__(f"{program}: {reason}")
        self.program = program


class NothingToBackUp(BackupError):
    """No schema of ours is in the database."""


class BackupBusy(BackupError):
    """Somebody makes a backup in this directory."""

    def __init__(self, root: Path) -> None:
        super().__init__(f"{root}: another backup is being made there; wait until it is done")
        self.root = root


class NoSuchBackup(BackupError):
    """There is no whole backup here."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: there is no whole backup here (a backup.json, in it or in a directory below it)")
        self.path = path


class BackupDamaged(BackupError):
    """Files of the backup are missing or changed."""


class NewerSchema(BackupError):
    """The backup was made by a later version of the project."""

    def __init__(self, migrations: Sequence[str], version: str) -> None:
        super().__init__(
            f"the backup was made by version {version} and has migrations that this version does not know: "
            f"{', '.join(migrations)}; restore it with that version"
        )
        self.migrations = migrations


class TargetNotEmpty(BackupError):
    """What is there would be mixed with what comes."""


class NoPlaceForEmotes(BackupError):
    """Images of emotes would be lost."""

    def __init__(self) -> None:
        super().__init__("the backup has images of chat's emotes: say in LIVESTREAM_CHAT_EMOTE_STORE where to put them")


class TargetDamages(BackupError):
    """The object store does not keep what it is given."""
