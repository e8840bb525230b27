"""A server that somebody has lived in: people, streams, events and recordings in a database, and their objects."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import typer
from typer.testing import CliRunner

from console import backup, restore
from tests.engines import Database

PEOPLE = 50
RECORDINGS = 4
SEGMENTS = 5
EMOTES = ("01975a7e-0000-7000-8000-000000000201", "01975a7e-0000-7000-8000-000000000202")
IMAGE_BYTES = 3_000

FILL = """
INSERT INTO accounts.users (user_id, username, password_hash)
    SELECT ('01975a7e-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'person_' || n, '$argon2id$' || n
    FROM generate_series(1, $1::int) AS n;
INSERT INTO accounts.signing_keys (key_id, public_jwk, private_sealed) VALUES ('one', '{"kty": "OKP"}', 'sealed');
INSERT INTO accounts.outbox (event_id, topic, key, type, headers, data)
    SELECT user_id, 'accounts.v1', convert_to(user_id::text, 'UTF8'), 'account.registered', '{"a": "b"}', '\\x00ff'
    FROM accounts.users;
INSERT INTO streaming.channels (channel_id, name, stream_key_hash)
    SELECT user_id, username, sha256(convert_to(username, 'UTF8')) FROM accounts.users LIMIT 5;
INSERT INTO notify.people (user_id, username) SELECT user_id, username FROM accounts.users;
INSERT INTO notify.follows (channel_id, follower_id)
    SELECT c.channel_id, u.user_id FROM streaming.channels AS c, accounts.users AS u WHERE c.channel_id <> u.user_id;
INSERT INTO notify.inbox (consumer, event_id) SELECT 'notify', event_id FROM accounts.outbox;
"""


ROWS = "SELECT t::text AS row FROM {} AS t ORDER BY 1"
COUNTER = "SELECT ROW(last_value, is_called)::text AS row FROM {}"

VERBS = typer.Typer()
VERBS.add_typer(backup.app)
VERBS.add_typer(restore.app)


@dataclass(frozen=True)
class Server:
    """Where it is, and the environment of its commands."""

    database: Database
    recordings: Path
    emote_store: str = "disk"

    @property
    def emotes(self) -> Path:
        """Where images of emotes are."""
        return self.recordings.parent / "emotes"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")}
        return kept | {
            "LIVESTREAM_POSTGRES_DSN": self.database.url,
            "LIVESTREAM_BUS_BACKEND": "postgres",
            "LIVESTREAM_ARCHIVE_OBJECT_STORE": "disk",
            "LIVESTREAM_ARCHIVE_DISK_DIRECTORY": str(self.recordings),
            "LIVESTREAM_ARCHIVE_DISK_RESERVE_BYTES": "0",
            "LIVESTREAM_ARCHIVE_CHUNK_SECONDS": "6",
            "LIVESTREAM_CHAT_EMOTE_STORE": self.emote_store,
            "LIVESTREAM_CHAT_EMOTE_DIRECTORY": str(self.emotes),
            "LIVESTREAM_CHAT_EMOTE_DISK_RESERVE_BYTES": "0",
        }

    def livestream(self, *arguments: str) -> Ended:
        """Run a verb in this process, because starting one takes longer than the verb."""
        wanted = {name: self.environment.get(name) for name in {*os.environ, *self.environment}}
        result = CliRunner().invoke(VERBS, arguments, env=wanted)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)


@dataclass(frozen=True)
class Ended:
    """How a verb ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "console", *arguments]


async def live_in(server: Server) -> None:
    """Fill the database and the recordings."""
    connection = await asyncpg.connect(server.database.url)
    try:
        for statement in FILL.replace("$1", str(PEOPLE)).split(";\n"):
            if statement.strip():
                await connection.execute(statement)
        for number in range(RECORDINGS):
            await _record(connection, server.recordings, f"01975a7e-0000-7000-8000-{number + 100:012}")
        await connection.execute("INSERT INTO chat.rooms (channel_id, channel_name) VALUES ($1, 'ann')", EMOTES[0])
        for number, emote_id in enumerate(EMOTES):
            await connection.execute(
                "INSERT INTO chat.emotes (emote_id, channel_id, name, content_type, size_bytes, width_px, height_px,"
                " animated, added_by, state) VALUES ($1, $2, $3, 'image/png', $4, 1, 1, false, $2, 'ready')",
                emote_id,
                EMOTES[0],
                f"wave{number}",
                IMAGE_BYTES,
            )
            write(server.emotes / "emotes" / emote_id, os.urandom(IMAGE_BYTES))
    finally:
        await connection.close()


async def _record(connection: asyncpg.Connection[asyncpg.Record], root: Path, stream_id: str) -> None:
    await connection.execute(
        "INSERT INTO archive.recordings (stream_id, channel_id, status, started_at, ended_at, settled_at, published_at,"
        " completed_at, duration_ms) VALUES ($1, $1, 'completed', now(), now(), now(), now(), now(), 10000)",
        stream_id,
    )
    await connection.execute(
        "INSERT INTO archive.renditions (stream_id, name, rank, state, width_px, height_px, frame_rate,"
        " bits_per_second_peak, bits_per_second_average) VALUES ($1, 'source', 0, 'ready', 1280, 720, 30, 1, 1)",
        stream_id,
    )
    for sequence in range(SEGMENTS):
        body = os.urandom(30_000)
        write(root / stream_id / "source" / f"{sequence}.ts", body)
        await note_segment(connection, stream_id, sequence, len(body))
    write(root / stream_id / "source" / "index.m3u8", b"".join(b"%d.ts\n" % number for number in range(SEGMENTS)))
    write(root / stream_id / "master.m3u8", b"source/index.m3u8\n")


async def note_segment(
    connection: asyncpg.Connection[asyncpg.Record], stream_id: str, sequence: int, size_bytes: int
) -> None:
    """The row that names a segment."""
    await connection.execute(
        "INSERT INTO archive.segments (stream_id, sequence, duration_ms, size_bytes, discontinuity)"
        " VALUES ($1, $2, 2000, $3, false)",
        stream_id,
        sequence,
        size_bytes,
    )


def write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


async def rows_of(database: Database) -> dict[str, tuple[int, str]]:
    """How many rows every table of every schema has, and a digest over them; sequences too."""
    connection = await asyncpg.connect(database.url)
    try:
        tables = await connection.fetch(
            "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, c.relkind = 'S' AS counts"
            " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence = 'p'"
            " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
        )
        found = {}
        for table in tables:
            # The name is quoted by Postgres itself.
            rows = await connection.fetch((COUNTER if table["counts"] else ROWS).format(table["name"]))
            text = "\n".join(row["row"] for row in rows)
            found[table["name"]] = (len(rows), hashlib.sha256(text.encode()).hexdigest())
        return found
    finally:
        await connection.close()


def files_of(root: Path) -> dict[str, bytes]:
    """The objects of a store on disk."""
    paths = (path for path in root.rglob("*") if path.is_file())
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
    return {name: body for name, body in found.items() if not name.startswith(".")}
