"""Clients of the IRC door for tests: a plain one over TCP, tmi.js in Node, and irssi in a terminal."""

import asyncio
import hashlib
import json
import os
import pty
import shutil
import subprocess
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.chat.gateways import WAIT_SECONDS, eventually

TMI = Path(__file__).parent / "tmi"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "livestream"
NPM_SECONDS = 60.0


class PlainClient:
    """Sends lines and keeps those it gets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines: list[str] = []
        self.ended = False
        self._reader = reader
        self._writer = writer
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, port: int) -> "PlainClient":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, *lines: str) -> None:
        self._writer.write("".join(f"{one}\r\n" for one in lines).encode())

    def send_raw(self, piece: bytes) -> None:
        self._writer.write(piece)

    async def sees(self, part: str, *, after: int = 0) -> str:
        """Wait for a line with this in it."""

        def found() -> bool:
            assert not (self.ended and not self._matching(part, after)), (part, self.lines)
            return bool(self._matching(part, after))

        await eventually(found)
        return self._matching(part, after)[0]

    async def answers(self) -> None:
        """Wait until everything sent so far was handled."""
        token = f"sync{len(self.lines)}"
        self.send(f"PING :{token}")
        await self.sees(f"PONG tmi.twitch.tv :{token}")

    async def ends(self) -> None:
        await eventually(lambda: self.ended)

    async def leave(self) -> None:
        self._writer.close()
        await asyncio.wait([self._reading])

    def _matching(self, part: str, after: int) -> list[str]:
        return [one for one in self.lines[after:] if part in one]

    async def _read(self) -> None:
        try:
            while one := await self._reader.readline():
                assert one.endswith(b"\r\n"), one
                self.lines.append(one[:-2].decode())
        except ConnectionError:
            pass
        self.ended = True
        self._writer.close()  # as clients do: the door waits a little for that


def node_and_library() -> tuple[str, Path]:
    """Node, and the directory of tmi.js in the user's cache; skips the test where they cannot be had."""
    wheel = next(iter(sorted(CACHE.glob("node-*/bin/node"))), None)
    node, npm = shutil.which("node"), shutil.which("npm")
    environment = dict(os.environ)
    if (node is None or npm is None) and wheel is not None:
        node, npm = str(wheel), str(wheel.with_name("npm"))
        environment |= {"PATH": f"{wheel.parent}:{environment['PATH']}", "NODE_OPTIONS": "--use-system-ca"}
    if node is None or npm is None:
        pytest.skip("there is no Node here: `make setup` installs it")
    lock = (TMI / "package-lock.json").read_bytes()
    target = CACHE / f"tmi-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not (target / "node_modules").exists():
        _install(npm, target, environment)
    return node, target


def _install(npm: str, target: Path, environment: Mapping[str, str]) -> None:
    part = target.with_name(f"{target.name}.{os.getpid()}")
    part.mkdir(parents=True)
    try:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(TMI / name, part / name)
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
        done = subprocess.run(
            command, cwd=part, env=environment, capture_output=True, text=True, timeout=NPM_SECONDS, check=False
        )
        if done.returncode:
            pytest.skip(f"npm cannot install tmi.js here: {done.stderr[-500:]}")
        if not target.exists():
            part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


