"""Fixtures for every tier, and the order of the tiers: what is quick and needs nothing runs first.

Most tests are light: they run side by side with any other, in processes of pytest-xdist. Those that strike at engines
at certain moments, or start whole stacks, come after them, two at a time: the tiers in ``TIERS_HEAVY``, and what is
marked ``heavy``.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from deploy.local import Listen, ProfileName, Stack
from tests import engines

TIERS = ("unit", "conformance", "contract", "integration", "e2e", "faults")
TIERS_HEAVY = frozenset({"e2e", "faults"})
ENGINE_FIXTURES = frozenset({"shared_engines", "own_stack", "module_stack"})
TESTS = Path(__file__).parent


FAULT_POINTS_SAMPLED = 3
FAULT_POINTS_ALL = 30
FAULT_SEED = 20_260_101


@dataclass(frozen=True)
class FaultPlan:
    """How often a fault test strikes, and the seed of the moments it strikes at."""

    points: int
    seed: int


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the fault runs: `make faults` uses them."""
    parser.addoption("--all-fault-points", action="store_true", help="strike at 30 random points instead of 3 fixed")
    parser.addoption("--fault-seed", type=int, help="repeat a fault run that printed this seed")
    parser.addoption("--part", choices=("light", "heavy"), help="only what runs beside any other, or the rest")


@pytest.fixture(autouse=True)
def logging_stays_as_it_was() -> Iterator[None]:
    """A verb that a test runs in this process sets up logging for itself; the next test begins as if it had not."""
    root, configured = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.configure(**configured)
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def fault_plan(request: pytest.FixtureRequest) -> FaultPlan:
    """Three points from a fixed seed in `make test`; thirty from a new one, which is printed, in `make faults`."""
    everywhere = bool(request.config.getoption("--all-fault-points"))
    fixed = secrets.randbelow(2**31) if everywhere else FAULT_SEED
    seed = request.config.getoption("--fault-seed") or fixed
    plan = FaultPlan(FAULT_POINTS_ALL if everywhere else FAULT_POINTS_SAMPLED, seed)
    print(f"\n{request.node.nodeid}: {plan.points} points, --fault-seed {plan.seed}")
    return plan


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare the heavy part the import of the unit tests, of which none may be heavy."""
    return True if config.getoption("--part") == "heavy" and collection_path == TESTS / "unit" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what uses an engine, refuse it in the unit tier, put the tiers in order, keep the part asked for."""
    for item in items:
        if _tier(item) == "unit" and item.get_closest_marker("heavy"):
            raise pytest.UsageError(f"{item.nodeid} is a unit test but heavy; move it to another tier")
        if ENGINE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            continue
        if _tier(item) == "unit":
            raise pytest.UsageError(f"{item.nodeid} is a unit test but needs an engine; move it to another tier")
        item.add_marker(pytest.mark.engines)
    items.sort(key=lambda item: TIERS.index(_tier(item)))
    part = config.getoption("--part")
    if part is not None:
        others = [item for item in items if _part(item) != part]
        items[:] = [item for item in items if _part(item) == part]
        config.hook.pytest_deselected(items=others)


def _part(item: pytest.Item) -> str:
    return "heavy" if _tier(item) in TIERS_HEAVY or item.get_closest_marker("heavy") else "light"


def _tier(item: pytest.Item) -> str:
    folder = item.path.relative_to(TESTS).parts[0]
    return folder if folder in TIERS else "unit"


@pytest.fixture(scope="session")
def shared_engines() -> Iterator[engines.SharedEngines]:
    """The shared stack; parts start when something needs them."""
    shared = engines.SharedEngines()
    yield shared
    shared.close()


@pytest.fixture(scope="session")
def postgres_dsn(shared_engines: engines.SharedEngines) -> str:
    """The test server's maintenance database; tests use `database` instead."""
    return shared_engines.need("postgres")["LIVESTREAM_POSTGRES_DSN"]


@pytest.fixture(scope="session")
def migrated_template(postgres_dsn: str) -> Iterator[str]:
    """The name of a database with every schema migrated, made once per session."""
    with engines.migrated_template(postgres_dsn) as name:
        yield name


@pytest.fixture
def database(postgres_dsn: str, migrated_template: str) -> Iterator[engines.Database]:
    """A migrated database of the test's own: `.dsn` for settings, `.url` for asyncpg."""
    with engines.fresh_database(postgres_dsn, template=migrated_template) as fresh:
        yield fresh


@pytest.fixture
def empty_database(postgres_dsn: str) -> Iterator[engines.Database]:
    """A database of the test's own with nothing in it."""
    with engines.fresh_database(postgres_dsn) as fresh:
        yield fresh


@pytest.fixture(scope="session")
def redis_url(shared_engines: engines.SharedEngines) -> str:
    """The test Redis: use unique ids or `redis_prefix` in every key and channel.

    Each process of tests has a number of it to itself. Requests of one address are counted, and gateways write down
    whatever waits there, into databases of their own.
    """
    shared = shared_engines.need("redis")["LIVESTREAM_REDIS_URL"]
    url = engines.redis_number(shared, os.environ.get("PYTEST_XDIST_WORKER", "gw0"))
    engines.sweep_spools(url)
    return url


@pytest.fixture
def redis_prefix() -> str:
    """A prefix for keys and channels that no other test uses."""
    return f"{engines.unique_name()}:"


@pytest.fixture(scope="session")
def kafka_bootstrap_servers(shared_engines: engines.SharedEngines) -> Iterator[str]:
    """The test broker, shared: give every topic and group the test's `topic_prefix`."""
    servers = shared_engines.need("kafka")["LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS"]
    yield servers
    engines.sweep_topics(servers, prefix=f"{engines.MARK}{os.getpid()}n")


@pytest.fixture
def topic_prefix() -> str:
    """For LIVESTREAM_KAFKA_TOPIC_PREFIX: unique to the test; its topics are deleted when the session ends."""
    return f"{engines.unique_name()}."


@pytest.fixture(scope="session")
def s3(shared_engines: engines.SharedEngines) -> engines.S3:
    """The test object store."""
    settings = shared_engines.need("minio")
    return engines.S3(
        endpoint_url=settings["LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL"],
        access_key_id=settings["LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID"],
        secret_access_key=settings["LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY"],
    )


@pytest.fixture
def bucket(s3: engines.S3) -> Iterator[str]:
    """An empty bucket of the test's own."""
    with engines.fresh_bucket(s3) as name:
        yield name


StackMaker = Callable[..., Stack]


def _make_stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackMaker]:
    made: list[Stack] = []

    def make(*parts: str, profile: ProfileName = "full", listen: Listen | None = None) -> Stack:
        directory = tmp_path_factory.mktemp("stack")
        stack = Stack(directory, profile=profile, port_base=engines.OWN_PORT_BASE, listen=listen)
        made.append(stack)
        stack.up(parts, say=lambda _: None)
        return stack

    with pytest.MonkeyPatch.context() as environment:
        # Beside other tests an encoder that stands back gets nothing.
        environment.setenv("LIVESTREAM_ARCHIVE_WORKER_NICE", "0")
        yield make
    for stack in made:
        stack.down()
        shutil.rmtree(stack.directory)


@pytest.fixture
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackMaker]:
    """Makes private stacks for tests that freeze, kill or stop an engine: `own_stack("kafka")` has it running."""
    yield from _make_stacks(tmp_path_factory)


@pytest.fixture(scope="module")
def module_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackMaker]:
    """Makes stacks that the tests of one module share."""
    yield from _make_stacks(tmp_path_factory)
