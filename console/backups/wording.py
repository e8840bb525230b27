"""Turns what can go wrong with a backup into lines for people and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from console.backups.errors import BackupError
from console.endings import USED_WRONGLY, fail
from runtime.objects import ObjectStoreError


@contextmanager
def told_errors() -> Iterator[None]:
    """Say what went wrong and leave with exit code 1, or 2 for settings that are not complete."""
    try:
        yield
    except BackupError as error:
        raise fail(error.lines) from None
    except ObjectStoreError as error:
        raise fail(str(error)) from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise fail(f"Postgres: {error}") from None
    except OSError as error:
        raise fail(f"{error.filename or 'the backup'}: {error.strerror or error}") from None
    except ValueError as error:
        raise fail(str(error), code=USED_WRONGLY) from None
