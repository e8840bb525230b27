"""SRS itself, with `deploy/srs.conf`, for the tests that need it; they skip where its binary is not on the PATH."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.streaming.publisher import eventually

REPOSITORY = Path(__file__).parents[3]
INGEST_SECRET, SEGMENT_SECRET = "an-ingest-secret-of-tests", "a-segment-secret-of-tests"


def _found() -> str | None:
    """Where SRS is. Debian's package `srs` has a command of the same name, which rewrites senders of mail."""
    path = shutil.which("srs")
    if path is None:
        return None
    try:
        said = subprocess.run([path, "-v"], stdin=DEVNULL, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return path if re.fullmatch(r"[5-9]\.\d+\.\d+", (said.stdout + said.stderr).strip()) else None


SRS = _found()
needs_srs = pytest.mark.skipif(SRS is None, reason="there is no srs on the PATH")


@dataclass(frozen=True)
class Ports:
    """Where it listens, and who is told."""

    hooks: int
    rtmp: int
    control: int


def configuration(directory: Path, ports: Ports) -> Path:
    """`deploy/srs.conf` with the test's ports and secrets, and `directory`/server for segments."""
    text = (REPOSITORY / "deploy/srs.conf").read_text()
    for ours, theirs in (
        ("INGEST-SECRET", INGEST_SECRET),
        ("SEGMENT-SECRET", SEGMENT_SECRET),
        ("127.0.0.1:8101", f"127.0.0.1:{ports.hooks}"),
        ("127.0.0.1:8102", f"127.0.0.1:{ports.hooks}"),
        ("127.0.0.1:1985", f"127.0.0.1:{ports.control}"),
        ("              1935;", f" 127.0.0.1:{ports.rtmp};"),
        ("/var/lib/livestream/srs", str(directory / "server")),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    (directory / "server").mkdir(exist_ok=True)
    (directory / "srs.conf").write_text(text)
    return directory / "srs.conf"


@asynccontextmanager
async def running_srs(directory: Path, ports: Ports) -> AsyncIterator[Process]:
    """SRS when it listens; killed on leaving if it still runs."""
    assert SRS is not None
    path = configuration(directory, ports)

    async def ready() -> bool:
        return await listens(ports.rtmp) and await listens(ports.control)

    with (directory / "srs.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(SRS, "-c", str(path)), cwd=directory, stdin=DEVNULL, stdout=log, stderr=log
        )
    try:
        await eventually(ready, until=bool, what="SRS does not listen")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def listens(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
