"""Ports of the local stack: nothing collides, and a foreign program or another stack makes the whole stack move."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.local import ports

# Processes of tests side by side have a thousand each: what one tries is no foreign program to another.
BASE = 23_000 + 1_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 7)


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "stack"
    path.mkdir()
    return path


@pytest.fixture
def free_base() -> int:
    """A base whose ports nobody uses right now."""
    bases = range(BASE, BASE + 1000, ports.BASE_STEP)
    return next(base for base in bases if all(ports.is_free(base + offset) for offset in ports.OFFSETS.values()))


@pytest.fixture
def foreign_program(free_base: int) -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_base + ports.OFFSETS["kafka"]))
        listener.listen()
        yield listener.getsockname()[1]


def test_every_port_is_its_own_and_within_one_step() -> None:
    numbers = list(ports.OFFSETS.values())
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < ports.BASE_STEP


def test_a_listener_makes_a_port_taken(foreign_program: int) -> None:
    assert not ports.is_free(foreign_program)


def test_the_chosen_ports_are_remembered(directory: Path, free_base: int) -> None:
    chosen = ports.claim(directory, free_base)
    assert ports.recorded(directory) == chosen
    assert chosen["redis"] == chosen.base + ports.OFFSETS["redis"]


def test_a_foreign_program_on_one_port_moves_all(directory: Path, free_base: int, foreign_program: int) -> None:
    chosen = ports.claim(directory, free_base)
    assert chosen.base > free_base
    assert foreign_program not in {chosen[name] for name in ports.OFFSETS}


def test_who_comes_second_keeps_to_the_ports_that_are_in_use_already(directory: Path, free_base: int) -> None:
    chosen = ports.claim(directory, free_base)
    with socket.create_server(("127.0.0.1", chosen["redis"])):
        assert ports.claim(directory, free_base, anew=False) == chosen
        assert ports.claim(directory, free_base) != chosen


def test_two_stacks_that_are_down_do_not_get_the_same_ports(directory: Path, tmp_path: Path, free_base: int) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert ports.claim(directory, free_base).base != ports.claim(other, free_base).base


def test_the_claim_of_a_stack_that_is_gone_counts_for_nothing(directory: Path, tmp_path: Path, free_base: int) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    first = ports.claim(gone, free_base)
    (gone / "ports.json").unlink()
    gone.rmdir()
    assert ports.claim(directory, free_base) == first


def test_who_asks_while_another_claims_gets_the_same_answer(directory: Path, free_base: int) -> None:
    def ask(_: int) -> int:
        (directory / "ports.json").unlink(missing_ok=True)
        return (ports.recorded(directory) or ports.claim(directory, free_base)).base

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(400))) == {free_base}
