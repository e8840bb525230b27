"""Whom we believe when Sentinels, or the servers of a cluster, do not agree: the newest configuration."""

import asyncio
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError

from runtime.redis_address import Server
from runtime.redis_cluster import ClusterNodes
from runtime.redis_sentinel import Sentinels


class Says:
    """A server that answers each command with what it was given, or is away."""

    def __init__(self, answers: dict[str, Any] | None, *, slow: bool = False) -> None:
        self._answers = answers
        self._slow = slow

    def becomes(self, other: "Says") -> None:
        self._answers = other._answers

    async def execute_command(self, *words: str) -> Any:  # noqa: ANN401  as Redis answers
        if self._slow:
            await asyncio.Event().wait()
        if self._answers is None:
            raise RedisConnectionError("away")
        return self._answers[" ".join(words)]

    async def aclose(self) -> None:
        pass


def sentinel(port: int, epoch: int, flags: bytes = b"master") -> Says:
    facts = {b"ip": b"h", b"port": b"%d" % port, b"flags": flags, b"config-epoch": b"%d" % epoch}
    return Says({"SENTINEL MASTER chat": [part for fact in facts.items() for part in fact]})


def sentinels(*clients: Says) -> Sentinels:
    return Sentinels("chat", [cast("Redis", client) for client in clients])


async def test_the_newest_configuration_names_the_master() -> None:
    assert await sentinels(sentinel(1, 4), sentinel(2, 5), Says(None)).master() == ("h", 2)
    assert await sentinels(sentinel(2, 5), Says(None), sentinel(1, 4)).master() == ("h", 2)


async def test_who_leads_a_failover_has_the_new_epoch_and_names_the_old_master_for_a_while() -> None:
    leads, said = sentinel(1, 5, b"master,failover_in_progress"), sentinel(2, 5)
    assert await sentinels(said, leads).master() == ("h", 2)
    assert await sentinels(leads, said).master() == ("h", 2)
    found = sentinels(said)
    await found.master()
    said.becomes(leads)
    assert await found.master() == ("h", 2)
    assert found.deposed(("h", 1))


async def test_a_master_that_is_down_or_that_nobody_knows_is_none() -> None:
    with pytest.raises(RedisConnectionError, match="is down"):
        await sentinels(sentinel(1, 4), sentinel(1, 4, b"s_down,o_down,master")).master()
    with pytest.raises(RedisConnectionError, match="no Sentinel knows"):
        await sentinels(Says(None), Says(None)).master()


async def test_who_is_deposed_is_said_by_the_newest_configuration_heard_of_lately(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = sentinel(1, 4)
    found = sentinels(said)
    assert not found.deposed(("h", 1)), "nobody has been asked"
    await found.master()
    assert (found.deposed(("h", 1)), found.deposed(("h", 2))) == (False, True)
    said.becomes(sentinel(2, 5))
    await found.master()
    assert (found.deposed(("h", 1)), found.deposed(("h", 2))) == (True, False)
    said.becomes(sentinel(1, 4))
    assert await found.master() == ("h", 2), "whoever answers now has not heard of it yet"
    assert (found.deposed(("h", 1)), found.deposed(("h", 2))) == (True, False)
    monkeypatch.setattr("runtime.redis_sentinel.CONFIRMED_SECONDS_MAX", -1.0)
    assert await found.master() == ("h", 1)
    assert (found.deposed(("h", 1)), found.deposed(("h", 2))) == (False, True), "they were set up anew"


async def test_silent_sentinels_are_not_waited_for_long() -> None:
    async with asyncio.timeout(10):
        assert await sentinels(sentinel(1, 4), Says({}, slow=True), Says({}, slow=True)).master() == ("h", 1)


def cluster_server(epoch: int, *ranges: tuple[int, int, int]) -> Says:
    """A server's map: first slot, last slot, port."""
    slots = [[first, last, [b"h", port, b"id"]] for first, last, port in ranges]
    return Says({"CLUSTER INFO": b"cluster_state:ok\r\ncluster_current_epoch:%d\r\n" % epoch, "CLUSTER SLOTS": slots})


def cluster(servers: dict[int, Says]) -> ClusterNodes:
    def client(server: Server) -> Redis:
        return cast("Redis", servers.get(server[1], Says(None)))

    return ClusterNodes([("h", port) for port in servers], client)


async def test_the_newest_map_counts() -> None:
    old, new = ((0, 16383, 1),), ((0, 99, 1), (100, 16383, 2))
    servers = {1: cluster_server(7, *old), 2: cluster_server(8, *new)}
    nodes = cluster(servers)
    with pytest.raises(RedisConnectionError, match="no server of the cluster is known"):
        nodes.owner("chat:{a}")
    await nodes.look()
    assert key_slot(b"chat:{a}") > 99
    assert nodes.owner("chat:{a}") == ("h", 2)
    assert sorted(nodes.owners()) == [("h", 1), ("h", 2)]


async def test_the_map_of_a_server_that_was_cut_off_is_better_than_none() -> None:
    nodes = cluster({1: cluster_server(7, (0, 16383, 1)), 2: Says(None)})
    await nodes.look()
    assert nodes.owner("chat:{a}") == ("h", 1)


async def test_a_cluster_of_which_nobody_answers_is_away() -> None:
    with pytest.raises(RedisConnectionError, match="no server of the cluster answers"):
        await cluster({1: Says(None)}).look()
