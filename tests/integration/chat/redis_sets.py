"""Redis servers in sets, for tests that kill some of them: three behind three Sentinels, and a cluster of three."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.local import places
from tests.free_ports import free_port
from tests.integration.chat.gateways import eventually

PASSWORD = "a-password-of-tests"
SERVICE = "chat"
SLOTS = 16_384
INFO_MILLISECONDS_MAX = 60_000


@dataclass
class Server:
    """One `redis-server`, or a Sentinel."""

    directory: Path
    lines: list[str]
    sentinel: bool = False
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Run it, and wait until it answers. A second start has what the first one left on disk."""
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / "redis.conf"
        if not file.exists():
            common = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.directory}", "save ''", "loglevel warning"]
            file.write_text("\n".join([*common, *self.lines]) + "\n")
        argv = [places.program("redis-server"), str(file), *(["--sentinel"] if self.sentinel else [])]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)  # noqa: ASYNC220  returns at once
        await eventually(self._answers)

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    async def ask(self, *command: str) -> Any:  # noqa: ANN401  whatever Redis answers
        async with Redis(port=self.port, password=None if self.sentinel else PASSWORD, protocol=2) as client:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py: *args untyped

    async def _answers(self) -> bool:
        with suppress(RedisError, OSError):
            return await self.ask("PING") in (True, b"PONG")
        return False

    def signal(self, number: int) -> None:
        """Freeze it, wake it."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def single_server(directory: Path) -> Server:
    """One on its own that appends to a file, as the stacks have it. Not started."""
    return Server(directory, [f"requirepass {PASSWORD}", "appendonly yes", "appendfsync everysec"])


class SentinelSet:
    """A master, two replicas and three Sentinels that agree on a failover in about a second."""

    def __init__(self, directory: Path) -> None:
        lines = [f"requirepass {PASSWORD}", f"masterauth {PASSWORD}", "appendonly yes", "repl-diskless-sync-delay 0"]
        master = Server(directory / "r0", list(lines))
        of_master = f"replicaof 127.0.0.1 {master.port}"
        self.servers = [master, *(Server(directory / f"r{number}", [*lines, of_master]) for number in (1, 2))]
        watching = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 2",
            f"sentinel auth-pass {SERVICE} {PASSWORD}",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 6000",
        ]
        self.sentinels = [Server(directory / f"s{number}", watching, sentinel=True) for number in range(3)]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://:{PASSWORD}@{hosts}/{SERVICE}/0"

    async def start(self) -> None:
        await asyncio.gather(*(server.start() for server in self.servers))
        await eventually(self._replicating)  # a Sentinel asks for replicas at its start, and then every ten seconds
        await asyncio.gather(*(sentinel.start() for sentinel in self.sentinels))
        await eventually(self._whole)

    async def _whole(self) -> bool:
        for sentinel in self.sentinels:
            flat = await sentinel.ask("SENTINEL", "MASTER", SERVICE)
            said = dict(zip(flat[::2], flat[1::2], strict=True))
            if (said[b"num-slaves"], said[b"num-other-sentinels"]) != (b"2", b"2"):
                return False
            for flat in await sentinel.ask("SENTINEL", "REPLICAS", SERVICE):
                replica = dict(zip(flat[::2], flat[1::2], strict=True))
                # Of whom it has asked nothing yet, it promotes none.
                if replica[b"master-link-status"] != b"ok" or int(replica[b"info-refresh"]) > INFO_MILLISECONDS_MAX:
                    return False
        return True

    async def _replicating(self) -> bool:
        said = [await _replication(server) for server in self.servers[1:]]
        return all(b"master_link_status:up" in text for text in said)

    async def master(self) -> Server:
        """Whom most Sentinels name."""
        ports = [int((await s.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE))[1]) for s in self.sentinels]
        port = max(ports, key=ports.count)
        return next(server for server in self.servers if server.port == port)

    async def agreed(self) -> bool:
        """Whether all Sentinels have the same configuration. While one leads a failover it still has the old one."""
        said = [await sentinel.ask("SENTINEL", "MASTER", SERVICE) for sentinel in self.sentinels]
        facts = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in said]
        return len({(fact[b"port"], fact[b"config-epoch"]) for fact in facts}) == 1

    async def promoted(self, before: Server) -> Server:
        """Wait for a master other than the one of before, which knows that it is."""

        async def another() -> bool:
            now = await self.master()
            return now is not before and b"role:master" in await _replication(now)

        await eventually(another)
        return await self.master()

    def close(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.kill()


class ClusterSet:
    """Three masters with a third of the slots each, and a replica of the first."""

    def __init__(self, directory: Path) -> None:
        self.servers = [Server(directory / f"n{number}", self._lines()) for number in range(4)]

    @staticmethod
    def _lines() -> list[str]:
        return [
            "cluster-enabled yes", f"cluster-port {free_port()}", "cluster-node-timeout 1000", "appendonly yes",
            "cluster-require-full-coverage no", f"requirepass {PASSWORD}", f"masterauth {PASSWORD}",
            "repl-diskless-sync-delay 0", "cluster-replica-validity-factor 0",
        ]  # fmt: skip

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis+cluster://:{PASSWORD}@{hosts}"

    async def start(self) -> None:
        await asyncio.gather(*(server.start() for server in self.servers))
        first, *others = self.servers
        for number, server in enumerate(self.servers[:3]):
            begin, end = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            await server.ask("CLUSTER", "ADDSLOTSRANGE", str(begin), str(end))
            await server.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for server in others:
            bus_port = server.lines[1].split()[1]
            await first.ask("CLUSTER", "MEET", "127.0.0.1", str(server.port), bus_port)
        await eventually(lambda: self._all(b"cluster_known_nodes:4", b"cluster_size:3"))
        await self.servers[3].ask("CLUSTER", "REPLICATE", (await first.ask("CLUSTER", "MYID")).decode())
        await eventually(lambda: self._all(b"cluster_state:ok", b"cluster_slots_assigned:16384"))

        async def replicates() -> bool:
            return b"master_link_status:up" in await _replication(self.servers[3])

        await eventually(replicates)

    async def _all(self, *facts: bytes) -> bool:
        answers = [await server.ask("CLUSTER", "INFO") for server in self.servers if server.process is not None]
        return all(fact in answer for answer in answers for fact in facts)

    async def promoted(self) -> None:
        """Wait until the replica has the first server's slots and everybody knows."""

        async def promoted() -> bool:
            return b"role:master" in await _replication(self.servers[3]) and await self._all(b"cluster_state:ok")

        await eventually(promoted)

    async def move_slot(self, slot: int, source: Server, target: Server) -> None:
        """Move a slot with all its keys, as `redis-cli --cluster reshard` does."""
        source_id, target_id = [(await server.ask("CLUSTER", "MYID")).decode() for server in (source, target)]
        await target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", source_id)
        await source.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", target_id)
        while keys := await source.ask("CLUSTER", "GETKEYSINSLOT", str(slot), "100"):
            names = [key.decode() for key in keys]
            await source.ask(
                "MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "AUTH", PASSWORD, "KEYS", *names
            )
        for server in (target, source, *(s for s in self.servers if s not in (source, target))):
            with suppress(RedisError):  # a replica takes no orders
                await server.ask("CLUSTER", "SETSLOT", str(slot), "NODE", target_id)

    def close(self) -> None:
        for server in self.servers:
            server.kill()


async def _replication(server: Server) -> bytes:
    async with Redis(port=server.port, password=PASSWORD, protocol=2) as client:
        with suppress(RedisError, OSError):
            text = await client.execute_command("INFO", "replication")  # type: ignore[no-untyped-call]  # redis-py: *args untyped
            return text if isinstance(text, bytes) else _lines(text)
    return b""


def _lines(facts: dict[str, Any]) -> bytes:
    return "\n".join(f"{name}:{value}" for name, value in facts.items()).encode()


@asynccontextmanager
async def sentinel_set(directory: Path) -> AsyncIterator[SentinelSet]:
    """Running until the block ends."""
    made = SentinelSet(directory)
    try:
        await made.start()
        yield made
    finally:
        made.close()


@asynccontextmanager
async def cluster_set(directory: Path) -> AsyncIterator[ClusterSet]:
    """Running until the block ends."""
    made = ClusterSet(directory)
    try:
        await made.start()
        yield made
    finally:
        made.close()


FREEZE, WAKE = signal.SIGSTOP, signal.SIGCONT
