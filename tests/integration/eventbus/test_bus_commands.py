"""The commands for topics and dead letters against a real broker."""

import asyncio
import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from console import dead_letters, topics
from eventbus.bus import Message
from eventbus.bus_kafka import open_bus
from eventbus.dead_letters import dead_letter_record
from eventbus.settings import KafkaSettings
from eventbus.topics_kafka import open_topics
from events import TOPICS
from events.topics import ACCOUNTS
from tests.engines import run_apart


@dataclass(frozen=True)
class Shell:
    """The command line with the test's topics."""

    servers: str
    prefix: str

    @property
    def settings(self) -> KafkaSettings:
        return KafkaSettings(kafka_bootstrap_servers=self.servers, kafka_topic_prefix=self.prefix)

    def run(self, app: Typer, *arguments: str) -> Result:
        # The runner adds to the environment; what the tests themselves are set up with is none of the command's.
        environment: dict[str, str | None] = {
            **{name: None for name in os.environ if name.startswith("LIVESTREAM_")},
            "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "LIVESTREAM_KAFKA_TOPIC_PREFIX": self.prefix,
        }
        return CliRunner().invoke(app, arguments, env=environment)

    def json(self, app: Typer, *arguments: str) -> object:
        result = self.run(app, *arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture
def shell(kafka_bootstrap_servers: str, topic_prefix: str) -> Shell:
    return Shell(kafka_bootstrap_servers, topic_prefix)


def test_topics_are_made_once_and_then_left_alone(shell: Shell) -> None:
    assert shell.run(topics.app, "list").exit_code == 3
    made = shell.json(topics.app, "create")
    assert made == [{"topic": topic.name, "done": "created", "drift": []} for topic in TOPICS]
    again = shell.json(topics.app, "create")
    assert again == [{"topic": topic.name, "done": "unchanged", "drift": []} for topic in TOPICS]
    assert shell.run(topics.app, "list").exit_code == 0


def test_partitions_are_added_and_other_differences_reported(shell: Shell) -> None:
    async def make_others() -> None:
        async with open_topics(shell.settings) as there:
            await there.make([replace(ACCOUNTS, partitions=2, retention=timedelta(hours=1))])

    run_apart(make_others)
    result = shell.run(topics.app, "create", "--json")
    assert result.exit_code == 3
    first = json.loads(result.stdout.splitlines()[-1])[0]
    assert first["done"] == "partitions added"
    assert first["drift"] == ["retention.ms is 3600000, the contract says 604800000"]


def test_an_away_broker_or_a_missing_setting_is_said(shell: Shell) -> None:
    result = CliRunner().invoke(dead_letters.app, ["list"], env={"LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": None})
    assert result.exit_code == 1
    assert "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS" in result.output


def test_dead_letters_are_listed_shown_and_replayed(shell: Shell) -> None:
    shell.json(topics.app, "create")
    assert shell.json(dead_letters.app, "list") == []
    original = Message("streams.v1", b"key", b'{"a":1}\xff', (("ce_type", b"stream.started"),), 2, 41, 0)
    letter = dead_letter_record(
        original, group="notify-streams", error=ValueError("no such thing"), attempts=5, at=datetime.now(UTC)
    )

    async def set_aside() -> None:
        async with open_bus(shell.settings) as bus:
            await bus.publish([letter])

    async def arrived() -> list[Message]:
        async with open_bus(shell.settings) as bus:
            return [message async for message in bus.read("streams.v1")]

    run_apart(set_aside)
    assert "notify-streams" in shell.run(dead_letters.app, "list").output
    shown = shell.json(dead_letters.app, "show", "0:0")
    assert isinstance(shown, dict)
    assert (shown["topic"], shown["partition"], shown["offset"]) == ("streams.v1", 2, 41)
    assert (shown["error"], shown["error_text"], shown["attempts"]) == ("ValueError", "no such thing", 5)
    assert shown["value"] == '{"a":1}\\xff'

    assert "would replay 0:0" in shell.run(dead_letters.app, "replay", "--all", "--dry-run").output
    assert run_apart(arrived) == []
    assert shell.run(dead_letters.app, "replay", "--all", "--group", "notify-streams").exit_code == 0
    [message] = run_apart(arrived)
    assert (message.key, message.value) == (original.key, original.value)
    assert dict(message.headers) == {"ce_type": b"stream.started", "livestream-replay-group": b"notify-streams"}

    assert shell.json(dead_letters.app, "list") == [], "replayed ones are not shown again"
    [listed] = _rows(shell.json(dead_letters.app, "list", "--all"))
    assert listed["replayed_at"] is not None
    assert "nothing to replay" in shell.run(dead_letters.app, "replay", "--all").output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["show", "0:99"], 1), (["replay", "0:99"], 1), (["replay"], 2), (["replay", "0:1", "--all"], 2)],
)
def test_a_wrong_call_has_its_exit_code(shell: Shell, arguments: list[str], code: int) -> None:
    shell.json(topics.app, "create")
    assert shell.run(dead_letters.app, *arguments).exit_code == code


def test_every_command_explains_itself_with_examples(shell: Shell) -> None:
    for app, command in (
        (topics.app, "create"),
        (topics.app, "list"),
        (dead_letters.app, "list"),
        (dead_letters.app, "show"),
        (dead_letters.app, "replay"),
    ):
        assert "Examples" in shell.run(app, command, "--help").output


def _rows(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


async def test_reading_does_not_disturb_a_running_loop(shell: Shell) -> None:
    """The commands make no group: nothing rebalances while an operator looks."""
    await asyncio.to_thread(shell.json, topics.app, "create")
    async with open_bus(shell.settings) as bus:
        assert [message async for message in bus.read("dead-letters.v1")] == []
