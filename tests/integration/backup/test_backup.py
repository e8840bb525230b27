"""Backing up and restoring: a server comes back row by row and byte by byte, or not at all and with the reason."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import stat
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from console.backups import layout
from console.installation import held
from runtime.ids import uuid7
from runtime.migrations import migrate
from tests.conftest import FaultPlan
from tests.engines import Database
from tests.integration.archive.house import until
from tests.integration.backup.lived_in import (
    EMOTES,
    RECORDINGS,
    SEGMENTS,
    Server,
    command,
    files_of,
    live_in,
    note_segment,
    rows_of,
    write,
)

OBJECTS = RECORDINGS * (SEGMENTS + 2) + len(EMOTES)


@pytest.fixture
async def server(database: Database, tmp_path: Path) -> Server:
    lived_in = Server(database, tmp_path / "recordings")
    await live_in(lived_in)
    return lived_in


@pytest.fixture
def empty_server(empty_database: Database, tmp_path: Path) -> Server:
    return Server(empty_database, tmp_path / "restored" / "recordings")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def made(server: Server, root: Path, *options: str) -> dict[str, Any]:
    ended = server.livestream("backup", str(root), "--json", *options)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def inode(path: Path) -> int:
    return path.stat().st_ino


async def test_a_server_comes_back_row_by_row_and_byte_by_byte(
    server: Server, empty_server: Server, root: Path
) -> None:
    said = await asyncio.to_thread(made, server, root)
    assert (said["objects"]["count"], said["objects"]["included"], said["objects"]["absent_count"]) == (
        OBJECTS,
        True,
        0,
    )
    restored = await asyncio.to_thread(empty_server.livestream, "restore", str(root), "--json")
    assert restored.returncode == 0, restored.stderr
    assert json.loads(restored.stdout.splitlines()[-1])["objects_restored"] == OBJECTS
    before, after = await rows_of(server.database), await rows_of(empty_server.database)
    assert after == before
    assert before["accounts.users"][0] == 50 and before["archive.segments"][0] == RECORDINGS * SEGMENTS
    assert files_of(empty_server.recordings) == files_of(server.recordings)
    assert files_of(empty_server.emotes) == files_of(server.emotes)
    assert len(files_of(server.emotes)) == len(EMOTES)
    # Nothing is missing to go on: the schemas are those of this version, and functions and sequences work.
    assert await migrate(empty_server.database.dsn) == []
    connection = await asyncpg.connect(empty_server.database.url)
    try:
        highest = await connection.fetchval("SELECT max(id) FROM accounts.outbox")
        assert await connection.fetchval("SELECT accounts.next_outbox_id()") > highest
    finally:
        await connection.close()


def test_nobody_else_can_read_it_and_no_secret_is_in_it_that_was_not_asked_for(
    server: Server, root: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "livestream.env"
    settings.write_text("LIVESTREAM_ACCOUNTS_KEY_SECRET=very-secret\n")
    plain, whole = made(server, root), made(server, root, "--with-settings", str(settings))
    assert not (Path(plain["backup"]) / layout.SETTINGS).exists()
    assert (Path(whole["backup"]) / layout.SETTINGS).read_text() == settings.read_text()
    modes = {stat.S_IMODE(path.lstat().st_mode) for path in (root, *root.rglob("*"))}
    assert modes <= {0o600, 0o700}
    told = server.livestream("backup", str(root))
    assert "not in it: the settings file" in told.stdout
    header = (Path(plain["backup"]) / layout.HEADER).read_text()
    assert "very-secret" not in header and "postgresql://" not in header


def test_what_has_not_changed_is_linked_and_what_has_is_copied(server: Server, root: Path) -> None:
    first = made(server, root)
    master, *_ = sorted(server.recordings.rglob("master.m3u8"))
    master.write_bytes(b"source/index.m3u8\n480p/index.m3u8\n")
    second = made(server, root)
    assert (first["objects_linked"], second["objects_linked"]) == (0, OBJECTS - 1)
    key = master.relative_to(server.recordings)
    old, new = (Path(said["backup"]) / layout.OBJECTS for said in (first, second))
    assert (old / key).read_bytes() != (new / key).read_bytes() == master.read_bytes()
    segment = next(old.rglob("0.ts")).relative_to(old)
    assert inode(old / segment) == inode(new / segment) != inode(server.recordings / segment)


def test_images_of_emotes_are_missed_and_never_lost_in_silence(
    server: Server, empty_server: Server, root: Path
) -> None:
    made(server, root)
    nowhere = replace(empty_server, emote_store="none")
    refused = nowhere.livestream("restore", str(root))
    assert (refused.returncode, "LIVESTREAM_CHAT_EMOTE_STORE" in refused.stderr) == (1, True)
    assert not files_of(empty_server.recordings), "nothing was begun"
    (server.emotes / "emotes" / EMOTES[1]).unlink()
    for one, absent in ((server, EMOTES[1:]), (replace(server, emote_store="none"), EMOTES)):
        told = one.livestream("backup", str(root), "--json")
        assert told.returncode == 3, told.stderr
        assert json.loads(told.stdout.splitlines()[-1])["objects"]["absent"] == [
            f"emotes/{emote_id}" for emote_id in absent
        ]


def test_old_backups_go_when_asked(server: Server, root: Path) -> None:
    first, second = made(server, root), made(server, root)
    third = made(server, root, "--keep", "2")
    assert third["removed"] == [Path(first["backup"]).name]
    assert layout.backups_below(root) == [Path(second["backup"]), Path(third["backup"])]
    assert server.livestream("backup", str(root), "--verify").returncode == 0


def damage_object(backup: Path) -> str:
    victim = next((backup / layout.OBJECTS).rglob("3.ts"))
    body = bytearray(victim.read_bytes())
    body[100] ^= 1
    victim.write_bytes(bytes(body))
    return victim.relative_to(backup).as_posix()


def lose_object(backup: Path) -> str:
    victim = next((backup / layout.OBJECTS).rglob("3.ts"))
    victim.unlink()
    return victim.relative_to(backup).as_posix()


def damage_dump(backup: Path) -> str:
    with (backup / layout.DUMP).open("r+b") as file:
        file.seek(2_000)
        file.write(b"\0")
    return layout.DUMP


def shorten_manifest(backup: Path) -> str:
    path = backup / layout.MANIFEST
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    return layout.MANIFEST


def damage_header(backup: Path) -> str:
    (backup / layout.HEADER).write_text('{"format": 1}')
    return layout.HEADER


@pytest.mark.parametrize("harm", [damage_object, lose_object, damage_dump, shorten_manifest, damage_header])
async def test_damage_is_found_and_never_restored(
    server: Server, empty_server: Server, root: Path, harm: Callable[[Path], str]
) -> None:
    said = await asyncio.to_thread(made, server, root)
    assert (await asyncio.to_thread(server.livestream, "backup", str(root), "--verify")).returncode == 0
    name = harm(Path(said["backup"]))
    found = await asyncio.to_thread(server.livestream, "backup", str(root), "--verify")
    assert (found.returncode, name in found.stderr) == (1, True), found.stderr
    refused = await asyncio.to_thread(empty_server.livestream, "restore", str(root))
    assert (refused.returncode, Path(name).name in refused.stderr) == (1, True), refused.stderr
    assert await rows_of(empty_server.database) == {}


async def test_a_target_that_is_not_empty_is_refused_and_left_as_it_is(
    server: Server, empty_server: Server, root: Path
) -> None:
    await asyncio.to_thread(made, server, root)
    rows, files = await rows_of(server.database), files_of(server.recordings)
    elsewhere = Server(server.database, empty_server.recordings)
    refused = await asyncio.to_thread(elsewhere.livestream, "restore", str(root))
    assert refused.returncode == 1
    assert "the database is not empty: it has accounts (" in refused.stderr
    occupied = Server(empty_server.database, server.recordings)
    for options in ((), ("--resume",)):
        (server.recordings / "mine.ts").write_bytes(b"mine")
        refused = await asyncio.to_thread(occupied.livestream, "restore", str(root), *options)
        assert refused.returncode == 1
        assert "is not empty" in refused.stderr or "holds mine.ts, which is not from this backup" in refused.stderr
        (server.recordings / "mine.ts").unlink()
    assert (await rows_of(server.database), files_of(server.recordings)) == (rows, files)
    assert await rows_of(empty_server.database) == {}
    assert files_of(empty_server.recordings) == {}


async def test_a_backup_of_a_later_version_is_refused(server: Server, empty_server: Server, root: Path) -> None:
    connection = await asyncpg.connect(server.database.url)
    try:
        await connection.execute(
            "INSERT INTO chat.applied_migrations (source, number, name, checksum) VALUES ('chat', 9999, 'moon', 'x')"
        )
    finally:
        await connection.close()
    await asyncio.to_thread(made, server, root)
    refused = await asyncio.to_thread(empty_server.livestream, "restore", str(root))
    assert refused.returncode == 1
    assert "chat: chat/9999_moon" in refused.stderr
    assert await rows_of(empty_server.database) == {}


def test_an_object_that_the_database_names_and_nobody_has_is_told(server: Server, root: Path) -> None:
    lost = next(server.recordings.rglob("2.ts"))
    lost.unlink()
    ended = server.livestream("backup", str(root))
    assert ended.returncode == 3
    assert f"the database names it: {lost.relative_to(server.recordings)}" in ended.stderr
    assert json.loads(server.livestream("backup", str(root), "--verify", "--json").stdout.splitlines()[-1])["whole"]


def test_without_objects_there_is_a_list_to_compare_with(server: Server, empty_server: Server, root: Path) -> None:
    said = made(server, root, "--without-objects")
    backup = Path(said["backup"])
    assert not (backup / layout.OBJECTS).exists()
    assert len(list(layout.read_manifest(backup))) == OBJECTS
    restored = empty_server.livestream("restore", str(root), "--json")
    assert (restored.returncode, json.loads(restored.stdout.splitlines()[-1])["objects_absent"]) == (3, OBJECTS)


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"LIVESTREAM_POSTGRES_DSN": "postgresql://nobody:hush-hush@127.0.0.1:1/none"}, 1, "Postgres cannot be used"),
        ({"LIVESTREAM_ARCHIVE_DISK_DIRECTRY": "x"}, 1, "did you mean LIVESTREAM_ARCHIVE_DISK_DIRECTORY?"),
    ],
)
def test_wrong_settings_are_one_line(
    server: Server, root: Path, change: dict[str, str], code: int, reason: str
) -> None:
    ended = subprocess.run(
        command("backup", str(root)), capture_output=True, text=True, check=False, env=server.environment | change
    )
    assert ended.returncode == code
    assert reason in ended.stderr and "hush" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert layout.backups_below(root) == []


def test_a_backup_of_an_empty_database_or_inside_of_the_recordings_is_refused(
    server: Server, empty_server: Server, root: Path
) -> None:
    ended = empty_server.livestream("backup", str(root))
    assert (ended.returncode, "none of our schemas" in ended.stderr) == (1, True)
    ended = server.livestream("backup", str(server.recordings / "backups"))
    assert (ended.returncode, "is inside of the recordings" in ended.stderr) == (2, True)
    ended = server.livestream("restore", str(root))
    assert (ended.returncode, "there is no whole backup here" in ended.stderr) == (1, True)


async def test_a_backup_of_a_running_server_has_all_that_its_database_names(server: Server, root: Path) -> None:
    stream_id, begun, stop = str(uuid7()), asyncio.Event(), asyncio.Event()

    async def ship() -> None:
        """As the shipper does it: the object, then the row."""
        connection = await asyncpg.connect(server.database.url)
        try:
            sequence = 0
            while not stop.is_set():
                write(server.recordings / stream_id / "source" / f"{sequence}.ts", b"x" * (sequence + 1))
                await note_segment(connection, stream_id, sequence, sequence + 1)
                begun.set()
                sequence += 1
        finally:
            await connection.close()

    shipping = asyncio.create_task(ship())
    async with asyncio.timeout(30):
        await begun.wait()
    said = await asyncio.to_thread(made, server, root)
    stop.set()
    await shipping
    assert said["objects"]["absent"] == []
    assert said["objects"]["count"] > OBJECTS


async def test_two_backups_at_once_in_one_directory_are_refused(server: Server, root: Path) -> None:
    with layout.locked(root):
        ended = await asyncio.to_thread(server.livestream, "backup", str(root))
    assert (ended.returncode, "another backup is being made" in ended.stderr) == (1, True)


async def kill_when(arguments: list[str], server: Server, enough: Callable[[], bool]) -> bool:
    """Run a command and SIGKILL it when it is far enough; whether it was still alive then."""
    process = await asyncio.create_subprocess_exec(
        *arguments, env=server.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )

    async def far_enough() -> bool:
        return process.returncode is not None or enough()

    try:
        await until(far_enough)
    finally:
        alive = process.returncode is None
        if alive:
            process.send_signal(signal.SIGKILL)
        await process.communicate()
    return alive


def count_files(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


async def test_a_killed_backup_is_none_and_the_next_one_is_whole(
    server: Server, root: Path, fault_plan: FaultPlan
) -> None:
    moments = random.Random(fault_plan.seed)
    await asyncio.to_thread(made, server, root)
    for _ in range(fault_plan.points):
        before = layout.backups_below(root)
        # From the first file of it to the header.
        wanted = count_files(root) + moments.randrange(OBJECTS + 4)

        def far_enough(wanted: int = wanted) -> bool:
            return count_files(root) >= wanted

        await kill_when(command("backup", str(root)), server, far_enough)
        for backup in layout.backups_below(root):
            checked = await asyncio.to_thread(server.livestream, "backup", str(backup), "--verify")
            assert checked.returncode == 0, checked.stderr
        await asyncio.to_thread(made, server, root)
        assert layout.unfinished_below(root) == []
        assert len(layout.backups_below(root)) > len(before)
        assert (await asyncio.to_thread(server.livestream, "backup", str(root), "--verify")).returncode == 0


@asynccontextmanager
async def _database_held_up(database: Database) -> AsyncIterator[None]:
    """Nobody makes a schema meanwhile, and whoever waits to does not any more."""
    connection = await asyncpg.connect(database.url, server_settings={"idle_in_transaction_session_timeout": "0"})
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE pg_namespace IN SHARE MODE")
            yield
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    finally:
        await connection.close()


async def test_a_killed_restore_leaves_an_empty_database_and_is_resumed(
    server: Server, empty_server: Server, root: Path
) -> None:
    await asyncio.to_thread(made, server, root)
    restore = command("restore", str(root), "--workers", "1")
    async with _database_held_up(empty_server.database):  # which comes last: the kill cannot come too late
        await kill_when(restore, empty_server, lambda: count_files(empty_server.recordings) >= OBJECTS // 2)
    assert await rows_of(empty_server.database) == {}
    refused = await asyncio.to_thread(empty_server.livestream, "restore", str(root))
    assert (refused.returncode, "--resume" in refused.stderr) == (1, True)
    resumed = await asyncio.to_thread(empty_server.livestream, "restore", str(root), "--resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout.splitlines()[-1])["objects_there"] >= OBJECTS // 2 - 1
    assert await rows_of(empty_server.database) == await rows_of(server.database)
    assert files_of(empty_server.recordings) == files_of(server.recordings)


def test_a_server_that_runs_is_not_restored_into(root: Path, tmp_path: Path) -> None:
    place = tmp_path / "server"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")}
    subprocess.run(command("init", "--directory", str(place)), check=True, env=kept, capture_output=True)
    restore = command("restore", str(root), "--directory", str(place))
    with held(place):
        ended = subprocess.run(restore, capture_output=True, text=True, check=False, env=kept)
    assert (ended.returncode, "stop it first" in ended.stderr) == (1, True), ended.stderr
