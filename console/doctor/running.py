"""Checks the engines and services that run: reachable, migrated, of one time, and nobody behind."""

import asyncio
import time
from collections.abc import Mapping

import aiohttp
import asyncpg
from prometheus_client.parser import text_string_to_metric_families
from redis.exceptions import RedisError

from console.doctor.finding import Finding, fail, ok, warn
from console.server import ServerSettings
from runtime.migrations import SCHEMAS, migrations_of
from runtime.postgres import Connection, connect
from runtime.redis_client import redis_client

CLOCKS_APART_SECONDS_MAX = 2.0
ANSWER_SECONDS_MAX = 10.0
GROUP_BEHIND_SECONDS = 300.0
BEHIND_METRIC = "livestream_bus_group_oldest_unread_seconds"


async def check_postgres(settings: ServerSettings) -> list[Finding]:
    """Reachable, with the clock that we have, and with every migration that this code needs."""
    try:
        connection = await connect(settings.postgres_dsn, schema="public")
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        fix = "systemctl start livestream, or mend LIVESTREAM_POSTGRES_DSN"
        return [fail("postgres reachable", str(error) or type(error).__name__, fix)]
    try:
        before = time.time()
        there = float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())"))
        middle = (before + time.time()) / 2
        version = await connection.fetchval("SHOW server_version")
        lacking = await lacking_migrations(connection)
    finally:
        await connection.close()
    return [
        ok("postgres reachable", f"server {version}"),
        judge_clocks(there - middle),
        judge_migrations(lacking),
    ]


async def lacking_migrations(connection: Connection) -> dict[str, list[str]]:
    """What each schema lacks of what this code knows; without those that lack nothing."""
    lacking = {}
    for schema, sources in SCHEMAS.items():
        await connection.execute("SELECT set_config('search_path', $1, false)", schema)
        try:
            rows = await connection.fetch("SELECT source, number FROM applied_migrations")
        except asyncpg.UndefinedTableError:
            rows = []
        done = {(row["source"], row["number"]) for row in rows}
        known = migrations_of(sources)
        if missing := [one.label for one in known if (one.source, one.number) not in done]:
            lacking[schema] = missing
    return lacking


def judge_clocks(apart_seconds: float) -> Finding:
    """Postgres' clock less ours."""
    if abs(apart_seconds) > CLOCKS_APART_SECONDS_MAX:
        fix = "keep both machines in time: apt install systemd-timesyncd && timedatectl set-ntp true"
        return fail("clock of postgres", f"{apart_seconds:+.1f} s from ours", fix)
    return ok("clock of postgres", f"{apart_seconds * 1000:+.0f} ms from ours")


def judge_migrations(lacking: Mapping[str, list[str]]) -> Finding:
    """The migrations that each schema lacks."""
    if count := sum(map(len, lacking.values())):
        schemas = ", ".join(sorted(lacking))
        return warn(
            "migrations", f"{count} to be applied ({schemas})", "restart the server, which applies them at its start"
        )
    return ok("migrations", f"all applied ({len(SCHEMAS)} schemas)")


async def check_redis(settings: ServerSettings) -> list[Finding]:
    """Reachable, and not one that forgets keys when its memory is full."""
    client = redis_client(settings)
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            found = await client.info()
    except (RedisError, OSError, TimeoutError) as error:
        fix = "systemctl start livestream, or mend LIVESTREAM_REDIS_URL"
        return [fail("redis reachable", str(error) or type(error).__name__, fix)]
    finally:
        await client.aclose()
    version, policy = found.get("redis_version"), found.get("maxmemory_policy")
    return [
        ok("redis reachable", f"server {version}"),
        judge_eviction(policy),
        judge_append_file(found.get("aof_enabled")),
    ]


def judge_append_file(enabled: int | None) -> Finding:
    """What chat has accepted and not yet written to the database dies with a Redis that writes no file."""
    if enabled in (None, 1):
        return ok("redis survives a crash", "appendonly yes" if enabled else "unknown")
    return warn("redis survives a crash", "appendonly no", "redis-cli config set appendonly yes")


def judge_eviction(policy: str | None) -> Finding:
    """Chat history that Redis evicts is a hole that nobody is told of."""
    if policy in (None, "noeviction"):
        return ok("redis keeps what it has", policy or "unknown")
    fix = "redis-cli config set maxmemory-policy noeviction"
    return warn("redis keeps what it has", f"maxmemory-policy {policy}", fix)


async def check_services(settings: ServerSettings) -> list[Finding]:
    """What the process says of itself, and whether a group of the bus has fallen behind."""
    origin = f"http://{settings.http_host}:{settings.http_port}"
    limit = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    try:
        async with aiohttp.ClientSession(timeout=limit) as session:
            async with session.get(f"{origin}/readyz") as answer:
                checks = (await answer.json())["checks"]
            async with session.get(f"{origin}/metrics") as answer:
                figures = await answer.text()
    except (aiohttp.ClientError, TimeoutError, KeyError, ValueError) as error:
        fix = f"look at its log, then at {origin}/readyz"
        return [fail("services ready", f"no good answer: {str(error) or type(error).__name__}", fix)]
    return [judge_services(checks), judge_groups(oldest_unread(figures))]


def judge_services(checks: Mapping[str, str]) -> Finding:
    """`checks` as /readyz has them: "ready", or why not."""
    unready = [f"{name}: {reason}" for name, reason in checks.items() if reason != "ready"]
    if unready:
        return fail("services ready", "; ".join(unready), "docs/runbook.md says what to do for each part")
    return ok("services ready", f"{len(checks)} checks")


def judge_groups(oldest_seconds: Mapping[str, float]) -> Finding:
    """The age of the oldest event that each group has not read yet."""
    behind = {group: age for group, age in oldest_seconds.items() if age > GROUP_BEHIND_SECONDS}
    if behind:
        seen = ", ".join(f"{group} {age:.0f} s" for group, age in sorted(behind.items()))
        return fail("events heard", f"behind: {seen}", "docs/runbook.md, a group that is behind")
    return ok("events heard", f"{len(oldest_seconds)} groups, none behind")


def oldest_unread(figures: str) -> dict[str, float]:
    """The worst of each group's topics, out of the text of /metrics."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(figures):
        for sample in family.samples:
            if sample.name == BEHIND_METRIC:
                group = sample.labels.get("group", "?")
                found[group] = max(found.get(group, 0.0), sample.value)
    return found
