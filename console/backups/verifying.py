"""Compares every file of a backup with its header and manifest."""

from collections.abc import Callable
from pathlib import Path

from console.backups import layout
from console.backups.layout import Header, Part
from runtime.objects import is_key

Say = Callable[[str], None]

DAMAGE_TOLD_MAX = 100


def verify(backup: Path, say: Say) -> tuple[Header, list[str]]:
    """The header, and a line for everything that is not as it says; raises NoSuchBackup, BackupDamaged."""
    header = layout.read_header(backup)
    damage = damage_of_files(backup, header)
    if not damage and header.objects.included:
        damage = _damaged_objects(backup, header, say)
    return header, damage


def damage_of_files(backup: Path, header: Header) -> list[str]:
    """What is wrong with the dump and the manifest."""
    parts = {layout.DUMP: header.database, layout.MANIFEST: header.objects.manifest}
    found = (_damage(backup / name, part, name) for name, part in parts.items())
    return [line for line in found if line is not None]


def _damaged_objects(backup: Path, header: Header, say: Say) -> list[str]:
    damage: list[str] = []
    for number, entry in enumerate(layout.read_manifest(backup), 1):
        say(f"{number} of {header.objects.count} objects")
        if not is_key(entry.key):
            line: str | None = f"{layout.MANIFEST}: {entry.key!r} is no object's key"
        else:
            wanted = Part(size_bytes=entry.size_bytes, sha256=entry.sha256)
            line = _damage(backup / layout.OBJECTS / entry.key, wanted, f"{layout.OBJECTS}/{entry.key}")
        if line is not None:
            damage.append(line)
        if len(damage) >= DAMAGE_TOLD_MAX:
            damage.append("and perhaps more")
            break
    return damage


def _damage(path: Path, wanted: Part, name: str) -> str | None:
    try:
        there = layout.part_of(path)
    except OSError as error:
        return f"{name}: {error.strerror}"
    if there.size_bytes != wanted.size_bytes:
        return f"{name}: {there.size_bytes} bytes, not {wanted.size_bytes}"
    return None if there.sha256 == wanted.sha256 else f"{name}: its bytes have changed"