class Bot:
    """tmi.js in a process of its own."""

    def __init__(self, process: Process) -> None:
        self.events: list[tuple[str, list[Any]]] = []
        self.said: list[dict[str, Any]] = []
        self._process = process
        self._calls = 0
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, port: int, channel: str, password: str | None = None, **options: object) -> "Bot":
        """Connect to a gateway's HTTP port and join a channel; anonymous without a password."""
        node, library = node_and_library()
        given: dict[str, Any] = {
            "options": {"skipUpdatingEmotesets": True, "joinInterval": 300},
            "connection": {"server": "127.0.0.1", "port": port, "reconnectInterval": 300},
            "channels": [channel],
        }
        if password is not None:
            given["identity"] = {"username": "whatever", "password": password}
        process = await create_subprocess_exec(
            node, str(TMI / "bot.js"), json.dumps(given | options), stdin=PIPE, stdout=PIPE,
            env={**os.environ, "NODE_PATH": str(library / "node_modules")},
        )  # fmt: skip
        bot = cls(process)
        answer = await bot.call("connect")
        assert answer["value"] == ["127.0.0.1", port], answer
        return bot

    async def call(self, method: str, *values: object) -> dict[str, Any]:
        """What the method's promise came to."""
        self._calls += 1
        number = self._calls
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "method": method, "values": values}).encode() + b"\n")
        await eventually(lambda: any(one.get("id") == number for one in self.said))
        return next(one for one in self.said if one.get("id") == number)

    async def hears(self, event: str, where: Callable[[list[Any]], bool] = lambda _: True) -> list[Any]:
        """Wait for an event."""
        await eventually(lambda: any(name == event and where(values) for name, values in self.events))
        return next(values for name, values in self.events if name == event and where(values))

    def count(self, event: str) -> int:
        return sum(name == event for name, _ in self.events)

    @property
    def complaints(self) -> list[str]:
        """What tmi.js did not understand."""
        return [one["warning"] for one in self.said if "warning" in one]

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), WAIT_SECONDS)
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            self.said.append(said)
            if "event" in said:
                self.events.append((said["event"], said["values"]))


class Irssi:
    """irssi in a terminal of its own; ``screen`` is all that it ever wrote there."""

    CONFIGURATION = """
servers = (
  {{ address = "127.0.0.1"; chatnet = "here"; port = "{port}"; password = "{password}"; autoconnect = "yes"; }}
);
chatnets = {{ here = {{ type = "IRC"; nick = "{nick}"; }}; }};
channels = ( {{ name = "{channel}"; chatnet = "here"; autojoin = "yes"; }} );
settings = {{ "irc/core" = {{ cmds_max_at_once = "50"; cmd_queue_speed = "100msec"; }}; }};
"""

    def __init__(self, process: Process, terminal: int) -> None:
        self.screen = b""
        self._process = process
        self._terminal = terminal
        asyncio.get_running_loop().add_reader(terminal, self._read)

    @classmethod
    async def start(cls, home: Path, port: int, nick: str, password: str, channel: str) -> "Irssi":
        """Have it connect, log in and join; skips the test where there is none."""
        command = shutil.which("irssi")
        if command is None:
            pytest.skip("there is no irssi here: `apt-get install irssi`")
        values = {"port": port, "password": password, "nick": nick, "channel": channel}
        await asyncio.to_thread((home / "config").write_text, cls.CONFIGURATION.format(**values))
        ours, its = pty.openpty()
        os.set_blocking(ours, False)
        process = await create_subprocess_exec(
            command, f"--home={home}", stdin=its, stdout=its, stderr=its, env={**os.environ, "TERM": "xterm"},
            start_new_session=True,
        )  # fmt: skip
        os.close(its)
        return cls(process, ours)

    def type(self, text: str) -> None:
        os.write(self._terminal, f"{text}\n".encode())

    async def shows(self, text: str) -> None:
        """Wait until it is on the screen."""
        try:
            await eventually(lambda: text.encode() in self.screen)
        except TimeoutError:
            raise AssertionError(self.screen.decode(errors="replace")[-3_000:]) from None

    async def stop(self) -> None:
        if self._process.returncode is None:
            self.type("/quit")
            await asyncio.wait_for(self._process.wait(), WAIT_SECONDS)
        asyncio.get_running_loop().remove_reader(self._terminal)
        os.close(self._terminal)

    def _read(self) -> None:
        try:
            self.screen += os.read(self._terminal, 65_536)
        except OSError:  # the other end of the terminal is closed
            asyncio.get_running_loop().remove_reader(self._terminal)
