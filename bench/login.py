"""How many logins a core does in a second of its time, while streaming beside it goes on answering the live list.

Real processes of accounts and streaming with Postgres and Redis. People log in over a few connections, each with the
right password of an account of their own; all the while the live list is asked for at a steady pace, and its answers
are timed. Accounts is held to one core, where its Argon2 threads are, too; streaming and the generator have the other,
the engines either. Each login comes from an address of its own, as limits are for each address.
"""

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from typing import Final

import aiohttp
import psutil
from argon2 import PasswordHasher
from pydantic import SecretStr

from accounts.passwords import ITERATIONS, LANES, MEMORY_KIBIBYTES
from bench.cores import cores, cpu_seconds, pin
from bench.report import Bar, Bench, Outcome, Say
from deploy.local import Stack
from runtime.ids import uuid7
from runtime.postgres import connect

PORT_BASE: Final = 22_000
PARTS: Final = ("postgres", "redis", "kafka", "accounts", "streaming")
PEOPLE: Final = 64
CONNECTIONS: Final = 6
SECONDS: Final = 10.0
WARM_UP_SECONDS: Final = 2.0
LISTS_PER_SECOND: Final = 50
REQUEST_SECONDS_MAX: Final = 10.0
ACCOUNTS_CORE: Final = 0
OTHERS_CORE: Final = 1
LISTS_PATH: Final = "/api/streams"

BARS: Final = (Bar("logins_per_cpu_second", ">=", 25), Bar("streams_p95_ms", "<=", 50))


async def measure(directory: Path, say: Say) -> Outcome:
    """Start what is needed below `directory`, log in and ask, stop it again."""
    stack = Stack(directory, profile="full", port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, PARTS, say=say)
    try:
        password = secrets.token_urlsafe(12)
        names = await _register(stack, password, say)
        service = psutil.Process(stack.pid("accounts"))
        pin(service.pid, ACCOUNTS_CORE)
        pin(stack.pid("streaming"), OTHERS_CORE)
        os.sched_setaffinity(0, {OTHERS_CORE % cores()})
        quiet = await _lists_alone(stack)
        logins, lists, used = await _logins_beside_lists(stack, service, names, password)
    finally:
        await asyncio.to_thread(stack.down)
    figures = {
        "logins_per_second": round(len(logins) / SECONDS, 1),
        "logins_per_cpu_second": round(len(logins) / used, 1),
        "login_p50_ms": _ms(logins, 50),
        "login_p95_ms": _ms(logins, 95),
        "streams_p50_ms": _ms(lists, 50),
        "streams_p95_ms": _ms(lists, 95),
        "streams_alone_p95_ms": _ms(quiet, 95),
        "streams_requests": float(len(lists)),
    }
    return Outcome(figures, 1, round(used, 2))


async def _register(stack: Stack, password: str, say: Say) -> Sequence[str]:
    """Accounts with one password, put into the table: registering them is not what is measured."""
    say(f"{PEOPLE} accounts")
    hasher = PasswordHasher(time_cost=ITERATIONS, memory_cost=MEMORY_KIBIBYTES, parallelism=LANES)
    names = [f"login_bench_{secrets.token_hex(4)}" for _ in range(PEOPLE)]
    hashed = await asyncio.to_thread(hasher.hash, password)
    dsn = SecretStr(stack.environment()["LIVESTREAM_POSTGRES_DSN"])
    connection = await connect(dsn, schema="accounts")
    try:
        await connection.executemany(
            "INSERT INTO users (user_id, username, password_hash) VALUES ($1, $2, $3)",
            [(uuid7(), name, hashed) for name in names],
        )
    finally:
        await connection.close()
    return names


async def _lists_alone(stack: Stack) -> list[float]:
    """Seconds of each answer while nobody logs in."""
    async with _session(stack, "streaming") as streaming:
        return await _ask_lists(streaming, WARM_UP_SECONDS)


async def _logins_beside_lists(
    stack: Stack, service: psutil.Process, names: Sequence[str], password: str
) -> tuple[list[float], list[float], float]:
    """Seconds of each login and of each list, and the CPU seconds of accounts."""
    async with _session(stack, "accounts") as accounts, _session(stack, "streaming") as streaming:
        await _log_in_all_the_time(accounts, names, password, WARM_UP_SECONDS)
        before = cpu_seconds(service)
        logins = asyncio.create_task(_log_in_all_the_time(accounts, names, password, SECONDS))
        lists = await _ask_lists(streaming, SECONDS)
        return await logins, lists, cpu_seconds(service) - before


async def _log_in_all_the_time(
    session: aiohttp.ClientSession, names: Sequence[str], password: str, seconds: float
) -> list[float]:
    ends = time.monotonic() + seconds
    taken: list[float] = []

    async def one(name: str) -> None:
        address = f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"
        began = time.monotonic()
        body = {"username": name, "password": password}
        async with session.post("/api/auth/login", json=body, headers={"X-Forwarded-For": address}) as answer:
            await answer.read()
            answer.raise_for_status()
        if time.monotonic() <= ends:
            taken.append(time.monotonic() - began)

    async def person(number: int) -> None:
        while time.monotonic() < ends:
            await one(names[number])
            number = (number + CONNECTIONS) % len(names)

    await asyncio.gather(*(person(number) for number in range(CONNECTIONS)))
    return taken


async def _ask_lists(session: aiohttp.ClientSession, seconds: float) -> list[float]:
    """At a steady pace whatever the answers take; a late answer is counted from when it was due."""
    began = time.monotonic()
    taken: list[float] = []

    async def one(due: float) -> None:
        async with session.get(LISTS_PATH) as answer:
            await answer.read()
            answer.raise_for_status()
        taken.append(time.monotonic() - due)

    async with asyncio.TaskGroup() as asking:
        for number in range(int(seconds * LISTS_PER_SECOND)):
            due = began + number / LISTS_PER_SECOND
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            asking.create_task(one(due))
    return taken


def _session(stack: Stack, part: str) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX)
    return aiohttp.ClientSession(f"http://127.0.0.1:{stack.ports[part]}", timeout=timeout)


def _ms(seconds: Sequence[float], percentile: int) -> float:
    return round(quantiles(seconds, n=100)[percentile - 1] * 1_000, 1)


BENCH: Final = Bench(
    name="login",
    description="Logins in a second of a core, while the live list is asked for beside it.",
    bars=BARS,
    measure=measure,
)
