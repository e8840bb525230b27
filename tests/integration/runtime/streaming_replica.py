"""A real streaming replica of a Postgres server, which can be paused, frozen and woken."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil
import pytest

from deploy.local import places, probes
from tests.free_ports import free_port

READY_SECONDS_MAX = 30


class StreamingReplica:
    """Follows the server of `primary_url`; `url` is the same database there."""

    def __init__(self, primary_url: str, port: int, pid: int) -> None:
        parts = urlsplit(primary_url)
        login = parts.netloc.rpartition("@")[0]
        self.url = urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
        self._pid = pid

    async def pause(self) -> None:
        """Receive on, and replay nothing."""
        await self._do("SELECT pg_wal_replay_pause()")

    async def resume(self) -> None:
        """Replay what has come."""
        await self._do("SELECT pg_wal_replay_resume()")

    async def _do(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url, timeout=5, command_timeout=5)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def freeze(self) -> None:
        """Stop every process of it, as a machine that hangs would."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it run again."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        server = psutil.Process(self._pid)
        for process in (server, *server.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # a session that has just ended
                process.send_signal(number)


@asynccontextmanager
async def streaming_replica(primary_url: str) -> AsyncIterator[StreamingReplica]:
    """Copy the server of this database and follow it meanwhile."""
    directory = Path(tempfile.mkdtemp(prefix="livestream-replica-"))
    if os.geteuid() == 0:
        shutil.chown(directory, "postgres", "postgres")
    port = free_port()
    try:
        await asyncio.to_thread(_copy, primary_url, directory / "data")
        process = await asyncio.to_thread(_start, directory / "data", port)
        try:
            await _ready(process, port)
            replica = StreamingReplica(primary_url, port, process.pid)
            yield replica
            replica.wake()
        finally:
            process.send_signal(signal.SIGINT)
            await asyncio.to_thread(process.wait, READY_SECONDS_MAX)
    finally:
        shutil.rmtree(directory)


def _argv(program: str, *arguments: str) -> list[str]:
    # Postgres refuses to run as root.
    become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"] if os.geteuid() == 0 else []
    return [*become, str(places.postgres_programs() / program), *arguments]


def _start(data: Path, port: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(_argv("postgres", "-D", str(data), *_settings(port)), cwd="/")


def _copy(primary_url: str, data: Path) -> None:
    parts = urlsplit(primary_url)
    subprocess.run(
        _argv(
            "pg_basebackup", "-D", str(data),
            "-h", str(parts.hostname), "-p", str(parts.port), "-U", str(parts.username),
            "--wal-method=stream", "--checkpoint=fast", "--write-recovery-conf", "--no-sync",
        ),
        env={**os.environ, "PGPASSWORD": parts.password or ""},
        cwd="/",
        check=True,
        capture_output=True,
        timeout=60,
    )  # fmt: skip


def _settings(port: int) -> list[str]:
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": 200,  # no less than the primary has
        "shared_buffers": "16MB",
        "fsync": "off",
        "log_min_messages": "fatal",
    }
    return [f"--{name}={value}" for name, value in settings.items()]


async def _ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    async with asyncio.timeout(READY_SECONDS_MAX):
        while (reason := await asyncio.to_thread(probes.postgres, port, places.postgres_programs())) is not None:
            if process.poll() is not None:
                pytest.fail(f"the replica ended: {reason}")
            await asyncio.sleep(0.1)
